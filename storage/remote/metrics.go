package remote

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a Queue.
type metrics struct {
	appended prometheus.Counter
	refused  *prometheus.CounterVec

	sent              *prometheus.CounterVec
	retried           *prometheus.CounterVec
	rejected          *prometheus.CounterVec
	rejectedExemplars *prometheus.CounterVec
	shed              *prometheus.CounterVec
	damaged           *prometheus.CounterVec
	version           *prometheus.GaugeVec
	lastSuccess       *prometheus.GaugeVec
}

// endpointMetrics are those of one endpoint.
type endpointMetrics struct {
	sent              prometheus.Counter
	retried           *prometheus.CounterVec // by reason
	rejected          *prometheus.CounterVec // by reason
	rejectedExemplars prometheus.Counter
	shed              *prometheus.CounterVec // by reason
	damaged           prometheus.Counter
	version           prometheus.Gauge
	lastSuccess       prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "binnacle_remote_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "binnacle_remote_" + name, Help: help}, []string{"endpoint"})
	}
	return &metrics{
		appended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_remote_appended_samples_total", Help: "Samples written to the buffer.",
		}),
		refused:           counter("refused_samples_total", "Samples not taken into the buffer.", "reason"),
		sent:              counter("sent_samples_total", "Samples that the receiver has stored.", "endpoint"),
		retried:           counter("retried_samples_total", "Samples in requests that failed and are sent again.", "endpoint", "reason"),
		rejected:          counter("rejected_samples_total", "Samples that the receiver refused for good.", "endpoint", "reason"),
		rejectedExemplars: counter("rejected_exemplars_total", "Exemplars that the receiver did not store.", "endpoint"),
		shed:              counter("shed_samples_total", "Samples removed from the buffer before they were sent.", "endpoint", "reason"),
		damaged:           counter("damaged_entries_total", "Places in the buffer that could not be read.", "endpoint"),
		version:           gauge("protocol_version", "Remote write version in use: 1 or 2, 0 before the first answer."),
		lastSuccess:       gauge("last_success_timestamp_seconds", "When the receiver last stored samples."),
	}
}

func (m *metrics) endpoint(name string) *endpointMetrics {
	l := prometheus.Labels{"endpoint": name}
	e := &endpointMetrics{
		sent:              m.sent.With(l),
		retried:           m.retried.MustCurryWith(l),
		rejected:          m.rejected.MustCurryWith(l),
		rejectedExemplars: m.rejectedExemplars.With(l),
		shed:              m.shed.MustCurryWith(l),
		damaged:           m.damaged.With(l),
		version:           m.version.With(l),
		lastSuccess:       m.lastSuccess.With(l),
	}
	for _, reason := range []string{reasonBudget, reasonDiskFull, reasonDamaged} {
		e.shed.WithLabelValues(reason)
	}
	return e
}

// register adds everything to reg, or nothing.
func (q *Queue) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	m := q.metrics
	for _, c := range []prometheus.Collector{
		m.appended, m.refused, m.sent, m.retried, m.rejected, m.rejectedExemplars,
		m.shed, m.damaged, m.version, m.lastSuccess, &stateCollector{queue: q},
	} {
		if err := reg.Register(c); err != nil {
			q.unregister()
			return errors.Join(errors.New("register metrics of remote write"), err)
		}
		q.unregisters = append(q.unregisters, func() { reg.Unregister(c) })
	}
	return nil
}

func (q *Queue) unregister() {
	for _, f := range q.unregisters {
		f()
	}
	q.unregisters = nil
}

// stateCollector reports what is computed when asked.
type stateCollector struct{ queue *Queue }

var (
	descBuffer  = prometheus.NewDesc("binnacle_remote_buffer_bytes", "Size of the buffer on disk.", nil, nil)
	descPending = prometheus.NewDesc("binnacle_remote_pending_bytes", "Bytes in the buffer that are not sent yet.", []string{"endpoint"}, nil)
	descLag     = prometheus.NewDesc("binnacle_remote_lag_seconds", "Age of the oldest samples that are not sent yet.", []string{"endpoint"}, nil)
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBuffer
	ch <- descPending
	ch <- descLag
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	b := c.queue.buffer
	ch <- prometheus.MustNewConstMetric(descBuffer, prometheus.GaugeValue, float64(b.bytes()))
	for _, s := range c.queue.senders {
		name := s.client.name
		ch <- prometheus.MustNewConstMetric(descPending, prometheus.GaugeValue, float64(b.pending(s.reader.cursor)), name)
		ch <- prometheus.MustNewConstMetric(descLag, prometheus.GaugeValue, s.lag(time.Now()).Seconds(), name)
	}
}

// lag is how old the oldest entry is that is not sent yet.
func (s *sender) lag(now time.Time) time.Duration {
	oldest := s.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(oldest)))
}
