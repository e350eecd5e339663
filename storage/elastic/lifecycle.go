package elastic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// parseIndices reads the answer of GET _settings/index.creation_date.
func parseIndices(answer []byte) ([]index, error) {
	var settings map[string]struct {
		Settings struct {
			Index struct {
				CreationDate string `json:"creation_date"`
			} `json:"index"`
		} `json:"settings"`
	}
	if err := json.Unmarshal(answer, &settings); err != nil {
		return nil, fmt.Errorf("elasticsearch: the settings of the indices: %w", err)
	}
	indices := make([]index, 0, len(settings))
	for name, s := range settings {
		ms, err := strconv.ParseInt(s.Settings.Index.CreationDate, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("elasticsearch: the creation date of the index %s: %w", name, err)
		}
		indices = append(indices, index{name: name, created: time.UnixMilli(ms)})
	}
	slices.SortFunc(indices, func(a, b index) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name))
	})
	return indices, nil
}

// expired returns the indices whose records are all older than retention:
// those that a younger one took over from before that. The last one is being
// written.
func expired(indices []index, now time.Time, retention time.Duration) []index {
	n := 0
	for n+1 < len(indices) && now.Sub(indices[n+1].created) > retention {
		n++
	}
	return indices[:n]
}

// maintain begins new indices where the server does not do that itself, and
// deletes those that are past their retention. It does the latter everywhere:
// where the server does it too there is nothing left to delete.
func (s *Store) maintain(ctx context.Context) error {
	st, err := s.ready(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range s.targets {
		if st.caps.Lifecycle == lifecycleOwn {
			errs = append(errs, s.rollOver(ctx, t))
		}
		errs = append(errs, s.deleteExpired(ctx, t))
	}
	return errors.Join(errs...)
}

func (s *Store) rollOver(ctx context.Context, t target) error {
	indices, err := s.indices(ctx, t)
	if err != nil || len(indices) == 0 {
		return err
	}
	_, err = s.client.call(ctx, http.MethodPost, "/"+t.index+"/_rollover", nil, map[string]any{
		"conditions": map[string]any{
			"max_age":  milliseconds(s.options.RolloverAge),
			"max_size": fmt.Sprintf("%db", s.options.RolloverSize*int64(s.options.Shards)),
		},
	})
	if statusOf(err) == http.StatusBadRequest {
		// Another agent's rollover made the same index.
		if after, e := s.indices(ctx, t); e == nil && len(after) > len(indices) {
			return nil
		}
	}
	return err
}

func (s *Store) deleteExpired(ctx context.Context, t target) error {
	if s.options.Retention < 0 {
		return nil
	}
	indices, err := s.indices(ctx, t)
	if err != nil {
		return err
	}
	for _, i := range expired(indices, time.Now(), s.options.Retention) {
		if stream, alias := t.isBacking(i.name); !stream && !alias {
			continue
		}
		_, err := s.client.call(ctx, http.MethodDelete, "/"+i.name, nil, nil)
		switch {
		case err == nil:
			s.metrics.deletedIndices.Inc()
			s.options.Logger.Info("an index past its retention is deleted", "index", i.name)
		case statusOf(err) != http.StatusNotFound: // 404: another agent was faster
			return err
		}
	}
	return nil
}

// putPolicies puts what the server's lifecycle management reads.
func (s *Store) putPolicies(ctx context.Context, caps capabilities) error {
	for _, t := range s.targets {
		var err error
		switch caps.Lifecycle {
		case lifecycleILM:
			_, err = s.client.call(ctx, http.MethodPut, "/_ilm/policy/"+t.policy(), nil, s.ilmPolicy())
		case lifecycleISM:
			err = s.putISM(ctx, t, caps)
		case lifecycleStream, lifecycleOwn:
		}
		if err != nil {
			return fmt.Errorf("put the lifecycle policy: %w", err)
		}
	}
	return nil
}

func (s *Store) ilmPolicy() map[string]any {
	phases := map[string]any{
		"hot": map[string]any{"actions": map[string]any{"rollover": map[string]any{
			"max_age": milliseconds(s.options.RolloverAge), "max_size": fmt.Sprintf("%db", s.options.RolloverSize*int64(s.options.Shards)),
		}}},
	}
	if s.options.Retention > 0 {
		// Counted from the rollover.
		phases["delete"] = map[string]any{"min_age": milliseconds(s.options.Retention), "actions": map[string]any{"delete": map[string]any{}}}
	}
	return map[string]any{"policy": map[string]any{"phases": phases}}
}

// putISM makes the policy or, knowing its version, changes it.
func (s *Store) putISM(ctx context.Context, t target, caps capabilities) error {
	path := "/_plugins/_ism/policies/" + t.policy()
	var query url.Values
	answer, err := s.client.call(ctx, http.MethodGet, path, nil, nil)
	if err == nil {
		var stored struct {
			SeqNo       int64 `json:"_seq_no"`
			PrimaryTerm int64 `json:"_primary_term"`
			Policy      struct{ Description string }
		}
		if err := json.Unmarshal(answer, &stored); err != nil {
			return fmt.Errorf("elasticsearch: the policy %s: %w", t.policy(), err)
		}
		if stored.Policy.Description == s.ismDescription() {
			return nil
		}
		query = url.Values{"if_seq_no": {fmt.Sprint(stored.SeqNo)}, "if_primary_term": {fmt.Sprint(stored.PrimaryTerm)}}
	} else if statusOf(err) != http.StatusNotFound {
		return err
	}
	_, err = s.client.call(ctx, http.MethodPut, path, query, s.ismPolicy(t, caps))
	if statusOf(err) == http.StatusConflict {
		return nil // another agent was faster
	}
	return err
}

func (s *Store) ismDescription() string { return "binnacle " + s.options.optionsHash() }

func (s *Store) ismPolicy(t target, caps capabilities) map[string]any {
	pattern := t.index + "-0*"
	if caps.DataStreams {
		pattern = ".ds-" + t.index + "-*"
	}
	hot := map[string]any{"name": "hot", "transitions": []any{}, "actions": []any{map[string]any{"rollover": map[string]any{
		"min_index_age": milliseconds(s.options.RolloverAge), "min_size": fmt.Sprintf("%db", s.options.RolloverSize*int64(s.options.Shards)),
	}}}}
	states := []any{hot}
	if s.options.Retention > 0 {
		hot["transitions"] = []any{map[string]any{"state_name": "delete", "conditions": map[string]any{"min_rollover_age": milliseconds(s.options.Retention)}}}
		states = append(states, map[string]any{"name": "delete", "actions": []any{map[string]any{"delete": map[string]any{}}}, "transitions": []any{}})
	}
	return map[string]any{"policy": map[string]any{
		"description": s.ismDescription(), "default_state": "hot", "states": states,
		"ism_template": []any{map[string]any{"index_patterns": []string{pattern}, "priority": templatePriority}},
	}}
}

// putStreamLifecycle changes the retention of a data stream that exists: its
// template counts for new ones only.
func (s *Store) putStreamLifecycle(ctx context.Context, t target) error {
	life := map[string]any{}
	if s.options.Retention > 0 {
		life["data_retention"] = milliseconds(s.options.Retention)
	}
	_, err := s.client.call(ctx, http.MethodPut, "/_data_stream/"+t.index+"/_lifecycle", nil, life)
	return err
}
