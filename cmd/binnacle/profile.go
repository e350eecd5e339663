package main

import (
	"net/http"
	"net/http/pprof"
)

// withProfiles serves Go's profiles at /debug/pprof/ beside h, as Prometheus
// does: whoever may read the data may see where the time and memory go.
func withProfiles(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("/", h)
	return mux
}
