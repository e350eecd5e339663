package loki

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// tailLines follows a query over plain HTTP.
func (h *Handler) tailLines(w http.ResponseWriter, r *http.Request, q tailQuery) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := h.newLineWriter(w, r)
	defer out.close()
	if err := out.flush(); err != nil { // a client wants to know that it is followed
		return
	}
	ticker := make(chan struct{})
	var dropped int64 // of this goroutine
	reported := make(chan int64, 1)
	go func() {
		defer close(ticker)
		defer cancel() // a client that takes nothing is gone
		keepAlive(ctx, out, reported)
	}()
	err := h.opts.Evaluator.Tail(ctx, q.Query, out.entry, func(n int64) error {
		if n > dropped {
			h.metrics.dropped.Add(float64(n - dropped))
			dropped = n
			report(reported, n)
			return out.progress(n)
		}
		return out.flush()
	})
	cancel()
	<-ticker
	var warnings []string
	failure := ""
	switch {
	case r.Context().Err() != nil: // the end of the server, not of the query
		warnings = []string{context.Cause(r.Context()).Error()}
	case errors.Is(err, storage.ErrClosed):
		warnings = []string{err.Error()}
	case err != nil:
		_, failure = h.explain(r.Context(), err)
	}
	out.end(logql.Stats{}, false, warnings, failure)
}

// report replaces what was reported before and not read.
func report(to chan int64, n int64) {
	select {
	case <-to:
	default:
	}
	to <- n
}

// keepAlive writes a line when there was none for a while.
func keepAlive(ctx context.Context, out *lineWriter, reported <-chan int64) {
	ticker := time.NewTicker(pingEvery / 3)
	defer ticker.Stop()
	var dropped int64
	for {
		select {
		case <-ctx.Done():
			return
		case dropped = <-reported:
		case <-ticker.C:
			if out.quiet() >= pingEvery/2 && out.progress(dropped) != nil {
				return
			}
		}
	}
}
