// Package guard is what surrounds every HTTP endpoint, whatever it serves:
// counting and timing, recovery from panics, and a bound on how many requests
// work at the same time.
package guard

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label `reason` of binnacle_http_rejected_total.
const (
	ReasonBusy     = "busy"
	ReasonTooLarge = "too_large"
	ReasonBadForm  = "bad_form"
	ReasonFull     = "store_full"
)

// Metrics count the requests of all endpoints of a server: there is one per
// registry.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	rejected *prometheus.CounterVec
	panics   prometheus.Counter
}

// NewMetrics registers the metrics at reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_http_requests_total",
			Help: "HTTP requests answered, by route and status code.",
		}, []string{"handler", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "binnacle_http_request_duration_seconds",
			Help:    "Time from the arrival of a request to the end of the answer, by route.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60},
		}, []string{"handler"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_http_rejected_total",
			Help: "HTTP requests turned away by a limit, by reason.",
		}, []string{"reason"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_http_panics_total",
			Help: "HTTP requests that ended in a programming error, which the process survived.",
		}),
	}
	for _, reason := range []string{ReasonBusy, ReasonTooLarge, ReasonBadForm, ReasonFull} {
		m.rejected.WithLabelValues(reason)
	}
	reg.MustRegister(m.requests, m.duration, m.rejected, m.panics)
	return m
}

// Rejected counts a request that a limit turned away.
func (m *Metrics) Rejected(reason string) { m.rejected.WithLabelValues(reason).Inc() }

// Instrument counts and times what h answers under the name of its route.
func (m *Metrics) Instrument(name string, h http.HandlerFunc) http.HandlerFunc {
	duration := m.duration.WithLabelValues(name)
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		res := NewResponse(w)
		// A panic is counted as what was answered when it passed here.
		defer func() {
			duration.Observe(time.Since(begin).Seconds())
			m.requests.WithLabelValues(name, strconv.Itoa(res.Code())).Inc()
		}()
		h(res, r)
	}
}
