package elastic

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxLookUp is the number of records, or of sources, in one question.
	maxLookUp = 2000
	// settleTime bounds the wait for bulk requests that are under way.
	settleTime = 30 * time.Second
)

var errUnsettled = errors.New("elasticsearch: an earlier bulk request is still under way")

// present returns the ids that are stored, in whichever index. It first waits
// for what the server has read and not carried out yet: after that, an id that
// is not there never comes by an earlier request.
func (s *Store) present(ctx context.Context, ids []string) (map[string]bool, error) {
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	found := make(map[string]bool)
	for len(ids) > 0 {
		n := min(len(ids), maxLookUp)
		answer, err := s.search(ctx, map[string]any{
			"query": map[string]any{"ids": map[string]any{"values": ids[:n]}},
			// An id may be there several times, if someone else wrote it.
			"size": maxWindow, "_source": false, "track_total_hits": false, "sort": []string{"_doc"},
		})
		if err != nil {
			return nil, err
		}
		var hits struct {
			Hits struct {
				Hits []struct {
					ID string `json:"_id"`
				}
			}
		}
		if err := json.Unmarshal(answer, &hits); err != nil {
			return nil, fmt.Errorf("elasticsearch: the answer to a search for ids: %w", err)
		}
		for _, h := range hits.Hits.Hits {
			found[h.ID] = true
		}
		ids = ids[n:]
	}
	return found, nil
}

// highestOffsets returns the highest offset stored of each source that has one.
func (s *Store) highestOffsets(ctx context.Context, sources []storage.SourceID) (map[storage.SourceID]int64, error) {
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	highest := make(map[storage.SourceID]int64)
	for len(sources) > 0 {
		n := min(len(sources), maxLookUp)
		if err := s.askOffsets(ctx, sources[:n], highest); err != nil {
			return nil, err
		}
		sources = sources[n:]
	}
	return highest, nil
}

func (s *Store) askOffsets(ctx context.Context, sources []storage.SourceID, highest map[storage.SourceID]int64) error {
	names := make([]string, len(sources))
	for i, source := range sources {
		names[i] = hex.EncodeToString(source[:])
	}
	answer, err := s.search(ctx, map[string]any{
		"size": 0, "track_total_hits": false,
		"query": map[string]any{"terms": map[string]any{fieldSource: names}},
		"aggs": map[string]any{"sources": map[string]any{
			"terms": map[string]any{"field": fieldSource, "size": len(names)},
			// A double is exact up to 2^53 bytes.
			"aggs": map[string]any{"highest": map[string]any{"max": map[string]any{"field": fieldOffset}}},
		}},
	})
	if err != nil {
		return err
	}
	var found struct {
		Aggregations struct {
			Sources struct {
				Buckets []struct {
					Key     string
					Highest struct{ Value float64 }
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return fmt.Errorf("elasticsearch: the answer to a search for offsets: %w", err)
	}
	for _, b := range found.Aggregations.Sources.Buckets {
		var source storage.SourceID
		if n, err := hex.Decode(source[:], []byte(b.Key)); err != nil || n != len(source) {
			return fmt.Errorf("elasticsearch: a source in the answer is %q, want 32 hexadecimal digits", b.Key)
		}
		highest[source] = int64(b.Highest.Value)
	}
	return nil
}

// settle waits until the bulk requests that the cluster works on now are done:
// one of them may be ours, of a connection that was cut or of a process before
// this one.
func (s *Store) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, errUnsettled)
	defer cancel()
	first, err := s.bulkTasks(ctx)
	if statusOf(err) == http.StatusForbidden {
		s.warnTasks.Do(func() {
			s.options.Logger.Warn("elasticsearch does not let us see running tasks: a record may be stored twice when a connection is cut, a new index begins and the first request is still under way; the privilege is \"monitor\"")
		})
		return nil
	}
	wait := 20 * time.Millisecond
	for err == nil && len(first) > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
		var now map[string]bool
		if now, err = s.bulkTasks(ctx); err != nil {
			break
		}
		for task := range first {
			if !now[task] {
				delete(first, task)
			}
		}
	}
	return err
}

func (s *Store) bulkTasks(ctx context.Context) (map[string]bool, error) {
	answer, err := s.client.call(ctx, http.MethodGet, "/_tasks", url.Values{
		"actions": {"indices:data/write/bulk*"}, "group_by": {"none"}, "filter_path": {"tasks.node,tasks.id,node_failures"},
	}, nil)
	if err != nil {
		return nil, err
	}
	var tasks struct {
		NodeFailures []json.RawMessage `json:"node_failures"`
		Tasks        []struct {
			Node string
			ID   int64
		}
	}
	if err := json.Unmarshal(answer, &tasks); err != nil {
		return nil, fmt.Errorf("elasticsearch: the list of tasks: %w", err)
	}
	if len(tasks.NodeFailures) > 0 {
		return nil, fmt.Errorf("elasticsearch: a node does not tell its tasks: %.*s", maxExcerpt, tasks.NodeFailures[0])
	}
	found := make(map[string]bool, len(tasks.Tasks))
	for _, t := range tasks.Tasks {
		found[fmt.Sprintf("%s:%d", t.Node, t.ID)] = true
	}
	return found, nil
}

// refresh makes everything that is stored visible to searches.
func (s *Store) refresh(ctx context.Context) error {
	answer, err := s.client.call(ctx, http.MethodPost, "/"+s.options.Index+"/_refresh", url.Values{
		"ignore_unavailable": {"true"}, "allow_no_indices": {"true"}, "filter_path": {"_shards.failed"},
	}, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil // nothing is stored yet
	}
	if err != nil {
		return err
	}
	var refreshed struct {
		Shards struct{ Failed int } `json:"_shards"`
	}
	if err := json.Unmarshal(answer, &refreshed); err != nil {
		return fmt.Errorf("elasticsearch: the answer of _refresh: %w", err)
	}
	if refreshed.Shards.Failed > 0 {
		return fmt.Errorf("elasticsearch: %d shards of %s could not be refreshed", refreshed.Shards.Failed, s.options.Index)
	}
	return nil
}

// search asks all generations, or fails: a part of the answer is none.
func (s *Store) search(ctx context.Context, body map[string]any) ([]byte, error) {
	return s.client.call(ctx, http.MethodPost, "/"+s.options.Index+"/_search", url.Values{
		"ignore_unavailable": {"true"}, "allow_no_indices": {"true"}, "allow_partial_search_results": {"false"},
	}, body)
}
