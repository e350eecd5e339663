package logdb

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Count implements storage.LogCounter, always exactly. Without line filters it
// reads no text, and of blocks that lie in one bucket as a whole nothing at
// all, unless levels are asked for.
func (db *DB) Count(ctx context.Context, q storage.LogQuery, step int64, by []string) ([]storage.LogCount, bool, error) {
	if step <= 0 {
		return nil, true, fmt.Errorf("logdb: count by steps of %d ns", step)
	}
	if err := db.mayRead(ctx); err != nil || q.Start >= q.End {
		return nil, true, err
	}
	db.metrics.queries.WithLabelValues("count").Inc()
	q.NoLine, q.Order, q.Limit = true, storage.Unordered, 0
	snap := db.snapshot()
	defer db.release(&snap)
	set, n := db.streams.find(q.Matchers)
	if n == 0 {
		return nil, true, nil
	}
	c := &counter{
		scan: db.newScanner(ctx, &q, set), q: &q, step: step, by: by, buckets: (q.End-q.Start-1)/step + 1,
		groups: make(map[string]*storage.LogCount), byStream: make(map[*stream]*[storage.Levels]*storage.LogCount),
	}
	c.scan.needIdentity = false
	for _, name := range by {
		c.byLevel = c.byLevel || name == storage.LabelLevel
	}
	refs := c.scan.plan(&snap)
	for i := range refs {
		if err := c.count(&refs[i]); err != nil {
			return nil, true, err
		}
	}
	db.countQuery(&c.scan.stats)
	out := make([]storage.LogCount, 0, len(c.groups))
	for _, g := range c.groups {
		out = append(out, *g)
	}
	return out, true, nil
}

// counter counts the records of a query.
type counter struct {
	scan    *scanner
	q       *storage.LogQuery
	step    int64
	buckets int64
	by      []string
	byLevel bool
	// memory is what the groups take.
	memory int64
	groups map[string]*storage.LogCount
	// byStream are the groups of a stream by level; without level in by all
	// are the same.
	byStream map[*stream]*[storage.Levels]*storage.LogCount
}

func (c *counter) count(ref *blockRef) error {
	if ref.segment != nil {
		if done, err := c.countWhole(ref); done || err != nil {
			return err
		}
	}
	if err := c.scan.load(ref, c.q.Start, c.q.End-1); err != nil {
		return err
	}
	columns := c.scan.columns
	for _, row := range c.scan.rows {
		i := int(row)
		g, err := c.group(c.scan.streamAt(row), columns.levels[i])
		if err != nil {
			return err
		}
		bucket := (columns.times[i] - c.q.Start) / c.step
		g.Records[bucket]++
		g.Bytes[bucket] += int64(columns.size(i))
	}
	return nil
}

// countWhole counts a block by what the footer says of it, if that is enough.
func (c *counter) countWhole(ref *blockRef) (done bool, err error) {
	m := &ref.segment.blocks[ref.block]
	level := m.onlyLevel()
	if len(c.q.Lines) > 0 || m.minTime < c.q.Start || m.maxTime >= c.q.End ||
		(m.minTime-c.q.Start)/c.step != (m.maxTime-c.q.Start)/c.step ||
		level < 0 && (c.byLevel || c.q.Levels != 0 && m.levels&^c.q.Levels != 0) {
		return false, nil
	}
	g, err := c.group(ref.segment.streams[m.stream], storage.Level(max(level, 0)))
	if err != nil {
		return true, err
	}
	bucket := (m.minTime - c.q.Start) / c.step
	g.Records[bucket] += int64(m.rows)
	g.Bytes[bucket] += int64(m.textBytes)
	return true, nil
}

// onlyLevel is the level of all records of the block, or -1.
func (m *blockMeta) onlyLevel() int {
	for l := range storage.Levels {
		if m.levels == 1<<l {
			return l
		}
	}
	return -1
}

// group finds the group of a record. Groups beyond the memory of a query end
// it.
func (c *counter) group(s *stream, level storage.Level) (*storage.LogCount, error) {
	groups := c.byStream[s]
	if groups == nil {
		groups = new([storage.Levels]*storage.LogCount)
		c.byStream[s] = groups
	}
	if !c.byLevel {
		level = 0
	}
	if int(level) >= len(groups) {
		level = storage.LevelUnknown
	}
	if groups[level] != nil {
		return groups[level], nil
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, name := range c.by {
		if name == storage.LabelLevel {
			b.Set(name, level.String())
			continue
		}
		b.Set(name, s.Labels.Get(name))
	}
	l := b.Labels()
	key := string(l.Bytes(nil))
	g := c.groups[key]
	if g == nil {
		c.memory += 16*c.buckets + int64(2*len(key))
		if c.memory > c.scan.db.options.MaxQueryBytes {
			return nil, fmt.Errorf("%w: %d groups of %d buckets take more than %d bytes; ask for a longer step or fewer labels",
				storage.ErrQueryLimit, len(c.groups)+1, c.buckets, c.scan.db.options.MaxQueryBytes)
		}
		g = &storage.LogCount{Labels: l, Records: make([]int64, c.buckets), Bytes: make([]int64, c.buckets)}
		c.groups[key] = g
	}
	groups[level] = g
	return g, nil
}
