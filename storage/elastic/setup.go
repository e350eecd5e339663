package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// reprobeAfter is how often a document that the mapping refuses makes us look
// at the server again.
const reprobeAfter = 5 * time.Minute

// state is what is known of the server. It is replaced as a whole.
type state struct {
	caps    capabilities
	version string
}

// ready returns the state, asking the server for it at first.
func (s *Store) ready(ctx context.Context) (*state, error) {
	if st := s.state.Load(); st != nil {
		return st, nil
	}
	s.setupMu.Lock()
	defer s.setupMu.Unlock()
	if st := s.state.Load(); st != nil {
		return st, nil
	}
	st, err := s.setUp(ctx)
	if err != nil {
		s.metrics.setups.WithLabelValues("error").Inc()
		return nil, err
	}
	s.metrics.setups.WithLabelValues("success").Inc()
	s.metrics.show(st.caps)
	s.options.Logger.Info("elasticsearch is set up", "index", s.options.Index, "version", st.version,
		"data_streams", st.caps.DataStreams, "lifecycle", st.caps.Lifecycle, "wildcard", st.caps.Wildcard,
		"match_only_text", st.caps.MatchOnlyText, "labels", st.caps.Flat)
	s.lastSetup.Store(time.Now().UnixNano())
	s.state.Store(st)
	return st, nil
}

// doubt has the server asked again before the next request, unless it was
// asked lately.
func (s *Store) doubt(reason string) {
	if time.Since(time.Unix(0, s.lastSetup.Load())) < reprobeAfter {
		return
	}
	s.options.Logger.Info("elasticsearch is asked again what it can do", "reason", reason)
	s.state.Store(nil)
}

// noticeUpgrade forgets the state when the server's version has changed.
func (s *Store) noticeUpgrade(ctx context.Context) error {
	st := s.state.Load()
	if st == nil {
		_, err := s.ready(ctx)
		return err
	}
	version, err := s.client.serverVersion(ctx)
	if err != nil || version == st.version {
		return err
	}
	s.options.Logger.Info("elasticsearch has another version", "before", st.version, "now", version)
	s.state.CompareAndSwap(st, nil)
	_, err = s.ready(ctx)
	return err
}

// setUp is idempotent, and harmless when many do it at a time: whoever comes
// first decides, the others find it done.
func (s *Store) setUp(ctx context.Context) (*state, error) {
	version, err := s.client.serverVersion(ctx)
	if err != nil {
		return nil, err
	}
	caps, err := s.capabilities(ctx, version)
	if err != nil {
		return nil, err
	}
	if err := s.putPolicies(ctx, caps); err != nil {
		return nil, err
	}
	for _, t := range s.targets {
		if err := s.setUpTarget(ctx, t, caps, version); err != nil {
			return nil, err
		}
	}
	return &state{caps: caps, version: version}, nil
}

// capabilities takes what an earlier set-up found at the same server, or
// probes. What exists already decides between data stream and alias.
func (s *Store) capabilities(ctx context.Context, version string) (capabilities, error) {
	meta, _, err := s.storedMeta(ctx, s.targets[0])
	if err != nil {
		return capabilities{}, err
	}
	caps := meta.Capabilities
	if meta.Schema != schema || meta.Server != version {
		if caps, err = s.client.probe(ctx, s.options.Index); err != nil {
			return caps, fmt.Errorf("ask the server what it can do: %w", err)
		}
	}
	indices, err := s.indices(ctx, s.targets[0])
	if err != nil {
		return caps, err
	}
	for _, i := range indices {
		stream, alias := s.targets[0].isBacking(i.name)
		switch {
		case stream:
			caps.DataStreams = true
		case alias:
			caps.DataStreams = false
			if caps.Lifecycle == lifecycleStream {
				caps.Lifecycle = lifecycleOwn
			}
		default:
			return caps, fmt.Errorf("elasticsearch: %s leads to the index %s, which is not of binnacle's making: delete it or choose another index name", s.options.Index, i.name)
		}
	}
	return caps, nil
}

