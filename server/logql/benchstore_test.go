package logql

import (
	"context"
	"io"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// benchStore returns records as they are, so that benchmarks measure this
// package.
type benchStore struct{ records []storage.Record }

func (s benchStore) Write(context.Context, []storage.Record) error { panic("not written to") }

func (s benchStore) Tail(context.Context, storage.LogQuery) (storage.LogIterator, error) {
	panic("not followed")
}

func (s benchStore) Streams(context.Context, []*labels.Matcher, int64, int64) ([]storage.StreamInfo, error) {
	panic("not listed")
}

func (s benchStore) Select(context.Context, storage.LogQuery) (storage.LogIterator, error) {
	return &benchIterator{s.records}, nil
}

type benchIterator struct{ rest []storage.Record }

func (it *benchIterator) Next() ([]storage.Record, error) {
	if len(it.rest) == 0 {
		return nil, io.EOF
	}
	n := min(1000, len(it.rest))
	batch := it.rest[:n]
	it.rest = it.rest[n:]
	return batch, nil
}

func (it *benchIterator) Stats() storage.LogStats { return storage.LogStats{} }

func (it *benchIterator) Close() error { return nil }
