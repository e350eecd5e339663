package tsdb

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are our own; upstream's are collected from the current handle.
type metrics struct {
	full            prometheus.Gauge
	rejected        *prometheus.CounterVec
	failed          *prometheus.CounterVec
	quarantined     *prometheus.CounterVec
	salvagedBytes   prometheus.Counter
	reopened        *prometheus.CounterVec
	metadataDropped prometheus.Counter

	upstream upstreamMetrics
	reg      prometheus.Registerer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reg: reg,
		full: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_tsdb_full",
			Help: "1 while samples are refused because the disk is full.",
		}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_tsdb_samples_rejected_total",
			Help: "Samples of the in-process path refused for good, by reason.",
		}, []string{"reason"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_tsdb_batches_failed_total",
			Help: "Batches that were not stored and may be sent again, by reason.",
		}, []string{"reason"}),
		quarantined: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_tsdb_quarantined_total",
			Help: "Broken blocks and log segments set aside in the folder quarantine, by reason.",
		}, []string{"reason"}),
		salvagedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_tsdb_wal_dropped_bytes_total",
			Help: "Unreadable bytes of the write-ahead log that were dropped when the store was opened.",
		}),
		reopened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_tsdb_reopened_total",
			Help: "Times the store was opened again in place after a failed write, by result.",
		}, []string{"result"}),
		metadataDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_tsdb_metadata_dropped_total",
			Help: "Metric families whose metadata was not kept because there are too many.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.collectors() {
		if err := reg.Register(c); err != nil {
			for _, done := range m.collectors()[:i] {
				reg.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.full, m.rejected, m.failed, m.quarantined, m.salvagedBytes, m.reopened, m.metadataDropped, &m.upstream,
	}
}

// unregister lets a store be opened again with the same Registerer. What has
// no description cannot be taken out; it stays, and collects nothing.
func (m *metrics) unregister() {
	m.upstream.current.Store(nil)
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors() {
		m.reg.Unregister(c)
	}
}

// upstreamMetrics passes on the metrics of whichever handle is current:
// upstream registers a new set each time a folder is opened.
type upstreamMetrics struct {
	current atomic.Pointer[prometheus.Registry]
}

// Describe names nothing: what upstream registers is not known beforehand.
func (u *upstreamMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (u *upstreamMetrics) Collect(ch chan<- prometheus.Metric) {
	if reg := u.current.Load(); reg != nil {
		reg.Collect(ch)
	}
}
