package otlp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver records what it gets and answers as told.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	records  []storage.Record
	answer   http.HandlerFunc
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err == nil {
		body, err = unpack(req.Header.Get("Content-Encoding"), body)
	}
	batch := Batch{}
	if err == nil {
		batch, err = Decode(body, DecodeOptions{})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	r.records = batch.Records
	if r.answer != nil {
		r.answer(w, req)
	}
}

func unpack(coding string, body []byte) ([]byte, error) {
	switch coding {
	case "snappy":
		return s2.Decode(nil, body)
	case "zstd":
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.DecodeAll(body, nil)
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	}
	return nil, fmt.Errorf("coding %q", coding)
}

func newTestClient(t *testing.T, o Endpoint) *Client {
	c, err := NewClient(ClientOptions{o})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte("because"))
	}
}

func TestWriteSendsRecords(t *testing.T) {
	r := newReceiver(t, nil)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("hunter2\n"), 0o600))
	c := newTestClient(t, Endpoint{URL: r.URL + "/base/?x=1", TokenFile: token, Headers: map[string]string{"X-Scope-OrgID": "t"}})
	require.NoError(t, c.Write(t.Context(), sampleRecords()))
	requireSame(t, sampleRecords(), r.records)
	got := r.requests[0]
	require.Equal(t, "/base/otlp/v1/logs?x=1", got.URL.String())
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "application/x-protobuf", got.Header.Get("Content-Type"))
	require.Equal(t, "snappy", got.Header.Get("Content-Encoding"))
	require.Equal(t, "Bearer hunter2", got.Header.Get("Authorization"))
	require.Equal(t, "t", got.Header.Get("X-Scope-OrgID"))

	require.NoError(t, os.WriteFile(token, []byte("hunter3\n"), 0o600))
	require.NoError(t, c.Write(t.Context(), sampleRecords()[:1]))
	require.Equal(t, "Bearer hunter3", r.requests[1].Header.Get("Authorization"))
	require.NoError(t, c.Write(t.Context(), nil))
	require.Len(t, r.requests, 2)
}

func TestAnswers(t *testing.T) {
	everything := []int{0, 1, 2}
	for name, test := range map[string]struct {
		answer  http.HandlerFunc
		retry   []int
		after   time.Duration
		refused map[string]int
		is      error
	}{
		"too many requests": {status(429, "Retry-After", "7"), everything, 7 * time.Second, nil, nil},
		"unavailable":       {status(503), everything, 0, nil, nil},
		"bad gateway":       {status(502), everything, 0, nil, nil},
		"gateway timeout":   {status(504), everything, 0, nil, nil},
		"server error":      {status(500), everything, 0, nil, nil},
		"full":              {status(507, "Retry-After", "3"), everything, 3 * time.Second, nil, storage.ErrFull},
		"wrong token":       {status(401), everything, 0, nil, nil},
		"wrong path":        {status(404), everything, 0, nil, nil},
		"moved":             {status(308, "Location", "http://elsewhere/?secret=1"), everything, 0, nil, nil},
		"bad":               {status(400), nil, 0, map[string]int{"http_400": 3}, nil},
		"unprocessable":     {status(422), nil, 0, map[string]int{"http_422": 3}, nil},
		"partial": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(AppendResponse(nil, 2, "too old"))
		}, nil, 0, map[string]int{"partial_success": 2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, test.answer)
			err := newTestClient(t, Endpoint{URL: r.URL}).Write(t.Context(), sampleRecords()[:3])
			var partial *storage.PartialError
			require.ErrorAs(t, err, &partial)
			require.Equal(t, test.retry, partial.Retry)
			require.Equal(t, test.after, partial.RetryAfter)
			require.Equal(t, test.refused, partial.Refused)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestTooLarge(t *testing.T) {
	r := newReceiver(t, status(413))
	err := newTestClient(t, Endpoint{URL: r.URL}).Write(t.Context(), sampleRecords())
	require.ErrorIs(t, err, storage.ErrTooLarge)
	var partial *storage.PartialError
	require.NotErrorAs(t, err, &partial)
}

func TestCodingsAreTried(t *testing.T) {
	knows := func(coding string, refusal int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Content-Encoding") != coding {
				w.WriteHeader(refusal)
			}
		}
	}
	for _, refusal := range []int{415, 400} {
		r := newReceiver(t, knows("gzip", refusal))
		c := newTestClient(t, Endpoint{URL: r.URL})
		require.NoError(t, c.Write(t.Context(), sampleRecords()))
		requireSame(t, sampleRecords(), r.records)
		require.Len(t, r.requests, 3)
		require.NoError(t, c.Write(t.Context(), sampleRecords()))
		require.Len(t, r.requests, 4) // it is remembered
	}
	// A receiver that has read a body means the records when it says 400.
	r := newReceiver(t, nil)
	c := newTestClient(t, Endpoint{URL: r.URL})
	require.NoError(t, c.Write(t.Context(), sampleRecords()))
	r.mu.Lock()
	r.answer = status(400)
	r.mu.Unlock()
	require.Error(t, c.Write(t.Context(), sampleRecords()))
	require.Len(t, r.requests, 2)
	// One that says so of every coding does not leave us with the worst.
	r = newReceiver(t, status(400))
	c = newTestClient(t, Endpoint{URL: r.URL})
	require.Error(t, c.Write(t.Context(), sampleRecords()))
	require.Error(t, c.Write(t.Context(), sampleRecords()))
	require.Equal(t, "snappy", r.requests[3].Header.Get("Content-Encoding"))
}

func TestNetworkTrouble(t *testing.T) {
	cut := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	release := make(chan struct{})
	hang := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	for _, test := range []struct {
		options Endpoint
		reason  string
	}{
		{Endpoint{URL: cut.URL}, "network"},
		{Endpoint{URL: hang.URL, Timeout: 20 * time.Millisecond}, "timeout"},
		{Endpoint{URL: "http://127.0.0.1:1/?token=hunter2"}, "network"},
	} {
		err := newTestClient(t, test.options).Write(t.Context(), sampleRecords()[:1])
		var named interface{ Reason() string }
		require.ErrorAs(t, err, &named)
		require.Equal(t, test.reason, named.Reason())
		require.NotContains(t, err.Error(), "hunter2")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, newTestClient(t, Endpoint{URL: hang.URL}).Write(ctx, sampleRecords()[:1]), context.Canceled)
}

func TestClientOptions(t *testing.T) {
	for want, url := range map[string]string{
		"should look like https://server:7070": "server:7070",
		"must not hold a user":                 "https://joe:hunter2@host",
		"cannot be parsed":                     "http://hunter2:%zz",
	} {
		_, err := NewClient(ClientOptions{Endpoint{URL: url}})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
