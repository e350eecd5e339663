package tsdb

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options.
const (
	// DefaultRetention is upstream's default.
	DefaultRetention = 15 * 24 * time.Hour
	// DefaultOutOfOrderWindow is how far a series may lag behind the newest
	// sample of the whole store. After an outage every agent delivers its
	// backlog in order, but the first one to catch up moves the newest sample
	// to now, and then the others' backlog counts as out of order although it
	// is in order within each series. An agent's default buffer (1 GiB) holds
	// about a day of 500 containers at 5 s. A wide window costs nothing while
	// nothing arrives late.
	DefaultOutOfOrderWindow = 24 * time.Hour
	// DefaultMaxExemplars is upstream's usual setting; a slot takes about 64
	// bytes once it is used.
	DefaultMaxExemplars = 100_000
	// DefaultMaxLabels bounds the labels of a series: three times what a pod
	// with all its recommended labels has.
	DefaultMaxLabels = 128
	// DefaultMaxLabelNameBytes bounds a label's name.
	DefaultMaxLabelNameBytes = 512
	// DefaultMaxLabelValueBytes bounds a label's value; image references and
	// volume paths stay below 1 KiB.
	DefaultMaxLabelValueBytes = 4096
)

// Options of a DB. The zero value of a field is its default.
type Options struct {
	// Dir is the data folder, made if it does not exist. Required.
	Dir string
	// Retention is how long samples are kept. Blocks go as a whole, so that
	// data may stay up to a tenth of the retention longer.
	Retention time.Duration
	// RetentionSize bounds the bytes of blocks, write-ahead log and head chunks
	// together; the oldest blocks go first. 0 means no bound.
	RetentionSize int64
	// OutOfOrderWindow is how far a sample may lag behind the newest one of the
	// store; see DefaultOutOfOrderWindow. Negative: nothing may be late.
	OutOfOrderWindow time.Duration
	// MaxExemplars bounds the exemplars, which are kept in memory. Negative: none.
	MaxExemplars int64
	// MinFreeBytes is kept free on the disk: below it ingest stops, so that the
	// log is never torn by a disk that is really full and compaction, which
	// frees space, has room to work. 0 means 1 % of the disk, at least 64 MiB
	// and at most 1 GiB, but never more than a tenth of the disk.
	MinFreeBytes int64
	// MaxSeries bounds the series in memory; samples of further new series are
	// refused as storage.ReasonLimit. 0 means no bound.
	MaxSeries int
	// MaxLabels, MaxLabelNameBytes and MaxLabelValueBytes bound the labels of a
	// series; beyond them its samples are refused as storage.ReasonInvalid.
	MaxLabels, MaxLabelNameBytes, MaxLabelValueBytes int
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil. Upstream's prometheus_tsdb_* metrics are
	// registered too.
	Registerer prometheus.Registerer
}

// withDefaults fills in defaults and says which value cannot be used.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("tsdb: no data folder given")
	}
	if o.Retention < 0 || o.RetentionSize < 0 || o.MinFreeBytes < 0 || o.MaxSeries < 0 ||
		o.MaxLabels < 0 || o.MaxLabelNameBytes < 0 || o.MaxLabelValueBytes < 0 {
		return o, fmt.Errorf("tsdb: negative retention or limit (retention %v, size %d, free %d, series %d, labels %d/%d/%d)",
			o.Retention, o.RetentionSize, o.MinFreeBytes, o.MaxSeries, o.MaxLabels, o.MaxLabelNameBytes, o.MaxLabelValueBytes)
	}
	setDefault(&o.Retention, DefaultRetention)
	setDefault(&o.OutOfOrderWindow, DefaultOutOfOrderWindow)
	setDefault(&o.MaxExemplars, DefaultMaxExemplars)
	setDefault(&o.MaxLabels, DefaultMaxLabels)
	setDefault(&o.MaxLabelNameBytes, DefaultMaxLabelNameBytes)
	setDefault(&o.MaxLabelValueBytes, DefaultMaxLabelValueBytes)
	o.OutOfOrderWindow = max(o.OutOfOrderWindow, 0)
	o.MaxExemplars = max(o.MaxExemplars, 0)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
