package logdb

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxBehindBytes bounds what is kept for a tail whose reader is slower than
	// the head: what comes beyond it is left out and counted.
	maxBehindBytes = 4 * mib
	// maxTailStreams bounds the decisions on streams that a tail remembers.
	maxTailStreams = 1 << 16
)

// tail follows the head: it has a place in it, and what lies behind that place
// is new. When the part that its place is in leaves the head, the tail takes
// over what it has not seen yet.
type tail struct {
	db  *DB
	ctx context.Context
	q   storage.LogQuery
	// stored are the records that were there before; nil when they are through.
	stored storage.LogIterator
	// news has an element when the head may have grown.
	news chan struct{}

	// mu comes before the DB's mu in the lock order.
	mu sync.Mutex
	// Guarded by mu. seq, page and row are the place.
	seq       uint64
	page, row int
	wanted    map[*stream]bool
	// behind are records of parts that left the head.
	behind      []storage.Record
	behindBytes int
	stats       storage.LogStats

	lent []storage.Record
}

// Tail implements storage.LogStore. What arrives after the call is returned in
// the order of arrival and whatever its time. A reader that falls behind by
// more than the head loses all but 4 MiB of the records in between, which are
// counted in Stats.
func (db *DB) Tail(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.metrics.queries.WithLabelValues("tail").Inc()
	t := &tail{db: db, ctx: ctx, q: q, news: make(chan struct{}, 1), wanted: make(map[*stream]bool)}
	// What the snapshot has is not news, and what comes after it is: both are
	// taken in one step.
	db.mu.RLock()
	snap := db.snapshotLocked()
	t.seq = db.active.seq
	if n := len(db.active.pages); n > 0 {
		t.page, t.row = n-1, db.active.pages[n-1].len()
	}
	added := db.tails.add(t)
	db.mu.RUnlock()
	if !added {
		return nil, errors.Join(storage.ErrClosed, snap.release())
	}
	stored := q
	stored.End, stored.Order = math.MaxInt64, storage.Ascending
	if q.Limit > 0 {
		stored.Order = storage.Descending
	}
	t.stored = db.selectFrom(ctx, stored, snap)
	if q.Limit > 0 {
		t.stored = &reversed{from: t.stored, max: db.options.MaxQueryBytes}
	}
	return t, nil
}

// Next implements storage.LogIterator.
func (t *tail) Next() ([]storage.Record, error) {
	for {
		if t.ctx.Err() != nil {
			return nil, io.EOF
		}
		records, err := t.backFill()
		if err != nil || len(records) > 0 {
			return records, err
		}
		if records = t.live(); len(records) > 0 {
			return records, nil
		}
		if t.db.tails.isClosed() {
			return nil, storage.ErrClosed
		}
		select {
		case <-t.news:
		case <-t.ctx.Done():
		}
	}
}

// backFill returns the next stored records, none when they are through.
func (t *tail) backFill() ([]storage.Record, error) {
	if t.stored == nil {
		return nil, nil
	}
	records, err := t.stored.Next()
	if err == nil {
		return records, nil
	}
	if !errors.Is(err, io.EOF) {
		if t.ctx.Err() != nil {
			err = io.EOF
		}
		return nil, err
	}
	stored := t.stored
	t.mu.Lock()
	t.stored = nil
	t.stats = add(t.stats, stored.Stats())
	t.mu.Unlock()
	return nil, stored.Close()
}

func add(a, b storage.LogStats) storage.LogStats {
	return storage.LogStats{
		Lines: a.Lines + b.Lines, Bytes: a.Bytes + b.Bytes, Blocks: a.Blocks + b.Blocks,
		BlocksSkipped: a.BlocksSkipped + b.BlocksSkipped, Dropped: a.Dropped + b.Dropped,
	}
}

// live returns new records of the head; none when there are none.
func (t *tail) live() []storage.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.lent)
	t.lent = t.lent[:0]
	if len(t.behind) > 0 {
		t.lent = append(t.lent, t.behind...)
		t.behind, t.behindBytes = nil, 0
		return t.lent
	}
	for {
		pg, p, more := t.db.pageAt(t.seq, t.page)
		if p.part == nil {
			return nil
		}
		t.match(&pg, &p, func(r storage.Record) { t.lent = append(t.lent, r) })
		switch {
		case more.page:
			t.page, t.row = t.page+1, 0
		case more.part != 0:
			t.seq, t.page, t.row = more.part, 0, 0
		default:
			return t.lent
		}
		if len(t.lent) > 0 {
			return t.lent
		}
	}
}

// match passes on the records of a page from t.row on that match. t.mu is held.
func (t *tail) match(pg *page, p *partView, found func(storage.Record)) {
	c := &pg.columns
	for i := t.row; i < c.len(); i++ {
		s := p.streams[pg.streams[i]]
		t.stats.Lines++
		if t.q.Levels != 0 && t.q.Levels&(1<<c.levels[i]) == 0 || !t.wants(s) {
			continue
		}
		line := c.line(i)
		t.stats.Bytes += int64(len(line))
		if !matchAll(t.q.Lines, line) {
			continue
		}
		r := storage.Record{
			Stream: &s.Stream, Time: c.times[i], Size: c.size(i), Level: c.levels[i], Flags: c.flagsOf(i), Metadata: c.metadataOf(i),
		}
		r.Source, r.Offset = c.identity(i, p.sources)
		if !t.q.NoLine {
			r.Line = line
		}
		found(r)
	}
	t.row = c.len()
}

func matchAll(matchers []*storage.LineMatcher, line []byte) bool {
	for _, m := range matchers {
		if !m.Match(line) {
			return false
		}
	}
	return true
}

func (t *tail) wants(s *stream) bool {
	wanted, ok := t.wanted[s]
	if !ok {
		if len(t.wanted) >= maxTailStreams {
			clear(t.wanted)
		}
		wanted = matchLabels(t.q.Matchers, s.Labels)
		t.wanted[s] = wanted
	}
	return wanted
}

func matchLabels(matchers []*labels.Matcher, l labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}

// leave takes over what the tail has not seen of a part that leaves the head.
func (t *tail) leave(v *partView, next uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seq != v.seq {
		return
	}
	dropped := t.stats.Dropped
	for ; t.page < len(v.pages); t.page, t.row = t.page+1, 0 {
		t.match(&v.pages[t.page], v, t.take)
	}
	t.seq, t.page, t.row = next, 0, 0
	t.db.metrics.tailDropped.Add(float64(t.stats.Dropped - dropped))
}

// take keeps a copy of a record, or counts it when there is no room.
func (t *tail) take(r storage.Record) {
	size := len(r.Line) + foundBytes + int(metadataBytes(r.Metadata))
	if t.behindBytes+size > maxBehindBytes {
		t.stats.Dropped++
		return
	}
	t.behindBytes += size
	if r.Line != nil {
		r.Line = append(make([]byte, 0, len(r.Line)), r.Line...)
	}
	t.behind = append(t.behind, r)
}

// Stats implements storage.LogIterator.
func (t *tail) Stats() storage.LogStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stored == nil {
		return t.stats
	}
	return add(t.stats, t.stored.Stats())
}

// Close implements storage.LogIterator.
func (t *tail) Close() error {
	t.db.tails.remove(t)
	stored := t.stored
	if stored == nil {
		return nil
	}
	return stored.Close()
}
