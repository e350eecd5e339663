package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Recovered turns a panic of h into an answer, which fail writes, and a log
// line: a fault met by one request must not end the process for all others.
func (m *Metrics) Recovered(logger *slog.Logger, fail func(w http.ResponseWriter, code int, message string), h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res := NewResponse(w)
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause) // not a fault: net/http's way to cut a connection
			}
			m.panics.Inc()
			logger.Error("A request ended in a panic.", "path", r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
			if res.Begun() {
				panic(http.ErrAbortHandler) // the client must not take a torn answer for a whole one
			}
			fail(res, http.StatusInternalServerError, fmt.Sprintf("internal error: %v", cause))
		}()
		h(res, r)
	}
}
