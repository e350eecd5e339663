package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Values of the label `reason` of binnacle_http_rejected_total.
const (
	reasonBusy     = "busy"
	reasonTooLarge = "too_large"
	reasonBadForm  = "bad_form"
	reasonFull     = "store_full"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	rejected *prometheus.CounterVec
	panics   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
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
	for _, reason := range []string{reasonBusy, reasonTooLarge, reasonBadForm, reasonFull} {
		m.rejected.WithLabelValues(reason)
	}
	reg.MustRegister(m.requests, m.duration, m.rejected, m.panics)
	return m
}

// instrument counts and times what h answers under the name of its route.
func (m *metrics) instrument(name string, h http.HandlerFunc) http.HandlerFunc {
	handler := prometheus.Labels{"handler": name}
	return promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(handler),
		promhttp.InstrumentHandlerDuration(m.duration.MustCurryWith(handler), h))
}
