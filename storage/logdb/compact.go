package logdb

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Reasons why a segment is dropped.
const (
	dropTime  = "time"
	dropBytes = "bytes"
)

const (
	// Segments are merged with those of their tier: below 16 MiB, 64 MiB and
	// 256 MiB. Above that, about 1 GB of text, a segment stays as it is.
	smallestTier = 16 * mib
	largestTier  = 256 * mib
	tierFactor   = 4
	// mergeCount is how many segments make a merge worth it, maxMergeCount how
	// many are merged at most.
	mergeCount    = 4
	maxMergeCount = 16
	// spanDivisor keeps a merged segment below an eighth of the retention, so
	// that retention by whole segments keeps little for longer. Records of a
	// namespace with a retention of its own may stay an eighth of it longer,
	// until the segments that they share with others are rewritten.
	spanDivisor = 8
)

// compactLoop applies retention and merges small segments.
func (db *DB) compactLoop(ctx context.Context) {
	tick := time.NewTicker(compactInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-db.compactWanted:
		}
		if err := db.compact(ctx, time.Now()); err != nil && ctx.Err() == nil {
			db.logger.Error("Segments cannot be merged or rewritten; it is tried again", "err", err)
		}
	}
}

// compact does all that there is to do.
func (db *DB) compact(ctx context.Context, now time.Time) error {
	db.compactMu.Lock()
	defer db.compactMu.Unlock()
	db.expireSegments(now)
	db.expireBytes()
	db.expireMarks(now)
	for _, g := range db.currentSegments() {
		if db.isStale(g, now) {
			if err := db.merge(ctx, []*segment{g}, now); err != nil {
				return err
			}
		}
	}
	for {
		inputs := db.mergeable()
		if inputs == nil {
			return nil
		}
		if err := db.merge(ctx, inputs, now); err != nil {
			return err
		}
	}
}

// currentSegments is for the compactor, the only one to remove any.
func (db *DB) currentSegments() []*segment {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.segments
}

// isExpired tells whether all records of a block are older than the retention.
func (db *DB) isExpired(g *segment, b *blockMeta, now time.Time) bool {
	return b.maxTime < now.Add(-db.options.retentionOf(g.streams[b.stream].namespace)).UnixNano()
}

// expireSegments drops segments without a record that is to be kept.
func (db *DB) expireSegments(now time.Time) {
	for _, g := range db.currentSegments() {
		if !slices.ContainsFunc(g.blocks, func(b blockMeta) bool { return !db.isExpired(g, &b, now) }) {
			db.drop(g, dropTime)
		}
	}
}

// isStale tells whether a segment has blocks that were to go some time ago, or
// so many that a rewrite frees half of it.
func (db *DB) isStale(g *segment, now time.Time) bool {
	expired := int64(0)
	for i := range g.blocks {
		b := &g.blocks[i]
		retention := db.options.retentionOf(g.streams[b.stream].namespace)
		age := now.UnixNano() - b.maxTime
		if age > int64(retention+retention/spanDivisor) {
			return true
		}
		if age > int64(retention) {
			expired += b.size()
		}
	}
	return expired > g.size/2
}

// expireBytes drops the oldest segments while the store takes too much.
func (db *DB) expireBytes() {
	if db.options.RetentionBytes == 0 {
		return
	}
	segments := slices.SortedFunc(slices.Values(db.currentSegments()), func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.maxTime, b.maxTime), cmp.Compare(a.seq, b.seq))
	})
	total := db.State().DiskBytes
	for _, g := range segments {
		if total <= db.options.RetentionBytes {
			return
		}
		total -= g.size
		db.drop(g, dropBytes)
	}
}

// expireMarks forgets sources whose records would be refused as too old.
func (db *DB) expireMarks(now time.Time) {
	longest := db.options.Retention
	for _, d := range db.options.NamespaceRetention {
		longest = max(longest, d)
	}
	db.writeMu.Lock()
	defer db.writeMu.Unlock()
	db.marks.expire(now.Add(-longest).UnixNano())
	db.metrics.forgotten.Add(float64(db.marks.forgotten))
	db.marks.forgotten = 0
}

// drop removes a segment; the last query that reads it removes the file.
func (db *DB) drop(g *segment, reason string) {
	db.metrics.dropped.WithLabelValues(reason).Inc()
	db.metrics.droppedBytes.WithLabelValues(reason).Add(float64(g.size))
	db.logger.Info("Segment removed by retention", "segment", g.path, "by", reason, "bytes", g.size, "newest", utc(g.maxTime))
	if err := db.replace([]*segment{g}, nil); err != nil {
		db.logger.Error("A segment that retention removed cannot be deleted", "segment", g.path, "err", err)
	}
}

// replace takes segments out of the store and puts one in their place.
func (db *DB) replace(old []*segment, with *segment) error {
	db.mu.Lock()
	left := slices.DeleteFunc(slices.Clone(db.segments), func(g *segment) bool { return slices.Contains(old, g) })
	if with != nil {
		left = append(left, with)
	}
	db.segments = left
	db.mu.Unlock()
	var errs []error
	for _, g := range old {
		db.skips.forget(g)
		g.obsolete.Store(true)
		errs = append(errs, g.release())
	}
	return errors.Join(errs...)
}

// tier is the upper end of a segment's tier, 0 when it is not merged any more.
func (g *segment) tier() int64 {
	for t := int64(smallestTier); t <= largestTier; t *= tierFactor {
		if g.size < t {
			return t
		}
	}
	return 0
}

// mergeable returns neighbours in time of the same tier, nil when there are
// too few or the disk has no room.
func (db *DB) mergeable() []*segment {
	if db.refusal() != nil {
		return nil
	}
	segments := slices.SortedFunc(slices.Values(db.currentSegments()), func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.maxTime, b.maxTime), cmp.Compare(a.seq, b.seq))
	})
	free, minFree := db.space.Last()
	for i := range segments {
		run := db.run(segments[i:])
		bytes := int64(0)
		for _, g := range run {
			bytes += g.size
		}
		if len(run) >= mergeCount && free-bytes > minFree {
			return run
		}
	}
	return nil
}

// run is the longest run of segments from the first on that may become one.
func (db *DB) run(segments []*segment) []*segment {
	first := segments[0]
	if first.tier() == 0 {
		return nil
	}
	oldest, newest, bytes := first.minTime, first.maxTime, int64(0)
	for i, g := range segments[:min(len(segments), maxMergeCount)] {
		oldest, newest = min(oldest, g.minTime), max(newest, g.maxTime)
		bytes += g.size
		if g.tier() != first.tier() || bytes > largestTier || newest-oldest > int64(db.options.Retention/spanDivisor) {
			return segments[:i]
		}
	}
	return segments[:min(len(segments), maxMergeCount)]
}
