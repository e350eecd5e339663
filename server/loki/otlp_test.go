package loki

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/endpoint"
	"github.com/binnacle-obs/binnacle/storage/otlp"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func otlpBody() []byte {
	s := &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", "cart-1")}
	return otlp.Encode(nil, []storage.Record{
		{Stream: s, Time: 5, Source: storage.SourceID{1}, Offset: 7, Line: []byte("hello"), Level: storage.LevelInfo},
		{Stream: s, Time: 6, Source: storage.SourceID{1}, Offset: 14, Line: []byte("again")},
	})
}

func TestOTLPForms(t *testing.T) {
	t.Parallel()
	jsonBody := `{"resourceLogs":[{"resource":{"attributes":[{"key":"app","value":{"stringValue":"x"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","severityNumber":9,"body":{"stringValue":"hello"}}]}]}]}`
	for _, encoding := range []string{"", "gzip", "zstd", "snappy", "deflate"} {
		t.Run("protobuf "+encoding, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			body := string(pack(t, encoding, otlpBody()))
			for range 2 {
				rec := f.do(http.MethodPost, otlp.Path, body, "Content-Type: application/x-protobuf", "Content-Encoding: "+encoding)
				require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
				require.Equal(t, "application/x-protobuf", rec.Header().Get("Content-Type"))
				require.Empty(t, rec.Body.String())
			}
			require.Equal(t, []string{`5 {namespace="shop", pod="cart-1"} hello info {} 0`, `6 {namespace="shop", pod="cart-1"} again  {} 0`}, f.records(t),
				"a batch that is sent twice is stored once")
		})
	}
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, nil)
		rec := f.do(http.MethodPost, otlp.Path, jsonBody, jsonHeader)
		require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
		require.Equal(t, "{}", rec.Body.String())
		require.Equal(t, []string{`5 {app="x"} hello info {} 0`}, f.records(t))
	})
}

func TestOTLPAnswers(t *testing.T) {
	t.Parallel()
	refused := &storage.PartialError{Refused: map[string]int{storage.ReasonTooOld: 1}, First: errors.New("timestamp too old")}
	for _, tc := range []struct {
		name, agent, contentType string
		err                      error
		code                     int
		body                     string
	}{
		{"full for our agent", "binnacle/1.0", "application/x-protobuf", storage.ErrFull, 507, "no room"},
		{"full for others", "OpenTelemetry Collector", "application/x-protobuf", storage.ErrFull, 503, "no room"},
		{"fault", "", "application/json", errors.New("fire"), 500, `{"message":"not stored: fire"}`},
		{"refused json", "", "application/json", refused, 200, `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"log records not stored (1 refused as too_old), first: timestamp too old"}}`},
		{"refused", "", "application/x-protobuf", refused, 200, "timestamp too old"},
		{"type", "", "text/plain", nil, 415, "Content-Type must be"},
		{"broken", "", "application/x-protobuf", nil, 400, "not a request of OTLP logs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := &scriptedStore{Memory: storagetest.NewMemory()}
			if tc.err != nil {
				store.script = failing(tc.err)
			}
			f := newFixture(t, func(o *Options) { o.Store = store })
			body := string(otlpBody())
			if tc.contentType == "application/json" {
				body = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}`
			}
			if tc.name == "broken" {
				body = "\x0f"
			}
			rec := f.do(http.MethodPost, otlp.Path, body, "Content-Type: "+tc.contentType, "User-Agent: "+tc.agent)
			require.Equal(t, tc.code, rec.Code, rec.Body.String())
			require.Contains(t, rec.Body.String(), tc.body)
			if tc.code == http.StatusServiceUnavailable {
				require.Equal(t, retryAfter, rec.Header().Get("Retry-After"))
			}
		})
	}
}

// TestAgentsClient sends by the client that agents use.
func TestAgentsClient(t *testing.T) {
	t.Parallel()
	s := &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", "cart-1", "container", "app", "restart", "3", "stream", "stderr")}
	batch := make([]storage.Record, 100)
	for i := range batch {
		batch[i] = storage.Record{
			Stream: s, Time: epoch.UnixNano() + int64(i), Source: storage.SourceID{7}, Offset: int64(10 * i),
			Line: fmt.Appendf(nil, "line %d", i), Level: storage.LevelWarn, Flags: storage.FlagJoined,
		}
	}
	store := &scriptedStore{Memory: storagetest.NewMemory()}
	f := newFixture(t, func(o *Options) { o.Store, o.MaxEntriesPerPush = store, 100 })
	f.store = store.Memory
	srv := httptest.NewServer(f)
	defer srv.Close()
	client, err := otlp.NewClient(otlp.ClientOptions{Endpoint: endpoint.Options{URL: srv.URL}})
	require.NoError(t, err)
	defer client.Close()

	store.script = failing(fmt.Errorf("disk: %w", storage.ErrFull))
	err = client.Write(context.Background(), batch)
	require.ErrorIs(t, err, storage.ErrFull)
	var partial *storage.PartialError
	require.ErrorAs(t, err, &partial)
	require.Len(t, partial.Retry, 100)
	require.Equal(t, 5*time.Second, partial.RetryAfter)

	require.ErrorIs(t, client.Write(context.Background(), append(batch, batch[0])), storage.ErrTooLarge)

	for range 2 { // the second time as after an answer that was lost
		require.NoError(t, client.Write(context.Background(), batch))
	}
	stored := f.records(t)
	require.Len(t, stored, 100)
	require.Equal(t, fmt.Sprintf("%d %s line 42 warn {} %d", epoch.UnixNano()+42, s.Labels, storage.FlagJoined), stored[42])
}
