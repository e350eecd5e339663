package agent

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// CadvisorPath is where container_* and machine_* metrics are served, under
// the path of the kubelet, so that existing scrape configurations fit.
const CadvisorPath = "/metrics/cadvisor"

// Handler serves the agent's own endpoints: /metrics (node_* and binnacle_*),
// /metrics/cadvisor, /-/healthy and /-/ready.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics(prometheus.Gatherers{a.collector.Node(), a.opts.Registry}))
	mux.Handle("GET "+CadvisorPath, a.CadvisorHandler())
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "binnacle agent is healthy.")
	})
	mux.HandleFunc("GET /-/ready", a.serveReady)
	return mux
}

// CadvisorHandler serves the container and machine metrics of the last cycle.
func (a *Agent) CadvisorHandler() http.Handler {
	return a.metrics(a.collector.Cadvisor())
}

func (a *Agent) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "binnacle agent is not collecting yet.", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "binnacle agent is ready.")
}

// metrics serves what g gathers. One failing collector must not hide the
// others, hence ContinueOnError; two scrapes at a time are plenty.
func (a *Agent) metrics(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	})
}
