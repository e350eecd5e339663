package logdb

import (
	"slices"
	"sync"
)

// following tells what comes behind a page.
type following struct {
	// page tells that the part has further pages.
	page bool
	// part is the number of the next part when this one is complete.
	part uint64
}

// pageAt returns a page of the head, what the part is, and what follows.
func (db *DB) pageAt(seq uint64, n int) (pg page, p partView, next following) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, part := range []*part{db.sealed, db.active} {
		if part == nil || part.seq != seq {
			continue
		}
		p = partView{part: part, seq: seq, streams: part.streams, sources: part.sources}
		if n < len(part.pages) {
			pg = *part.pages[n]
			next.page = n+1 < len(part.pages)
		}
		if part == db.sealed && !next.page {
			next.part = db.active.seq
		}
	}
	return pg, p, next
}

// tails are the live tails.
type tails struct {
	mu     sync.Mutex
	all    []*tail
	closed bool
}

// add returns false when the store is closed. The DB's mu is held.
func (ts *tails) add(t *tail) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !ts.closed {
		ts.all = append(ts.all, t)
	}
	return !ts.closed
}

func (ts *tails) remove(t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = slices.DeleteFunc(ts.all, func(o *tail) bool { return o == t })
}

func (ts *tails) len() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.all)
}

func (ts *tails) isClosed() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.closed
}

// wake tells all tails that the head has grown.
func (ts *tails) wake() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		select {
		case t.news <- struct{}{}:
		default:
		}
	}
}

// close ends all tails.
func (ts *tails) close() {
	ts.mu.Lock()
	ts.closed = true
	ts.mu.Unlock()
	ts.wake()
}

// leave lets the tails take over what they have not seen of a complete part,
// before it leaves the head.
func (db *DB) leave(v *partView) {
	db.mu.RLock()
	next := db.active.seq
	db.mu.RUnlock()
	db.tails.mu.Lock()
	all := slices.Clone(db.tails.all)
	db.tails.mu.Unlock()
	for _, t := range all {
		t.leave(v, next)
	}
}