// storedMeta reads what the template in the server was made for.
func (s *Store) storedMeta(ctx context.Context, t target) (meta templateMeta, found bool, err error) {
	answer, err := s.client.call(ctx, http.MethodGet, "/_index_template/"+t.template(), nil, nil)
	if statusOf(err) == http.StatusNotFound {
		return meta, false, nil
	}
	if err != nil {
		return meta, false, err
	}
	var templates struct {
		IndexTemplates []struct {
			IndexTemplate struct {
				Meta struct {
					Binnacle templateMeta `json:"binnacle"`
				} `json:"_meta"`
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	if err := json.Unmarshal(answer, &templates); err != nil {
		return meta, false, fmt.Errorf("elasticsearch: the index template %s: %w", t.template(), err)
	}
	if len(templates.IndexTemplates) == 0 {
		return meta, false, nil
	}
	return templates.IndexTemplates[0].IndexTemplate.Meta.Binnacle, true, nil
}

func (s *Store) setUpTarget(ctx context.Context, t target, caps capabilities, version string) error {
	stored, found, err := s.storedMeta(ctx, t)
	if err != nil {
		return err
	}
	want := templateMeta{Schema: schema, Server: version, Options: s.options.optionsHash(), Capabilities: caps}
	// A template of a later binnacle serves this one too: fields are only added.
	newer := stored.Schema > want.Schema
	same := stored.Schema == want.Schema && stored.Options == want.Options && stored.Capabilities == caps
	if !newer && !same {
		if _, err := s.client.call(ctx, http.MethodPut, "/_index_template/"+t.template(), nil, s.templateBody(t, caps, want)); err != nil {
			return fmt.Errorf("put the index template: %w", err)
		}
	}
	if !caps.DataStreams {
		if err := s.firstIndex(ctx, t); err != nil {
			return err
		}
	}
	if found && !newer && !same {
		return s.updateInPlace(ctx, t, caps, stored)
	}
	return nil
}

// firstIndex makes the first index behind an alias.
func (s *Store) firstIndex(ctx context.Context, t target) error {
	indices, err := s.indices(ctx, t)
	if err != nil || len(indices) > 0 {
		return err
	}
	body := map[string]any{"aliases": map[string]any{t.index: map[string]any{"is_write_index": true}}}
	_, err = s.client.call(ctx, http.MethodPut, "/"+t.index+"-000001", nil, body)
	if refusal, ok := errors.AsType[*statusError](err); ok && strings.Contains(refusal.excerpt, "resource_already_exists") {
		return nil // another agent was faster
	}
	return err
}

// updateInPlace brings indices that exist to a changed template: new fields by
// their mapping, fields of another type and settings by a new index.
func (s *Store) updateInPlace(ctx context.Context, t target, caps capabilities, before templateMeta) error {
	indices, err := s.indices(ctx, t)
	if err != nil || len(indices) == 0 {
		return err
	}
	if before.Capabilities == caps {
		_, err := s.client.call(ctx, http.MethodPut, "/"+t.index+"/_mapping", nil,
			map[string]any{"properties": t.properties(caps)})
		if err == nil && caps.Lifecycle == lifecycleStream {
			err = s.putStreamLifecycle(ctx, t)
		}
		if statusOf(err) != http.StatusBadRequest {
			return err
		}
	}
	_, err = s.client.call(ctx, http.MethodPost, "/"+t.index+"/_rollover", nil, nil)
	return err
}

// index is one generation of a data stream or alias.
type index struct {
	name    string
	created time.Time
}

// indices lists the generations of t, oldest first; none when it does not
// exist yet.
func (s *Store) indices(ctx context.Context, t target) ([]index, error) {
	answer, err := s.client.call(ctx, http.MethodGet, "/"+t.index+"/_settings/index.creation_date",
		url.Values{"ignore_unavailable": {"true"}, "allow_no_indices": {"true"}, "expand_wildcards": {"all"}}, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseIndices(answer)
}
