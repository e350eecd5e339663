package loki

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// Defaults of Options. Those of entries, names and values of labels and the
// time in the future are Loki's; there may be more labels, because pod, uid and
// restart are labels here. Shippers send bodies of one to four MiB.
const (
	DefaultQueryTimeout      = 2 * time.Minute
	DefaultExportTimeout     = time.Hour
	DefaultQueryConcurrency  = 20
	DefaultWriteConcurrency  = 16
	DefaultMaxTails          = 64
	DefaultMaxEntries        = 5000
	DefaultMaxResultBytes    = 64 << 20
	DefaultMaxBodyBytes      = 16 << 20
	DefaultMaxEntriesPerPush = 100_000
	DefaultMaxLineBytes      = 1 << 20
	DefaultMaxLabels         = 64
	DefaultMaxLabelName      = 1024
	DefaultMaxLabelValue     = 4096
	DefaultMaxFuture         = 10 * time.Minute
)

// Evaluator evaluates queries; *logql.Engine implements it.
type Evaluator interface {
	logql.Evaluator
	// Volume returns the largest groups first.
	Volume(ctx context.Context, q logql.VolumeQuery) ([]logql.Volume, logql.Stats, error)
}

// Options configure a Handler. The first two fields must be set; the zero value
// of any other is its default.
type Options struct {
	Store     storage.LogStore
	Evaluator Evaluator
	// Version is shown by status/buildinfo as the revision.
	Version string

	// QueryTimeout bounds a query whose result is one document, ExportTimeout
	// one whose result are lines.
	QueryTimeout, ExportTimeout time.Duration
	// QueryConcurrency is how many queries work at the same time,
	// WriteConcurrency how many requests that store, MaxTails how many clients
	// follow a query.
	QueryConcurrency, WriteConcurrency, MaxTails int
	// MaxEntries is the highest limit of a query whose result is one document,
	// and MaxResultBytes the largest such document.
	MaxEntries, MaxResultBytes int
	// MaxBodyBytes bounds a body of records, packed as well as unpacked.
	MaxBodyBytes int
	// MaxEntriesPerPush bounds the records of one request.
	MaxEntriesPerPush int
	// MaxLineBytes is the longest line that a push request may bring.
	MaxLineBytes int
	// MaxLabels bounds the labels of a pushed stream and the metadata of a
	// record, MaxLabelName and MaxLabelValue their lengths in bytes.
	MaxLabels, MaxLabelName, MaxLabelValue int
	// MaxFuture is how far ahead of the server's clock a pushed record may be.
	// How old it may be is the store's retention to decide.
	MaxFuture time.Duration

	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the package's metrics; nil means a private registry.
	Registerer prometheus.Registerer
	// Endpoints counts requests; nil means metrics of its own at Registerer.
	Endpoints *guard.Metrics
}

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Evaluator == nil {
		return o, errors.New("server/loki: Store and Evaluator of Options must be set")
	}
	setDefault(&o.QueryTimeout, DefaultQueryTimeout)
	setDefault(&o.ExportTimeout, DefaultExportTimeout)
	setDefault(&o.QueryConcurrency, DefaultQueryConcurrency)
	setDefault(&o.WriteConcurrency, DefaultWriteConcurrency)
	setDefault(&o.MaxTails, DefaultMaxTails)
	setDefault(&o.MaxEntries, DefaultMaxEntries)
	setDefault(&o.MaxResultBytes, DefaultMaxResultBytes)
	setDefault(&o.MaxBodyBytes, DefaultMaxBodyBytes)
	setDefault(&o.MaxEntriesPerPush, DefaultMaxEntriesPerPush)
	setDefault(&o.MaxLineBytes, DefaultMaxLineBytes)
	setDefault(&o.MaxLabels, DefaultMaxLabels)
	setDefault(&o.MaxLabelName, DefaultMaxLabelName)
	setDefault(&o.MaxLabelValue, DefaultMaxLabelValue)
	setDefault(&o.MaxFuture, DefaultMaxFuture)
	if min(o.QueryTimeout, o.ExportTimeout, o.MaxFuture) < 0 ||
		min(o.QueryConcurrency, o.WriteConcurrency, o.MaxTails, o.MaxEntries, o.MaxResultBytes, o.MaxBodyBytes,
			o.MaxEntriesPerPush, o.MaxLineBytes, o.MaxLabels, o.MaxLabelName, o.MaxLabelValue) < 0 {
		return o, errors.New("server/loki: limits of Options must not be negative")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Endpoints == nil {
		o.Endpoints = guard.NewMetrics(o.Registerer)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
