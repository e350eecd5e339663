package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxBuckets bounds the buckets of time of a count.
const maxBuckets = 100_000

// Count implements storage.LogCounter. It is exact for texts and alternatives
// of texts, unless a line is too long for the index, and for times in whole
// milliseconds.
func (s *Store) Count(ctx context.Context, q storage.LogQuery, step int64, by []string) ([]storage.LogCount, bool, error) {
	if step <= 0 {
		return nil, false, fmt.Errorf("elasticsearch: cannot count in steps of %d ns", step)
	}
	st, err := s.readyToRead(ctx)
	if err != nil {
		return nil, false, err
	}
	c := counting{store: s, q: q, step: step, by: by, groups: make(map[string]*storage.LogCount)}
	p := planOf(q, st.caps)
	if p.none {
		return nil, true, nil
	}
	// Not End-Start: that may not fit.
	buckets := (uint64(q.End)-uint64(q.Start)-1)/uint64(step) + 1
	const ms = 1_000_000
	if p.byLine || buckets > maxBuckets || buckets > 1 && (step%ms != 0 || q.Start%ms != 0) {
		return nil, false, nil
	}
	c.buckets = int(buckets)
	if len(q.Lines) > 0 {
		if tooLong, err := s.anyIgnored(ctx, p); err != nil || tooLong {
			return nil, false, err
		}
	}
	if err := c.run(ctx, p); err != nil {
		return nil, false, err
	}
	return c.result(), true, nil
}

// anyIgnored tells whether a document of the plan has a line that is too long
// for the index.
func (s *Store) anyIgnored(ctx context.Context, p plan) (bool, error) {
	c := clauses{filter: append(slices.Clone(p.clauses.filter), any(term(fieldIgnored, fieldRaw))), mustNot: p.clauses.mustNot}
	answer, err := s.search(ctx, map[string]any{"query": c.query(), "size": 1, "_source": false, "track_total_hits": false})
	if err != nil {
		return false, err
	}
	var found struct {
		Hits struct{ Hits []json.RawMessage }
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return false, fmt.Errorf("elasticsearch: the answer to a search: %w", err)
	}
	return len(found.Hits.Hits) > 0, nil
}

// counting is one call of Count.
type counting struct {
	store   *Store
	q       storage.LogQuery
	step    int64
	buckets int
	by      []string
	groups  map[string]*storage.LogCount
}

func (c *counting) run(ctx context.Context, p plan) error {
	var sources []any
	// Labels are looked at here, by stream: those without a field of their own
	// cannot be grouped by everywhere.
	perStream := p.byStream || slices.ContainsFunc(c.by, func(name string) bool { return name != storage.LabelLevel })
	if perStream {
		sources = append(sources, source("stream", map[string]any{"terms": map[string]any{"field": fieldStream}}))
	}
	if slices.Contains(c.by, storage.LabelLevel) {
		sources = append(sources, source("level", map[string]any{"terms": map[string]any{"field": fieldLevel, "missing_bucket": true}}))
	}
	if c.buckets > 1 || len(sources) == 0 {
		// A single bucket may be of any size; those of the server begin at
		// multiples of the step from 1970, moved by the offset.
		step := c.step / 1e6
		if c.buckets == 1 {
			step = 1 << 50
		}
		sources = append(sources, source("time", map[string]any{"date_histogram": map[string]any{
			"field": fieldTime, "fixed_interval": fmt.Sprintf("%dms", step), "offset": fmt.Sprintf("%dms", c.q.Start/1e6%step),
		}}))
	}
	return c.store.eachPage(ctx, composite{
		query: p.clauses.query(), sources: sources, aggs: map[string]any{"bytes": metricOf("sum", fieldSize)},
	}, func(buckets []bucket) error {
		var streams map[string]*storage.Stream
		if perStream {
			var err error
			if streams, err = c.store.labelsOf(ctx, hashesOf(buckets)); err != nil {
				return err
			}
		}
		for _, b := range buckets {
			if err := c.add(b, streams); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *counting) add(b bucket, streams map[string]*storage.Stream) error {
	of := labels.EmptyLabels()
	if streams != nil {
		of = streams[b.Key.Stream].Labels
		if !matchesAll(c.q.Matchers, of) {
			return nil
		}
	}
	at := 0
	if c.buckets > 1 {
		ns := b.Key.Time*1e6 - c.q.Start
		if at = int(ns / c.step); ns < 0 || at >= c.buckets {
			return fmt.Errorf("elasticsearch: a count has a bucket at %d ms, outside of the query", b.Key.Time)
		}
	}
	g := c.group(of, b.Key.Level)
	g.Records[at] += b.DocCount
	g.Bytes[at] += int64(b.Bytes.Value)
	return nil
}

// group returns the one of a stream's labels and a level.
func (c *counting) group(of labels.Labels, level *string) *storage.LogCount {
	var key strings.Builder
	b := labels.NewScratchBuilder(len(c.by))
	for _, name := range c.by {
		value := of.Get(name)
		if name == storage.LabelLevel {
			value = ""
			if level != nil {
				value = *level
			}
		}
		key.WriteString(value)
		key.WriteByte(0xff)
		if value != "" {
			b.Add(name, value)
		}
	}
	g := c.groups[key.String()]
	if g == nil {
		b.Sort()
		g = &storage.LogCount{Labels: b.Labels(), Records: make([]int64, c.buckets), Bytes: make([]int64, c.buckets)}
		c.groups[key.String()] = g
	}
	return g
}

func (c *counting) result() []storage.LogCount {
	counts := make([]storage.LogCount, 0, len(c.groups))
	for _, g := range c.groups {
		counts = append(counts, *g)
	}
	return counts
}
