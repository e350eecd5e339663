package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// drainTime is how long requests may go on after the server began to stop;
// then their contexts end.
const drainTime = 5 * time.Second

// errStopping is the cause of the end of a request's context.
var errStopping = errors.New("the server is stopping")

// requests knows the requests under way, because the store must not be closed
// beneath them.
type requests struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	n       int           // guarded by mu
	stopped bool          // guarded by mu
	idle    chan struct{} // closed when stopped and n is 0
}

func newRequests() *requests {
	r := &requests{idle: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	return r
}

// begin counts a request in, or returns false when the server is stopping.
func (r *requests) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.n++
	return true
}

func (r *requests) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n--
	if r.stopped && r.n == 0 {
		close(r.idle)
	}
}

// serve answers by h, in a context that also ends with the server.
func (r *requests) serve(h http.Handler, w http.ResponseWriter, req *http.Request) bool {
	if !r.begin() {
		return false
	}
	defer r.end()
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(errStopping) })()
	h.ServeHTTP(w, req.WithContext(ctx))
	return true
}

// drain lets no more requests in and waits for those under way.
func (r *requests) drain(ctx context.Context) error {
	r.mu.Lock()
	r.stopped = true
	if r.n == 0 {
		close(r.idle)
	}
	r.mu.Unlock()
	defer time.AfterFunc(drainTime, func() { r.cancel(errStopping) }).Stop()
	select {
	case <-r.idle:
		r.cancel(errStopping)
		return nil
	case <-ctx.Done():
		return errors.New("requests are still under way")
	}
}
