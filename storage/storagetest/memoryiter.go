package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/binnacle-obs/binnacle/storage"
)

// memoryBatch is how many records an iterator of Memory returns at once: few,
// so that tests see several batches.
const memoryBatch = 64

// memoryIterator filters left by text.
type memoryIterator struct {
	ctx      context.Context
	q        storage.LogQuery
	left     []storage.Record
	stats    storage.LogStats
	returned int
	lent     []storage.Record
}

// Next implements storage.LogIterator.
func (it *memoryIterator) Next() ([]storage.Record, error) {
	it.lent = takeBack(it.lent)
	for len(it.left) > 0 && len(it.lent) < memoryBatch && (it.q.Limit == 0 || it.returned < it.q.Limit) {
		if err := it.ctx.Err(); err != nil {
			return nil, err
		}
		r := it.left[0]
		if !it.q.NoLine || len(it.q.Lines) > 0 {
			if it.q.MaxBytes > 0 && it.stats.Bytes+int64(r.Size) > it.q.MaxBytes {
				if len(it.lent) > 0 {
					return it.lent, nil
				}
				return nil, fmt.Errorf("%w: more than %d bytes of text had to be read", storage.ErrQueryLimit, it.q.MaxBytes)
			}
			it.stats.Bytes += int64(r.Size)
		}
		it.stats.Lines++
		it.left = it.left[1:]
		if matchesLine(&it.q, r.Line) {
			it.lent = append(it.lent, lend(r, it.q.NoLine))
			it.returned++
		}
	}
	if len(it.lent) == 0 {
		return nil, io.EOF
	}
	return it.lent, nil
}

// Stats implements storage.LogIterator.
func (it *memoryIterator) Stats() storage.LogStats { return it.stats }

// Close implements storage.LogIterator.
func (it *memoryIterator) Close() error {
	it.left, it.lent = nil, takeBack(it.lent)
	return nil
}

// lend copies what a reader must not keep.
func lend(r storage.Record, noLine bool) storage.Record {
	if noLine {
		r.Line = nil
	} else {
		r.Line = append(make([]byte, 0, len(r.Line)), r.Line...)
	}
	return r
}

// takeBack spoils records that were lent.
func takeBack(lent []storage.Record) []storage.Record {
	for i := range lent {
		for j := range lent[i].Line {
			lent[i].Line[j] = '!'
		}
		lent[i] = storage.Record{}
	}
	return lent[:0]
}

// memoryTail returns stored records and then those that arrive.
type memoryTail struct {
	stored *memoryIterator
	m      *Memory
	// seen is how many of the store's records were looked at.
	seen int
}

// Tail implements storage.LogStore. Records that arrive after the call are
// returned whatever their time.
func (m *Memory) Tail(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	records := m.snapshot()
	var found []storage.Record
	for _, r := range records {
		if r.Time >= q.Start && selects(&q, &r) && matchesLine(&q, r.Line) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, CompareRecords)
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[len(found)-q.Limit:]
	}
	q.Limit, q.MaxBytes = 0, 0
	return &memoryTail{stored: &memoryIterator{ctx: ctx, q: q, left: found}, m: m, seen: len(records)}, nil
}

// Next implements storage.LogIterator.
func (t *memoryTail) Next() ([]storage.Record, error) {
	for {
		if t.stored.ctx.Err() != nil {
			return nil, io.EOF
		}
		records, err := t.stored.Next()
		if !errors.Is(err, io.EOF) {
			return records, err
		}
		t.m.mu.Lock()
		news, written, closed := t.m.records[t.seen:], t.m.written, t.m.closed
		t.m.mu.Unlock()
		t.seen += len(news)
		for _, r := range news {
			if selects(&t.stored.q, &r) {
				t.stored.left = append(t.stored.left, r)
			}
		}
		if len(news) > 0 {
			continue
		}
		if closed {
			return nil, storage.ErrClosed
		}
		select {
		case <-written:
		case <-t.stored.ctx.Done():
		}
	}
}

// Stats implements storage.LogIterator.
func (t *memoryTail) Stats() storage.LogStats { return t.stored.Stats() }

// Close implements storage.LogIterator.
func (t *memoryTail) Close() error { return t.stored.Close() }

// notEOF turns the regular end of an iterator into nil.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// AllRecords reads it to its end, closes it and returns copies of the records.
func AllRecords(it storage.LogIterator) ([]storage.Record, error) {
	var out []storage.Record
	for {
		records, err := it.Next()
		if err != nil {
			return out, errors.Join(notEOF(err), it.Close())
		}
		for _, r := range records {
			if r.Line != nil {
				r.Line = append([]byte{}, r.Line...)
			}
			r.Metadata = r.Metadata.Copy()
			out = append(out, r)
		}
	}
}
