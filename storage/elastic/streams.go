package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// bucketPage is the number of buckets asked for at a time.
const bucketPage = 2000

// Streams implements storage.LogStore. First and Last are rounded to
// milliseconds, outwards.
func (s *Store) Streams(ctx context.Context, matchers []*labels.Matcher, start, end int64) ([]storage.StreamInfo, error) {
	st, err := s.readyToRead(ctx)
	if err != nil {
		return nil, err
	}
	return s.streamsIn(ctx, st, matchers, start, end)
}

func (s *Store) streamsIn(ctx context.Context, st *state, matchers []*labels.Matcher, start, end int64) ([]storage.StreamInfo, error) {
	p := planOf(storage.LogQuery{Matchers: matchers, Start: start, End: end}, st.caps)
	if p.none {
		return nil, nil
	}
	var infos []storage.StreamInfo
	c := composite{
		query:   p.clauses.query(),
		sources: []any{source("stream", map[string]any{"terms": map[string]any{"field": fieldStream}})},
		aggs: map[string]any{
			"bytes": metricOf("sum", fieldSize), "first": metricOf("min", fieldTime), "last": metricOf("max", fieldTime),
		},
	}
	err := s.eachPage(ctx, c, func(buckets []bucket) error {
		known, err := s.labelsOf(ctx, hashesOf(buckets))
		if err != nil {
			return err
		}
		for _, b := range buckets {
			l := known[b.Key.Stream].Labels
			if matchesAll(matchers, l) {
				infos = append(infos, storage.StreamInfo{
					Labels: l, Records: b.DocCount, Bytes: int64(b.Bytes.Value),
					First: max(start, int64(math.Floor(b.First.Value))*1e6),
					Last:  min(end-1, int64(math.Floor(b.Last.Value))*1e6+999_999),
				})
			}
		}
		return nil
	})
	return infos, err
}

func metricOf(kind, field string) map[string]any {
	return map[string]any{kind: map[string]any{"field": field}}
}

func source(name string, of map[string]any) map[string]any { return map[string]any{name: of} }

// composite is an aggregation that is read page by page.
type composite struct {
	query   map[string]any
	sources []any
	aggs    map[string]any
}

// bucket is one of a composite; it has what was asked for.
type bucket struct {
	Key struct {
		Stream string
		Level  *string
		Time   int64
	}
	DocCount int64 `json:"doc_count"`
	Bytes    struct{ Value float64 }
	// First and Last are milliseconds.
	First, Last struct{ Value float64 }
}

func (s *Store) eachPage(ctx context.Context, c composite, each func([]bucket) error) error {
	of := map[string]any{"size": bucketPage, "sources": c.sources}
	for {
		answer, err := s.search(ctx, map[string]any{
			"size": 0, "track_total_hits": false, "query": c.query,
			"aggs": map[string]any{"groups": map[string]any{"composite": of, "aggs": c.aggs}},
		})
		if err != nil {
			return err
		}
		var page struct {
			Aggregations struct {
				Groups struct {
					AfterKey json.RawMessage `json:"after_key"`
					Buckets  []bucket
				}
			}
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return fmt.Errorf("elasticsearch: the answer to an aggregation: %w", err)
		}
		groups := page.Aggregations.Groups
		if err := each(groups.Buckets); err != nil {
			return err
		}
		if len(groups.Buckets) < bucketPage || groups.AfterKey == nil {
			return nil
		}
		of["after"] = groups.AfterKey
	}
}

// hashesOf returns the streams of buckets, each once.
func hashesOf(buckets []bucket) []string {
	seen := make(map[string]bool)
	var hashes []string
	for _, b := range buckets {
		if !seen[b.Key.Stream] {
			seen[b.Key.Stream] = true
			hashes = append(hashes, b.Key.Stream)
		}
	}
	return hashes
}

// labelsOf finds the streams of hashes: those that are not known by a document
// of each.
func (s *Store) labelsOf(ctx context.Context, hashes []string) (map[string]*storage.Stream, error) {
	found := make(map[string]*storage.Stream, len(hashes))
	var missing []string
	for _, h := range hashes {
		if stream := s.streams.get([]byte(h)); stream != nil {
			found[h] = stream
			continue
		}
		missing = append(missing, h)
	}
	if len(missing) > 0 {
		answer, err := s.search(ctx, map[string]any{
			"query": terms(fieldStream, missing), "collapse": map[string]any{"field": fieldStream},
			"size": len(missing), "track_total_hits": false, "_source": map[string]any{"excludes": []string{fieldMessage}},
		})
		if err != nil {
			return nil, err
		}
		if _, err := s.streams.parseHits(answer, func(h hit) error {
			found[h.hash] = h.record.Stream
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, h := range hashes {
		if found[h] == nil {
			return nil, fmt.Errorf("elasticsearch: the documents of stream %s are gone", h)
		}
	}
	return found, nil
}
