// Package loki serves the HTTP API of Grafana Loki over any storage.LogStore,
// and takes OpenTelemetry logs: Grafana's Loki datasource, logcli and the usual
// shippers work unchanged. It knows the language and the store only by their
// interfaces. What is served, and where it differs from Loki, is described in
// docs/logs-api.md; the shapes are those of
// https://grafana.com/docs/loki/latest/reference/loki-http-api/.
package loki

import (
	"context"
	"net/http"
	"time"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/storage/otlp"
)

// Prefix is the path of the API; otlp.Path is served beside it.
const Prefix = "/loki/api/v1"

// Handler serves the routes; build it by New.
type Handler struct {
	opts    Options
	metrics *metrics
	reads   *guard.Gate
	writes  *guard.Gate
	tails   *guard.Gate
	// streams are those of push requests, resources those of OTLP.
	streams   *streamCache
	resources *otlp.Streams
	// following ends with StopTails.
	following context.Context
	stopTails context.CancelCauseFunc
	now       func() time.Time
	stall     time.Duration // maxStall, or less in tests
	mux       *http.ServeMux
}

// New builds the routes over the given parts.
func New(o Options) (*Handler, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handler{
		opts:      o,
		metrics:   newMetrics(o.Registerer),
		reads:     guard.NewGate(o.QueryConcurrency),
		writes:    guard.NewGate(o.WriteConcurrency),
		tails:     guard.NewGate(o.MaxTails),
		streams:   newStreamCache(maxCachedStreams),
		resources: otlp.NewStreams(maxCachedStreams),
		now:       time.Now,
		stall:     maxStall,
		mux:       http.NewServeMux(),
	}
	h.following, h.stopTails = context.WithCancelCause(context.Background())
	h.routes()
	return h, nil
}

// ServeHTTP answers one request. A context that ends because the server stops
// carries the reason as its cause.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// StopTails ends all tails, now and later, and tells their clients the cause.
// A server that stops calls it first: unlike other requests, tails never end
// by themselves.
func (h *Handler) StopTails(cause error) { h.stopTails(cause) }

func (h *Handler) routes() {
	read := func(path string, f http.HandlerFunc) {
		h.handle(path, h.form(h.gated(h.reads, h.timed(f))), http.MethodGet, http.MethodPost)
	}
	read(Prefix+"/labels", h.serveLabels)
	read(Prefix+"/label/{name}/values", h.serveLabelValues)
	read(Prefix+"/series", h.serveSeries)
	read(Prefix+"/index/stats", h.serveIndexStats)
	read(Prefix+"/index/volume", h.serveVolume)
	read(Prefix+"/index/volume_range", h.serveVolumeRange)
	read(Prefix+"/patterns", h.servePatterns)
	read(Prefix+"/detected_fields", h.serveDetectedFields)
	read(Prefix+"/detected_field/{name}/values", h.serveDetectedFieldValues)
	read(Prefix+"/detected_labels", h.serveDetectedLabels)
	read(Prefix+"/query", h.serveQuery)
	// Lines may be exported for longer than a document may take.
	h.handle(Prefix+"/query_range", h.form(h.gated(h.reads, h.serveQueryRange)), http.MethodGet, http.MethodPost)
	h.handle(Prefix+"/format_query", h.form(h.serveFormatQuery), http.MethodGet, http.MethodPost)
	h.handle(Prefix+"/tail", h.form(h.serveTail), http.MethodGet)
	h.handle(Prefix+"/status/buildinfo", h.serveBuildInfo, http.MethodGet)
	h.handle(Prefix+"/push", h.gated(h.writes, h.servePush), http.MethodPost)
	h.handle(otlp.Path, h.gated(h.writes, h.serveOTLP), http.MethodPost)
}

// handle registers f, counted and safe from panics.
func (h *Handler) handle(path string, f http.HandlerFunc, methods ...string) {
	f = h.opts.Endpoints.Instrument(path, h.opts.Endpoints.Recovered(h.opts.Logger, writeError, f))
	for _, method := range methods {
		h.mux.HandleFunc(method+" "+path, f)
	}
}

func (h *Handler) form(f http.HandlerFunc) http.HandlerFunc {
	return h.opts.Endpoints.Form(writeError, f)
}

// gated answers what finds no slot by 429, as Loki does: Grafana says so, and
// shippers keep their batch and come back.
func (h *Handler) gated(g *guard.Gate, f http.HandlerFunc) http.HandlerFunc {
	return h.opts.Endpoints.Gated(g, func(w http.ResponseWriter, err error) {
		w.Header().Set("Retry-After", retryAfter)
		writeError(w, http.StatusTooManyRequests, err.Error())
	}, f)
}

func (h *Handler) timed(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := h.timeout(r.Context())
		defer cancel()
		f(w, r.WithContext(ctx))
	}
}

// timeout bounds a query whose result is one document.
func (h *Handler) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, h.opts.QueryTimeout, &timeoutError{h.opts.QueryTimeout})
}
