package loki

import (
	"net/http"
	"runtime"
)

// lokiVersion is what Grafana takes the server for, to know which endpoints
// there are: since 3.2 there have been volume, patterns, detected fields and
// detected labels, and entries with categorized labels.
const lokiVersion = "3.2.0"

// serveBuildInfo answers Grafana's question for the version.
func (h *Handler) serveBuildInfo(w http.ResponseWriter, r *http.Request) {
	b := []byte(`{"version":"` + lokiVersion + `","revision":`)
	b = appendString(b, "binnacle "+h.opts.Version)
	b = append(b, `,"branch":"","buildUser":"","buildDate":"","goVersion":`...)
	b = appendString(b, runtime.Version())
	writeJSON(w, r, append(b, "}\n"...))
}
