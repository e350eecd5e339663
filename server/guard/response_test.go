package guard

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func fail(w http.ResponseWriter, code int, message string) { http.Error(w, message, code) }

// hijackable is a response whose connection can be taken over.
type hijackable struct{ http.ResponseWriter }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func TestRequestsAreCountedByWhatWasSent(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewRegistry())
	for code, h := range map[string]http.HandlerFunc{
		"200": func(http.ResponseWriter, *http.Request) {},
		"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"101": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusSwitchingProtocols)
			_, _, err := http.NewResponseController(w).Hijack()
			require.NoError(t, err)
		},
		"500": m.Recovered(slog.New(slog.DiscardHandler), fail, func(http.ResponseWriter, *http.Request) { panic("fault") }),
		"503": m.Gated(newGate(0, 0), func(w http.ResponseWriter, err error) { fail(w, http.StatusServiceUnavailable, err.Error()) }, nil),
	} {
		m.Instrument("/x", h)(hijackable{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/x", nil))
		require.InDelta(t, 1, testutil.ToFloat64(m.requests.WithLabelValues("/x", code)), 0, code)
	}
	require.InDelta(t, 1, testutil.ToFloat64(m.panics), 0)
	require.InDelta(t, 1, testutil.ToFloat64(m.rejected.WithLabelValues(ReasonBusy)), 0)
}

func TestAbortIsPassedOn(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewRegistry())
	h := m.Recovered(slog.New(slog.DiscardHandler), fail, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { h(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil)) })
	require.Zero(t, testutil.ToFloat64(m.panics), "it is no fault")
}

func TestCorrectedResponse(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	res := NewResponse(rec)
	res.Correct = func(h http.Header, code int) (int, string) {
		h.Set("Retry-After", "5")
		return code + 1, "because "
	}
	require.False(t, res.Begun())
	_, err := io.WriteString(res, "so")
	require.NoError(t, err)
	res.Flush()
	require.True(t, res.Begun())
	require.Equal(t, 201, res.Code())
	require.Equal(t, 201, rec.Code)
	require.Equal(t, "because so", rec.Body.String())
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
}

// brokenReader fails as a connection does.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestFormIsReadUnderALimit(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewRegistry())
	h := m.Form(fail, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Form.Get("query")) })
	for _, tc := range []struct {
		name string
		body io.Reader
		code int
		want string
	}{
		{"fine", strings.NewReader("query=up"), 200, "up"},
		{"too large", strings.NewReader("query=" + strings.Repeat("a", maxFormBytes)), 413, "larger than 4194304 bytes"},
		{"broken escape", strings.NewReader("query=%zz"), 400, "cannot read the parameters"},
		{"broken connection", brokenReader{}, 400, "connection reset"},
	} {
		req := httptest.NewRequest(http.MethodPost, "/x", tc.body)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		h(rec, req)
		require.Equal(t, tc.code, rec.Code, tc.name)
		require.Contains(t, rec.Body.String(), tc.want, tc.name)
	}
	require.InDelta(t, 1, testutil.ToFloat64(m.rejected.WithLabelValues(ReasonTooLarge)), 0)
	require.InDelta(t, 2, testutil.ToFloat64(m.rejected.WithLabelValues(ReasonBadForm)), 0)
}
