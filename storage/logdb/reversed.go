package logdb

import (
	"errors"
	"io"
	"slices"

	"github.com/binnacle-obs/binnacle/storage"
)

// reversed returns the records of a descending query in ascending order. It
// keeps them all, which max bounds.
type reversed struct {
	from    storage.LogIterator
	max     int64
	read    bool
	records []storage.Record
	bytes   int64
}

// Next implements storage.LogIterator.
func (r *reversed) Next() ([]storage.Record, error) {
	if r.read {
		return nil, io.EOF
	}
	for {
		records, err := r.from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			if r.bytes += (&foundRecord{record: record}).memory(); r.bytes > r.max {
				return nil, errors.Join(storage.ErrQueryLimit, errors.New("the stored records that a tail begins with do not fit into the memory of a query"))
			}
			record.Line = slices.Clone(record.Line)
			r.records = append(r.records, record)
		}
	}
	r.read = true
	if len(r.records) == 0 {
		return nil, io.EOF
	}
	slices.Reverse(r.records)
	return r.records, nil
}

// Stats implements storage.LogIterator.
func (r *reversed) Stats() storage.LogStats { return r.from.Stats() }

// Close implements storage.LogIterator.
func (r *reversed) Close() error {
	r.records = nil
	return r.from.Close()
}
