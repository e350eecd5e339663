package loki

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/server/logql"
)

const (
	// tailWait is how old an entry may get in a batch while others come.
	tailWait = 50 * time.Millisecond
	// maxTailEntries and maxTailBytes bound a message. One that is full is sent
	// at once; while the client does not take it the store has to wait, and
	// after a while to leave entries out.
	maxTailEntries = 1000
	maxTailBytes   = 1 << 20
)

// tailBatch gathers entries for one message to a client that follows a query.
type tailBatch struct {
	send       func(message []byte) error
	flags      []string
	categorize bool
	delay      time.Duration
	droppedAll prometheus.Counter

	mu sync.Mutex
	// Guarded by mu.
	entries []tailEntry
	arena   []byte // what entries point into
	dropped int64  // told to the client already
	missed  int64  // to be told
	timer   *time.Timer
	waiting bool // timer runs, for entries that are not sent
	closed  bool
	err     error // of the connection
}

type tailEntry struct {
	time       int64
	labels     labels.Labels
	start, end int // of the encoded entry in the arena
}

func newTailBatch(q tailQuery, send func([]byte) error, dropped prometheus.Counter) *tailBatch {
	return &tailBatch{
		send: send, flags: q.flags, delay: q.delay, droppedAll: dropped,
		categorize: slices.Contains(q.flags, categorizeLabels),
	}
}

// add takes an entry, and sends the batch when it is full.
func (b *tailBatch) add(e *logql.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	start := len(b.arena)
	b.arena = appendEntry(b.arena, e, b.categorize)
	b.entries = append(b.entries, tailEntry{e.Time, entryLabels(e, b.categorize), start, len(b.arena)})
	if len(b.entries) >= maxTailEntries || len(b.arena) >= maxTailBytes {
		return b.write()
	}
	if !b.waiting {
		b.waiting = true
		wait := max(b.delay, tailWait)
		if b.timer == nil {
			b.timer = time.AfterFunc(wait, b.expire)
		} else {
			b.timer.Reset(wait)
		}
	}
	return nil
}

// idle is called when no more entries are waiting. With a delay, others may
// still come that belong before those in the batch.
func (b *tailBatch) idle(dropped int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if news := dropped - b.dropped; news > 0 {
		b.dropped = dropped
		b.missed += news
		b.droppedAll.Add(float64(news))
	}
	if b.delay > 0 && len(b.entries) > 0 {
		return b.err // the timer runs
	}
	return b.write()
}

func (b *tailBatch) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting && !b.closed {
		_ = b.write() // the error is the next caller's
	}
}

// flush sends what is there.
func (b *tailBatch) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write()
}

// close ends the timer.
func (b *tailBatch) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
}

// write sends a message unless there is nothing to tell. mu is held.
func (b *tailBatch) write() error {
	b.waiting = false
	if b.err != nil || len(b.entries) == 0 && b.missed == 0 {
		return b.err
	}
	b.err = b.send(b.message())
	b.entries, b.arena, b.missed = b.entries[:0], b.arena[:0], 0
	if cap(b.arena) > 2*maxTailBytes { // after a very long line
		b.arena = nil
	}
	return b.err
}

// message is the batch in Loki's form of a tail. mu is held.
func (b *tailBatch) message() []byte {
	slices.SortStableFunc(b.entries, func(x, y tailEntry) int { return cmp.Compare(x.time, y.time) })
	set := newStreamSet(b.flags, int(^uint(0)>>1)) // the batch is bounded already
	for _, e := range b.entries {
		_ = set.addEncoded(e.labels, b.arena[e.start:e.end])
	}
	m := []byte{'{'}
	if b.flags != nil {
		m = append(m, `"encodingFlags":`...)
		m = appendStrings(m, b.flags)
		m = append(m, ',')
	}
	m = append(m, `"streams":`...)
	m = set.appendJSON(m)
	if b.missed > 0 {
		// Loki lists them one by one; nobody knows them here, only their number.
		m = append(m, `,"dropped_entries":[{"labels":{"dropped":"`...)
		m = strconv.AppendInt(m, b.missed, 10)
		m = append(m, `"},"timestamp":`...)
		m = appendNanoseconds(m, time.Now().UnixNano())
		m = append(m, `}]`...)
	}
	return append(m, '}')
}
