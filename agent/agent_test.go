package agent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting is an Appender that counts samples.
type counting struct{ samples atomic.Int64 }

func (c *counting) Append(_ context.Context, batch []storage.Sample) error {
	c.samples.Add(int64(len(batch)))
	return nil
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestRunInProcess(t *testing.T) {
	into := &counting{}
	a, err := New(Options{Collector: collector.Options{Node: "n", Interval: time.Second}, Appender: into})
	require.NoError(t, err)
	h := a.Handler()
	require.Equal(t, http.StatusServiceUnavailable, get(h, "/-/ready").Code)
	require.Equal(t, http.StatusOK, get(h, "/-/healthy").Code)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	require.Eventually(t, func() bool { return into.samples.Load() > 0 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, http.StatusOK, get(h, "/-/ready").Code)
	// The first samples may be the node's.
	require.Eventually(t, func() bool {
		return strings.Contains(get(h, CadvisorPath).Body.String(), `container_cpu_usage_seconds_total{`)
	}, time.Minute, 10*time.Millisecond)
	require.Contains(t, get(h, "/metrics").Body.String(), "binnacle_collector_success")

	cancel()
	require.NoError(t, <-done)
	require.Equal(t, http.StatusServiceUnavailable, get(h, "/-/ready").Code)
}

func TestNewNeedsADestination(t *testing.T) {
	_, err := New(Options{Collector: collector.Options{Node: "n"}, DataDir: t.TempDir()})
	require.ErrorIs(t, err, ErrNoDestination)
}

// One buffer has one owner: the second agent is refused when it starts.
func TestOneAgentAFolder(t *testing.T) {
	o := Options{
		Collector: collector.Options{Node: "n"}, DataDir: t.TempDir(),
		Servers: []remote.Endpoint{{URL: "http://127.0.0.1:1/api/v1/write"}},
	}
	first, err := New(o)
	require.NoError(t, err)
	_, err = New(o)
	require.ErrorContains(t, err, "buffer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, first.Run(ctx))
}
