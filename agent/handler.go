package agent

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/binnacle-obs/binnacle/agent/tail"
)

// CadvisorPath is where container_* and machine_* metrics are served, under
// the path of the kubelet, so that existing scrape configurations fit.
const CadvisorPath = "/metrics/cadvisor"

// FilesPath lists the log files that are being read.
const FilesPath = "/api/binnacle/v1/logs/files"

// Handler serves the agent's own endpoints: /metrics (node_* and binnacle_*),
// /metrics/cadvisor, the list of log files, /-/healthy and /-/ready.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics(prometheus.Gatherers{a.collector.Node(), a.opts.Registry}))
	mux.Handle("GET "+CadvisorPath, a.CadvisorHandler())
	mux.Handle("GET "+FilesPath, a.FilesHandler())
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

// FilesHandler answers with the log files by the place that they are sent to: a
// JSON object of lists.
func (a *Agent) FilesHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		files := map[string][]tail.File{}
		for _, p := range a.pipelines {
			files[p.name] = p.tailer.Files()
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone does not need the answer.
		_ = json.NewEncoder(w).Encode(files)
	})
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
