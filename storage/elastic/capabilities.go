package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// capabilities are what a server was found to be able to do. They are asked
// for, never told from its version: distributions of one version differ.
type capabilities struct {
	// DataStreams: else an alias and indices with numbers.
	DataStreams bool `json:"data_streams"`
	// Wildcard and MatchOnlyText are types of the line's fields; else a
	// keyword and a text.
	Wildcard      bool `json:"wildcard"`
	MatchOnlyText bool `json:"match_only_text"`
	// Flat is the type for objects of any keys, "flattened" or "flat_object";
	// "" where there is none, such labels are then kept but not indexed.
	Flat string `json:"flat"`
	// Lifecycle says who begins new indices and deletes old ones.
	Lifecycle lifecycle `json:"lifecycle"`
}

// lifecycle is a way of keeping indices small and young.
type lifecycle string

const (
	// lifecycleStream is the data stream lifecycle of Elasticsearch.
	lifecycleStream lifecycle = "data_stream"
	// lifecycleILM is Elasticsearch's index lifecycle management.
	lifecycleILM lifecycle = "ilm"
	// lifecycleISM is OpenSearch's index state management.
	lifecycleISM lifecycle = "ism"
	// lifecycleOwn is binnacle's own: it asks for rollovers.
	lifecycleOwn lifecycle = "binnacle"
)

var lifecycles = []lifecycle{lifecycleStream, lifecycleILM, lifecycleISM, lifecycleOwn}

// serverVersion serves to notice an upgrade. A server that does not tell is
// "unknown".
func (c *client) serverVersion(ctx context.Context) (string, error) {
	answer, err := c.call(ctx, http.MethodGet, "/_nodes/_local", url.Values{"filter_path": {"nodes.*.version"}}, nil)
	switch statusOf(err) {
	case 0:
		if err != nil {
			return "", err
		}
	case http.StatusForbidden, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotFound:
		return "unknown", nil
	default:
		return "", err
	}
	var nodes struct {
		Nodes map[string]struct{ Version string }
	}
	if err := json.Unmarshal(answer, &nodes); err != nil {
		return "", fmt.Errorf("elasticsearch: the answer of /_nodes/_local: %w", err)
	}
	for _, n := range nodes.Nodes {
		return n.Version, nil
	}
	return "unknown", nil
}

// probe asks what the server can do. It changes nothing: templates are only
// simulated.
func (c *client) probe(ctx context.Context, index string) (capabilities, error) {
	var caps capabilities
	p := prober{ctx: ctx, client: c, pattern: index}
	caps.Wildcard = p.hasType("wildcard")
	caps.MatchOnlyText = p.hasType("match_only_text")
	for _, flat := range []string{"flattened", "flat_object"} {
		if caps.Flat == "" && p.hasType(flat) {
			caps.Flat = flat
		}
	}
	caps.DataStreams = p.accepts(map[string]any{
		"data_stream": map[string]any{},
		"template":    mappingOf("date_nanos", fieldTime),
	})
	caps.Lifecycle = p.lifecycle(caps.DataStreams)
	return caps, p.err
}

func mappingOf(typeName, field string) map[string]any {
	return map[string]any{"mappings": map[string]any{"properties": map[string]any{field: map[string]any{"type": typeName}}}}
}

// prober asks one question after the other, until an answer is no answer.
type prober struct {
	ctx     context.Context
	client  *client
	pattern string
	err     error
}

func (p *prober) hasType(name string) bool {
	return p.accepts(map[string]any{"template": mappingOf(name, "probe")})
}

// accepts tells whether the server would take a template.
func (p *prober) accepts(template map[string]any) bool {
	if p.err != nil {
		return false
	}
	// A pattern and a priority of their own clash with no other template.
	template["index_patterns"] = []string{"binnacle-probe-" + p.pattern}
	template["priority"] = probePriority
	_, err := p.client.call(p.ctx, http.MethodPost, "/_index_template/_simulate", url.Values{"filter_path": {"template.settings"}}, template)
	if statusOf(err) != http.StatusBadRequest {
		p.err = err
	}
	return err == nil
}

// has tells whether the server knows a path and lets us use it.
func (p *prober) has(path string, missing int) bool {
	if p.err != nil {
		return false
	}
	_, err := p.client.call(p.ctx, http.MethodGet, path, nil, nil)
	switch status := statusOf(err); {
	case err == nil, status == missing:
		return true
	case status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusUnauthorized:
		return false
	}
	p.err = err
	return false
}

// lifecycle prefers what needs least of ours.
func (p *prober) lifecycle(dataStreams bool) lifecycle {
	// A server that keeps the setting may lack what acts upon it; the path is
	// part of the latter. A stream that is not there yet is 404.
	if dataStreams && p.has("/_data_stream/"+p.pattern+"/_lifecycle", http.StatusNotFound) &&
		p.accepts(map[string]any{"data_stream": map[string]any{}, "template": map[string]any{"lifecycle": map[string]any{"data_retention": "7d"}}}) {
		return lifecycleStream
	}
	if p.has("/_ilm/status", 0) {
		return lifecycleILM
	}
	if p.has("/_plugins/_ism/policies", 0) {
		return lifecycleISM
	}
	return lifecycleOwn
}

// field is where a stream's label is indexed, "" where it is not.
func (c capabilities) field(label string) string {
	if field, ok := labelFields[label]; ok {
		return field
	}
	if c.Flat == "" {
		return ""
	}
	return fieldLabels + "." + label
}
