package logdb

import (
	"context"
	"io"

	"github.com/binnacle-obs/binnacle/storage"
)

// Select implements storage.LogStore. Ordered queries hold back at most
// Options.MaxQueryBytes of results at a time, whatever the number of streams
// and records; see window.
func (db *DB) Select(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	if err := db.mayRead(ctx); err != nil {
		return nil, err
	}
	db.metrics.queries.WithLabelValues("select").Inc()
	snap := db.snapshot()
	return db.selectFrom(ctx, q, snap), nil
}

// selectFrom makes the iterator of a query, which releases snap.
func (db *DB) selectFrom(ctx context.Context, q storage.LogQuery, snap snapshot) storage.LogIterator {
	set, n := db.streams.find(q.Matchers)
	it := &iterator{db: db, q: q, snap: snap}
	it.scan = db.newScanner(ctx, &it.q, set)
	if n != 0 && q.Start < q.End {
		it.refs = it.scan.plan(&it.snap)
	}
	if q.Order == storage.Unordered {
		it.q.Limit = 0
		return it
	}
	return newWindow(it)
}

// iterator returns the records of a query block by block.
type iterator struct {
	db   *DB
	q    storage.LogQuery
	snap snapshot
	scan *scanner
	refs []blockRef
	lent []storage.Record
}

// Next implements storage.LogIterator.
func (it *iterator) Next() ([]storage.Record, error) {
	for len(it.refs) > 0 {
		ref := &it.refs[0]
		if err := it.scan.load(ref, it.q.Start, it.q.End-1); err != nil {
			return nil, err
		}
		it.refs = it.refs[1:]
		if len(it.scan.rows) == 0 {
			continue
		}
		it.lent = it.lent[:0]
		for _, row := range it.scan.rows {
			it.lent = append(it.lent, it.scan.record(row))
		}
		return it.lent, nil
	}
	if err := it.scan.ctx.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// Stats implements storage.LogIterator.
func (it *iterator) Stats() storage.LogStats { return it.scan.stats }

// Close implements storage.LogIterator.
func (it *iterator) Close() error {
	if it.db == nil {
		return nil
	}
	it.db.countQuery(&it.scan.stats)
	it.db, it.refs, it.lent = nil, nil, nil
	return it.snap.release()
}

// countQuery adds what a query cost to the metrics.
func (db *DB) countQuery(s *storage.LogStats) {
	db.metrics.queryBytes.Add(float64(s.Bytes))
	db.metrics.queryBlocks.Add(float64(s.Blocks))
	db.metrics.blocksSkipped.Add(float64(s.BlocksSkipped))
}
