package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/guard"
)

func TestBusyIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	h := f.gated(guard.NewGate(0), func(http.ResponseWriter, *http.Request) {})
	rec := httptest.NewRecorder()
	h(rec, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/api/v1/query", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, retryAfter, rec.Header().Get("Retry-After"))
	require.JSONEq(t, `{"status":"error","errorType":"unavailable","error":"too many requests at the same time, try again later"}`, rec.Body.String())
	require.InDelta(t, 1, f.metric(t, `binnacle_http_rejected_total`, guard.ReasonBusy), 0)
}
