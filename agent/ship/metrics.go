package ship

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of one Shipper; the label sink tells them apart.
type metrics struct {
	records, bytes, batches prometheus.Counter
	retried, refused        *prometheus.CounterVec // by reason
	lastSuccess             prometheus.Gauge
	queued                  prometheus.Histogram
}

// newMetrics registers all metrics or none.
func newMetrics(o Options, inFlight func() int) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "binnacle_ship_" + name, Help: help}
	}
	m := &metrics{
		records: prometheus.NewCounter(counter("records_total", "Log records that the sink has stored.")),
		bytes:   prometheus.NewCounter(counter("line_bytes_total", "Length of the lines that the sink has stored.")),
		batches: prometheus.NewCounter(counter("batches_total", "Batches handed to the sink, repeated ones included.")),
		retried: prometheus.NewCounterVec(counter("retried_records_total", "Log records in writes that failed and are tried again."), []string{"reason"}),
		refused: prometheus.NewCounterVec(counter("refused_records_total", "Log records that the sink refused for good."), []string{"reason"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_ship_last_success_timestamp_seconds", Help: "When the sink last stored log records.",
		}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "binnacle_ship_queue_seconds", Help: "How long deliveries wait before their first write.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
	}
	m.refused.WithLabelValues(reasonTooLarge) // 0 rather than absent
	if o.Registerer == nil {
		return m, nil
	}
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"sink": o.Name}, o.Registerer)
	all := []prometheus.Collector{
		m.records, m.bytes, m.batches, m.retried, m.refused, m.lastSuccess, m.queued,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "binnacle_ship_inflight_bytes", Help: "Bytes of the deliveries that wait for the sink to store them.",
		}, func() float64 { return float64(inFlight()) }),
	}
	for i, c := range all {
		if err := reg.Register(c); err != nil {
			for _, done := range all[:i] {
				reg.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}
