package loki

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// retryAfter is in seconds: clients that are told to come back do so soon
// enough not to fall behind, and late enough to be of help.
const retryAfter = "5"

// statusClientClosed is what counts in the metrics for clients that went away;
// nobody receives it. Loki uses the same number.
const statusClientClosed = 499

// timeoutError says that a query took too long.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("the query took longer than %v; narrow its selector or its span of time", e.after)
}

// writeError answers in Loki's form of an error: a text.
func writeError(w http.ResponseWriter, code int, message string) { http.Error(w, message, code) }

// fail answers a query that failed.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, text := h.explain(r.Context(), err)
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeError(w, code, text)
}

// explain returns the status of an error and its text for the client.
func (h *Handler) explain(ctx context.Context, err error) (code int, text string) {
	var bad *requestError
	var late *timeoutError
	switch {
	case errors.As(err, &bad), errors.Is(err, logql.ErrBadQuery):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, storage.ErrQueryLimit):
		return http.StatusUnprocessableEntity, err.Error()
	case errors.Is(err, storage.ErrClosed):
		return http.StatusServiceUnavailable, err.Error()
	case ctx.Err() == nil:
		h.opts.Logger.Warn("A query failed.", "err", err)
		return http.StatusInternalServerError, err.Error()
	case errors.As(context.Cause(ctx), &late):
		return http.StatusGatewayTimeout, late.Error()
	case errors.Is(context.Cause(ctx), context.Canceled):
		return statusClientClosed, "the client closed the request"
	}
	return http.StatusServiceUnavailable, context.Cause(ctx).Error()
}
