package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestGateBoundsWorkAndQueue(t *testing.T) {
	t.Parallel()
	g := newGate(1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	require.NoError(t, g.enter(ctx))

	waited := make(chan error)
	go func() { waited <- g.enter(ctx) }()
	for g.waiting.Load() != 1 { // until the second one queues
		runtime.Gosched()
	}
	require.ErrorIs(t, g.enter(ctx), errBusy, "the queue is full")

	g.leave()
	require.NoError(t, <-waited, "the one that waited has its turn")
	go func() { waited <- g.enter(ctx) }()
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	require.Zero(t, g.waiting.Load())
}

func TestBusyIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.reads = newGate(1, 0)
	h := f.gated(f.reads, func(http.ResponseWriter, *http.Request) {})
	require.NoError(t, f.reads.enter(context.Background()))
	rec := httptest.NewRecorder()
	h(rec, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/api/v1/query", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, retryAfter, rec.Header().Get("Retry-After"))
	require.JSONEq(t, `{"status":"error","errorType":"unavailable","error":"too many requests at the same time, try again later"}`, rec.Body.String())
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.rejected.WithLabelValues(reasonBusy)), 0)
}
