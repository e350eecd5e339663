package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Memory is the plainest storage.LogStore: a slice in the order of arrival that
// every query walks. It is what the conformance suites hold other stores
// against, and a store for the tests of those who read from one. What its
// iterators return is overwritten by the next call of Next, so that a reader
// that keeps it is found out. It also implements storage.LogCounter.
type Memory struct {
	mu sync.Mutex
	// Guarded by mu. records only grows; what is in it never changes.
	records []storage.Record
	streams map[string]*storage.Stream
	marks   map[storage.SourceID]int64
	// written is closed and replaced by every Write.
	written chan struct{}
	closed  bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		streams: make(map[string]*storage.Stream),
		marks:   make(map[storage.SourceID]int64),
		written: make(chan struct{}),
	}
}

// Write implements storage.LogSink. It drops a record with a source whose
// offset is not above the last one of that source.
func (m *Memory) Write(ctx context.Context, batch []storage.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return storage.ErrClosed
	}
	for i := range batch {
		m.add(&batch[i])
	}
	close(m.written)
	m.written = make(chan struct{})
	return nil
}

// Close makes later calls of Write fail and ends every Tail.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.written)
	}
	return nil
}

// add copies a record that is not there yet. m.mu is held.
func (m *Memory) add(r *storage.Record) {
	if !r.Source.IsZero() {
		if mark, ok := m.marks[r.Source]; ok && r.Offset <= mark {
			return
		}
		m.marks[r.Source] = r.Offset
	}
	c := *r
	key := c.Stream.Labels.String()
	if m.streams[key] == nil {
		m.streams[key] = c.Stream
	}
	c.Stream = m.streams[key]
	c.Line = bytes.Clone(r.Line)
	c.Size = int32(len(r.Line))
	c.Metadata = r.Metadata.Copy()
	m.records = append(m.records, c)
}

// snapshot returns the records up to now.
func (m *Memory) snapshot() []storage.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clip(m.records)
}

// CompareRecords is the order of storage.Ascending. Only records without a
// source can be equal without being the same.
func CompareRecords(a, b storage.Record) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.Source[:], b.Source[:]), cmp.Compare(a.Offset, b.Offset))
}

// selects tells whether a record matches q, its time and text aside.
func selects(q *storage.LogQuery, r *storage.Record) bool {
	if q.Levels != 0 && q.Levels&(1<<r.Level) == 0 {
		return false
	}
	return matchesLabels(q.Matchers, r.Stream.Labels)
}

func matchesLabels(matchers []*labels.Matcher, l labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

func matchesLine(q *storage.LogQuery, line []byte) bool {
	for _, m := range q.Lines {
		if !m.Match(line) {
			return false
		}
	}
	return true
}

// Select implements storage.LogStore.
func (m *Memory) Select(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var found []storage.Record
	for _, r := range m.snapshot() {
		if q.Start <= r.Time && r.Time < q.End && selects(&q, &r) {
			found = append(found, r)
		}
	}
	switch q.Order {
	case storage.Ascending:
		slices.SortStableFunc(found, CompareRecords)
	case storage.Descending:
		slices.SortStableFunc(found, CompareRecords)
		slices.Reverse(found)
	}
	if q.Order == storage.Unordered {
		q.Limit = 0
	}
	return &memoryIterator{ctx: ctx, q: q, left: found}, nil
}

// Streams implements storage.LogStore.
func (m *Memory) Streams(ctx context.Context, matchers []*labels.Matcher, start, end int64) ([]storage.StreamInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	infos := make(map[*storage.Stream]*storage.StreamInfo)
	for _, r := range m.snapshot() {
		if r.Time < start || r.Time >= end || !matchesLabels(matchers, r.Stream.Labels) {
			continue
		}
		info := infos[r.Stream]
		if info == nil {
			info = &storage.StreamInfo{Labels: r.Stream.Labels, First: r.Time, Last: r.Time}
			infos[r.Stream] = info
		}
		info.Records++
		info.Bytes += int64(r.Size)
		info.First, info.Last = min(info.First, r.Time), max(info.Last, r.Time)
	}
	out := make([]storage.StreamInfo, 0, len(infos))
	for _, info := range infos {
		out = append(out, *info)
	}
	return out, nil
}

// Count implements storage.LogCounter.
func (m *Memory) Count(ctx context.Context, q storage.LogQuery, step int64, by []string) ([]storage.LogCount, bool, error) {
	q.Order, q.Limit, q.NoLine = storage.Unordered, 0, false
	it, err := m.Select(ctx, q)
	if err != nil {
		return nil, false, err
	}
	defer it.Close()
	groups := make(map[string]*storage.LogCount)
	buckets := (q.End - q.Start + step - 1) / step
	for {
		records, err := it.Next()
		if err != nil {
			return collect(groups), true, notEOF(err)
		}
		for _, r := range records {
			l := groupOf(&r, by)
			g := groups[l.String()]
			if g == nil {
				g = &storage.LogCount{Labels: l, Records: make([]int64, buckets), Bytes: make([]int64, buckets)}
				groups[l.String()] = g
			}
			g.Records[(r.Time-q.Start)/step]++
			g.Bytes[(r.Time-q.Start)/step] += int64(r.Size)
		}
	}
}

// groupOf returns the labels named by; those that are "" are left out.
func groupOf(r *storage.Record, by []string) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, name := range by {
		if name == storage.LabelLevel {
			b.Set(name, r.Level.String())
			continue
		}
		b.Set(name, r.Stream.Labels.Get(name))
	}
	return b.Labels()
}

func collect(groups map[string]*storage.LogCount) []storage.LogCount {
	out := make([]storage.LogCount, 0, len(groups))
	for _, g := range groups {
		out = append(out, *g)
	}
	return out
}
