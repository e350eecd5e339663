package api

import (
	"context"
	"net/http"

	"github.com/binnacle-obs/binnacle/server/guard"
)

// maxSubscribers bounds the listeners to notifications; upstream's default.
const maxSubscribers = 16

// around returns what surrounds each route below prefix: counting, recovery
// from panics, and the limits of that kind of request.
func (a *API) around(prefix string) func(string, http.HandlerFunc) http.HandlerFunc {
	return func(name string, h http.HandlerFunc) http.HandlerFunc {
		return a.metrics.Instrument(prefix+name, a.metrics.Recovered(a.opts.Logger, writeInternal, a.limited(name, h)))
	}
}

// limited picks the limits by route.
func (a *API) limited(name string, h http.HandlerFunc) http.HandlerFunc {
	switch name {
	case "/write":
		return a.gated(a.writes, a.bounded(remoteWriteBody, h))
	case "/otlp/v1/metrics":
		return a.gated(a.writes, a.bounded(otlpWriteBody, h))
	case "/read":
		return a.gated(a.reads, a.bounded(remoteReadBody, h))
	case "/metadata", "/targets/metadata":
		return a.form(func(w http.ResponseWriter, r *http.Request) {
			h(w, r.WithContext(withMetadata(r.Context())))
		})
	case "/query", "/query_range", "/query_exemplars", "/series", "/labels", "/label/:name/values", federatePath:
		return a.form(a.gated(a.reads, a.timed(h)))
	}
	return a.form(h)
}

// gated waits for a slot of g, or answers 503.
func (a *API) gated(g *guard.Gate, h http.HandlerFunc) http.HandlerFunc {
	return a.metrics.Gated(g, func(w http.ResponseWriter, err error) {
		w.Header().Set("Retry-After", retryAfter)
		writeError(w, http.StatusServiceUnavailable, typeUnavailable, err.Error())
	}, h)
}

// timed ends requests that upstream's engine does not end, such as series.
func (a *API) timed(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.opts.QueryTimeout)
		defer cancel()
		h(w, r.WithContext(ctx))
	}
}

// form reads the parameters under a limit.
func (a *API) form(h http.HandlerFunc) http.HandlerFunc {
	return a.metrics.Form(func(w http.ResponseWriter, code int, message string) {
		writeError(w, code, typeBadData, message)
	}, h)
}
