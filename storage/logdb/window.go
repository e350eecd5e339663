package logdb

import (
	"errors"
	"io"
	"math"
	"slices"

	"github.com/binnacle-obs/binnacle/storage"
)

// rowsPerNext is how many records an ordered query returns at once.
const rowsPerNext = 1024

// window returns the records of an ordered query. Blocks overlap in time, in
// the worst case all of them, so that the next record may be in any of very
// many; and they are too large to keep them all open. So a window of results is
// collected from one block after another, those first whose records come first.
// When more records are found than fit, the later half is dropped, and what
// comes behind the last one kept, the bound, is not collected any more; blocks
// that begin behind the bound are not read at all. The next window starts behind
// the bound. A limit is a bound too.
type window struct {
	*iterator
	// sign is 1 for ascending queries and -1 for descending ones.
	sign int
	// left is how many records the limit leaves, math.MaxInt without one.
	left int

	// Records up to resume were returned already; there are none yet if
	// resumed is false.
	resume  key
	resumed bool
	// Records behind bound are not collected.
	bound   key
	bounded bool
	// found are the records of the window; bytes is what they take.
	found []foundRecord
	bytes int64
	arena []byte
	// ready tells that found is sorted and complete; it is returned from next.
	ready bool
	next  int
	// err ends the query when found is used up.
	err error
}

type foundRecord struct {
	key
	record storage.Record
}

// foundBytes is what a record of a window takes beside its text and metadata.
const foundBytes = 192

func (f *foundRecord) memory() int64 {
	return foundBytes + int64(len(f.record.Line)) + metadataBytes(f.record.Metadata)
}

func newWindow(it *iterator) *window {
	w := &window{iterator: it, sign: 1, left: math.MaxInt}
	if it.q.Order == storage.Descending {
		w.sign = -1
	}
	if it.q.Limit > 0 {
		w.left = it.q.Limit
	}
	slices.SortFunc(it.refs, func(a, b blockRef) int {
		if w.near(&a) != w.near(&b) {
			if w.before(w.near(&a), w.near(&b)) {
				return -1
			}
			return 1
		}
		return w.sign * (int(a.order) - int(b.order))
	})
	return w
}

// near is the time of the record of a block that comes first.
func (w *window) near(ref *blockRef) int64 {
	if w.sign > 0 {
		return ref.minTime
	}
	return ref.maxTime
}

func (w *window) far(ref *blockRef) int64 {
	if w.sign > 0 {
		return ref.maxTime
	}
	return ref.minTime
}

// before tells whether records of time a come before those of time b.
func (w *window) before(a, b int64) bool {
	if w.sign > 0 {
		return a < b
	}
	return a > b
}

func (w *window) compare(a, b *key) int { return w.sign * a.compare(b) }

// Next implements storage.LogIterator.
func (w *window) Next() ([]storage.Record, error) {
	if w.db == nil {
		return nil, io.EOF
	}
	if err := w.scan.ctx.Err(); err != nil {
		return nil, err
	}
	for !w.ready || w.next == len(w.found) {
		if w.err != nil {
			return nil, w.err
		}
		if w.ready {
			w.advance()
			continue
		}
		w.fill()
	}
	end := min(w.next+rowsPerNext, len(w.found))
	w.lent = w.lent[:0]
	for i := range w.found[w.next:end] {
		w.lent = append(w.lent, w.found[w.next+i].record)
	}
	w.next = end
	return w.lent, nil
}

// advance starts the window behind the one that was returned.
func (w *window) advance() {
	if !w.bounded || w.left == 0 {
		w.err = io.EOF
		return
	}
	w.resume, w.resumed, w.bounded = w.bound, true, false
	clear(w.found)
	w.found, w.bytes, w.arena, w.ready, w.next = w.found[:0], 0, nil, false, 0
	w.refs = slices.DeleteFunc(w.refs, func(ref blockRef) bool { return w.before(w.far(&ref), w.resume.time) })
}

// fill collects a window.
func (w *window) fill() {
	for i := range w.refs {
		ref := &w.refs[i]
		if w.bounded && w.before(w.bound.time, w.near(ref)) {
			break
		}
		first, last := w.span()
		if err := w.scan.load(ref, first, last); err != nil {
			w.fail(err, w.near(ref))
			return
		}
		w.collect()
		if n := len(w.found); n >= w.left && (!w.bounded || n > w.left+w.left/4) {
			w.shrink()
		}
	}
	w.sort()
	w.left -= len(w.found)
	w.ready = true
}

// span is the span of time that the window may still get records of.
func (w *window) span() (first, last int64) {
	first, last = w.q.Start, w.q.End-1
	near, far := &first, &last
	if w.sign < 0 {
		near, far = far, near
	}
	if w.resumed {
		*near = w.resume.time
	}
	if w.bounded {
		*far = w.bound.time
	}
	return first, last
}

// fail ends the query. When a limit was reached, the records before all those
// that were not looked at are returned first.
func (w *window) fail(err error, near int64) {
	w.err, w.ready = err, true
	if !errors.Is(err, storage.ErrQueryLimit) {
		w.found = w.found[:0]
		return
	}
	w.found = slices.DeleteFunc(w.found, func(f foundRecord) bool { return !w.before(f.time, near) })
	w.sort()
}

// collect takes over the rows that the scanner found, those first that come
// first.
func (w *window) collect() {
	rows := w.scan.rows
	if w.sign < 0 {
		slices.Reverse(rows)
	}
	for _, row := range rows {
		k := w.scan.key(row)
		if w.resumed && w.compare(&k, &w.resume) <= 0 || w.bounded && w.compare(&k, &w.bound) > 0 {
			continue
		}
		f := foundRecord{k, w.scan.record(row)}
		f.record.Line = w.keep(f.record.Line)
		w.found = append(w.found, f)
		w.bytes += f.memory()
		if w.bytes > w.db.options.MaxQueryBytes || len(w.found)/2 >= w.left {
			w.shrink()
		}
	}
}

// arenaBytes is how much memory for lines is taken at a time.
const arenaBytes = 64 * kib

// keep copies a line.
func (w *window) keep(line []byte) []byte {
	if line == nil {
		return nil
	}
	if len(line) > cap(w.arena)-len(w.arena) {
		w.arena = make([]byte, 0, max(arenaBytes, len(line)))
	}
	at := len(w.arena)
	w.arena = append(w.arena, line...)
	return w.arena[at:len(w.arena):len(w.arena)]
}

func (w *window) sort() {
	slices.SortFunc(w.found, func(a, b foundRecord) int { return w.compare(&a.key, &b.key) })
	if len(w.found) > w.left {
		w.found = w.found[:w.left]
	}
}

// shrink keeps the first records, as many as the limit asks for or half of
// those that fit, and sets the bound behind them.
func (w *window) shrink() {
	w.sort()
	n, bytes := 0, int64(0)
	for n < len(w.found) && (n == 0 || bytes < w.db.options.MaxQueryBytes/2) {
		bytes += w.found[n].memory()
		n++
	}
	clear(w.found[n:])
	w.found, w.bytes, w.arena = w.found[:n], bytes, nil
	for i := range w.found {
		// The memory of the lines that were dropped goes with the old arena.
		w.found[i].record.Line = w.keep(w.found[i].record.Line)
	}
	w.bound, w.bounded = w.found[n-1].key, true
}
