package loki

import (
	"context"
	"net/http"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// serveLines answers a log query with lines.
func (h *Handler) serveLines(w http.ResponseWriter, r *http.Request, p params, q logql.Query) {
	limit, _, err := p.limit(0, 0)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	interval, err := p.interval()
	if err != nil {
		h.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), h.opts.ExportTimeout, &timeoutError{h.opts.ExportTimeout})
	defer cancel()
	out := h.newLineWriter(w, r)
	defer out.close()
	stats, c, err := h.logs(ctx, q, limit, interval, out.entry)
	if err != nil && !out.hasBegun() {
		h.fail(w, r.WithContext(ctx), err)
		return
	}
	failure := ""
	if err != nil {
		_, failure = h.explain(ctx, err)
	}
	if c.reason == cutLimit {
		c.warning = "" // it is what was asked for, and "more" says it
	}
	out.end(stats, c.reason == cutLimit, c.warnings(), failure)
}
