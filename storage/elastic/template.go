package elastic

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

const (
	// schema is the version of the mapping; it grows with every change.
	schema = 1
	// templatePriority is above those of the templates for logs-*-* that
	// Elasticsearch brings along (100).
	templatePriority = 500
	probePriority    = 501
	// maxKeyword is the longest line, in UTF-16 units, kept as one keyword: 4
	// bytes each stay below Lucene's limit for a term, 32,766 bytes.
	maxKeyword = 8191
	// maxLetter bounds what a dead letter quotes of its document.
	maxLetter = 32 << 10
)

// target is a data stream or alias of ours with its template.
type target struct {
	index string
	// properties are those of the mapping.
	properties func(capabilities) map[string]any
}

func (t target) template() string { return "binnacle-" + t.index }
func (t target) policy() string   { return "binnacle-" + t.index }

func object(properties map[string]any) map[string]any {
	return map[string]any{"properties": properties}
}

func ofType(name string) map[string]any { return map[string]any{"type": name} }

// recordProperties map the documents that encoder writes.
func recordProperties(caps capabilities) map[string]any {
	keyword := ofType("keyword")
	name := object(map[string]any{"name": keyword})
	return map[string]any{
		fieldTime:    ofType("date_nanos"),
		fieldMessage: messageProperty(caps),
		"log": object(map[string]any{
			"level": keyword, "offset": ofType("long"), "file": object(map[string]any{"path": keyword}),
		}),
		"stream": keyword,
		"kubernetes": object(map[string]any{
			"namespace": keyword, "container": name, "node": name,
			"pod": object(map[string]any{"name": keyword, "uid": keyword}),
		}),
		"orchestrator": object(map[string]any{"cluster": name}),
		"container":    object(map[string]any{"id": keyword}),
		"labels":       flat(caps),
		"binnacle": object(map[string]any{
			"stream": keyword, "source": keyword, "size": ofType("integer"),
			"flags":    map[string]any{"type": "byte", "index": false, "doc_values": false},
			"metadata": flat(caps),
		}),
	}
}

func messageProperty(caps capabilities) map[string]any {
	text := map[string]any{"type": "text", "norms": false}
	if caps.MatchOnlyText {
		text = ofType("match_only_text")
	}
	raw := map[string]any{"type": "keyword", "ignore_above": maxKeyword, "doc_values": false}
	if caps.Wildcard {
		raw = ofType("wildcard")
	}
	text["fields"] = map[string]any{"raw": raw}
	return text
}

func flat(caps capabilities) map[string]any {
	if caps.Flat == "" {
		return map[string]any{"type": "object", "enabled": false}
	}
	return ofType(caps.Flat)
}

// letterProperties map dead letters, of which nothing can be refused.
func letterProperties(capabilities) map[string]any {
	unindexed := map[string]any{"type": "keyword", "index": false, "doc_values": false}
	return map[string]any{
		fieldTime: ofType("date_nanos"),
		"error":   object(map[string]any{"type": ofType("keyword"), "message": unindexed}),
		"event":   object(map[string]any{"original": unindexed}),
	}
}

// templateBody is the index template of t. meta says what it was made for.
func (s *Store) templateBody(t target, caps capabilities, meta templateMeta) map[string]any {
	settings := map[string]any{"number_of_shards": s.options.Shards}
	if s.options.Codec != "" {
		settings["codec"] = s.options.Codec
	}
	if s.options.Replicas != nil {
		settings["number_of_replicas"] = *s.options.Replicas
	}
	template := map[string]any{
		"settings": map[string]any{"index": settings},
		"mappings": map[string]any{"dynamic": false, "properties": t.properties(caps)},
	}
	body := map[string]any{
		"index_patterns": []string{t.index}, "priority": templatePriority, "version": schema,
		"template": template, "_meta": map[string]any{"binnacle": meta},
	}
	if caps.DataStreams {
		body["data_stream"] = map[string]any{}
	} else {
		body["index_patterns"] = []string{t.index + "-0*"}
	}
	switch caps.Lifecycle {
	case lifecycleStream:
		life := map[string]any{"enabled": true}
		if s.options.Retention > 0 {
			life["data_retention"] = milliseconds(s.options.Retention)
		}
		template["lifecycle"] = life
	case lifecycleILM:
		lifecycle := map[string]any{"name": t.policy()}
		if !caps.DataStreams {
			lifecycle["rollover_alias"] = t.index
		}
		settings["lifecycle"] = lifecycle
	case lifecycleISM:
		if !caps.DataStreams {
			settings["plugins"] = map[string]any{"index_state_management": map[string]any{"rollover_alias": t.index}}
		}
	case lifecycleOwn:
	}
	return body
}

// templateMeta is kept in a template, for those that come later.
type templateMeta struct {
	Schema int `json:"schema"`
	// Server is the version that was probed.
	Server string `json:"server"`
	// Options stands for the options that the template depends on.
	Options      string       `json:"options"`
	Capabilities capabilities `json:"capabilities"`
}

// optionsHash changes with every option that a template or policy depends on.
func (o Options) optionsHash() string {
	replicas := "server"
	if o.Replicas != nil {
		replicas = fmt.Sprint(*o.Replicas)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %v %v %d", o.Shards, replicas, o.Codec, o.Retention, o.RolloverAge, o.RolloverSize)
	return fmt.Sprintf("%016x", h.Sum64())
}

// milliseconds is a duration as the servers write it.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// isBacking tells whether an index belongs to t and how.
func (t target) isBacking(index string) (dataStream, alias bool) {
	dataStream = strings.HasPrefix(index, ".ds-"+t.index+"-")
	suffix, ok := strings.CutPrefix(index, t.index+"-")
	return dataStream, ok && len(suffix) == 6 && strings.Trim(suffix, "0123456789") == ""
}
