package logql

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/storage"
)

// Defaults of Options.
const (
	// DefaultMaxSeries lets a query tell all pods of a large cluster apart.
	DefaultMaxSeries = 20_000
	// DefaultMaxSamples bounds a metric query to about 100 MB: a sample held
	// takes up to 40 bytes.
	DefaultMaxSamples = 2_500_000
	// DefaultTimeout is that of metric queries.
	DefaultTimeout = 2 * time.Minute
)

// Options of an Engine. The zero value of a field is its default.
type Options struct {
	// Store answers. Required.
	Store storage.LogStore
	// MaxSeries bounds the series that a metric query may tell apart.
	MaxSeries int
	// MaxSamples bounds the samples that a metric query may hold in memory,
	// those of its result included.
	MaxSamples int
	// MaxEntries bounds the entries of a log query; 0 leaves that to its limit.
	MaxEntries int
	// MaxBytes bounds the text that a query may read; 0 means no bound.
	MaxBytes int64
	// Timeout bounds the time of a query, a live tail aside.
	Timeout time.Duration
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() (Options, error) {
	if o.Store == nil {
		return o, errors.New("logql: no store given")
	}
	if o.MaxSeries < 0 || o.MaxSamples < 0 || o.MaxEntries < 0 || o.MaxBytes < 0 || o.Timeout < 0 {
		return o, fmt.Errorf("logql: negative limit (series %d, samples %d, entries %d, bytes %d, timeout %v)",
			o.MaxSeries, o.MaxSamples, o.MaxEntries, o.MaxBytes, o.Timeout)
	}
	if o.MaxSeries == 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = DefaultMaxSamples
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return o, nil
}

// Engine evaluates queries over a store. It is safe for concurrent use.
type Engine struct {
	opts    Options
	metrics *metrics
}

var _ Evaluator = (*Engine)(nil)

// New returns an Engine.
func New(opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("logql: %w", err)
	}
	return &Engine{opts: opts, metrics: m}, nil
}

// metrics count queries.
type metrics struct {
	queries *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_logql_queries_total",
			Help: "LogQL queries that ended, by kind (logs, metric, tail, volume) and result (ok, bad_query, limit, canceled, error).",
		}, []string{"kind", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "binnacle_logql_query_duration_seconds",
			Help:    "Time that LogQL queries took, live tails aside.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"kind"}),
	}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.queries); err != nil {
		return nil, err
	}
	if err := reg.Register(m.seconds); err != nil {
		reg.Unregister(m.queries)
		return nil, err
	}
	return m, nil
}
