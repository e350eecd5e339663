package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/guard"
	binnacle "github.com/binnacle-obs/binnacle/storage"
)

func packed(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return snappy.Encode(nil, b)
}

func v1Request(t *testing.T, ts time.Time, v float64) []byte {
	t.Helper()
	return packed(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		{
			Labels:    []prompb.Label{{Name: "__name__", Value: "sent_total"}, {Name: "pod", Value: "a"}},
			Samples:   []prompb.Sample{{Timestamp: ts.UnixMilli(), Value: v}},
			Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: v, Timestamp: ts.UnixMilli()}},
		},
		{
			Labels:     []prompb.Label{{Name: "__name__", Value: "sent_seconds"}, {Name: "pod", Value: "a"}},
			Histograms: []prompb.Histogram{prompb.FromIntHistogram(ts.UnixMilli(), tsdbutil.GenerateTestHistogram(1))},
		},
	}})
}

func v2Request(t *testing.T, ts time.Time, v float64) []byte {
	t.Helper()
	st := writev2.NewSymbolTable()
	counter := st.SymbolizeLabels(labels.FromStrings("__name__", "sent_total", "pod", "a"), nil)
	hist := st.SymbolizeLabels(labels.FromStrings("__name__", "sent_seconds", "pod", "a"), nil)
	trace := st.SymbolizeLabels(labels.FromStrings("trace_id", "abc"), nil)
	help := st.Symbolize("Sent.")
	return packed(t, &writev2.Request{Symbols: st.Symbols(), Timeseries: []writev2.TimeSeries{
		{
			LabelsRefs: counter,
			Samples:    []writev2.Sample{{Timestamp: ts.UnixMilli(), Value: v}},
			Exemplars:  []writev2.Exemplar{{LabelsRefs: trace, Value: v, Timestamp: ts.UnixMilli()}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: help},
		},
		{
			LabelsRefs: hist,
			Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, ts.UnixMilli(), tsdbutil.GenerateTestHistogram(1))},
		},
	}})
}

// writeClient is upstream's sender of the given version.
func writeClient(t *testing.T, base string, msg remoteapi.WriteMessageType) remote.WriteClient {
	t.Helper()
	u, err := url.Parse(base + "/api/v1/write")
	require.NoError(t, err)
	c, err := remote.NewWriteClient("test", &remote.ClientConfig{
		URL: &commonconfig.URL{URL: u}, Timeout: model.Duration(20 * time.Second), WriteProtoMsg: msg,
		// Keep-alive connections would outlive the test.
		HTTPClientConfig: commonconfig.HTTPClientConfig{},
	})
	require.NoError(t, err)
	return c
}

func TestRemoteWriteRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		msg     remoteapi.WriteMessageType
		request func(*testing.T, time.Time, float64) []byte
	}{
		{remoteapi.WriteV1MessageType, v1Request},
		{remoteapi.WriteV2MessageType, v2Request},
	} {
		t.Run(string(tc.msg), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			srv := httptest.NewServer(f)
			defer srv.Close()
			c := writeClient(t, srv.URL, tc.msg)
			now := time.Now()
			stats, err := c.Store(context.Background(), tc.request(t, now, 7), 0)
			require.NoError(t, err)
			if tc.msg == remoteapi.WriteV2MessageType {
				require.Equal(t, 1, stats.Samples)
				require.Equal(t, 1, stats.Histograms)
				require.Equal(t, 1, stats.Exemplars)
			}
			require.Contains(t, f.do(http.MethodGet, "/api/v1/query?query=sent_total", "", "").Body.String(), `"7"`)
			require.Contains(t, f.do(http.MethodGet, "/api/v1/query?query=sent_seconds", "", "").Body.String(), `"histogram"`)
			path := fmt.Sprintf("/api/v1/query_exemplars?query=sent_total&start=%d&end=%d", now.Unix()-60, now.Unix()+60)
			require.Contains(t, f.do(http.MethodGet, path, "", "").Body.String(), `"trace_id":"abc"`)

			_, err = c.Store(context.Background(), tc.request(t, now.Add(-time.Minute), 6), 0)
			require.ErrorContains(t, err, "400", "out of order is refused for good")
			var again remote.RecoverableError
			require.NotErrorAs(t, err, &again)
		})
	}
}

func TestRemoteReadRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	u, err := url.Parse(srv.URL + "/api/v1/read")
	require.NoError(t, err)
	for _, typ := range []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS} {
		c, err := remote.NewReadClient("test", &remote.ClientConfig{
			URL: &commonconfig.URL{URL: u}, Timeout: model.Duration(20 * time.Second), ChunkedReadLimit: 1 << 20,
			AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{typ},
		})
		require.NoError(t, err)
		q, err := remote.ToQuery(epoch.UnixMilli(), epoch.Add(time.Minute).UnixMilli(),
			[]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "http_requests_total")}, nil)
		require.NoError(t, err)
		set, err := c.Read(context.Background(), q, true)
		require.NoError(t, err)
		n := 0
		for set.Next() {
			n++
			require.Equal(t, "c1", set.At().Labels().Get("cluster"), "external labels are set")
			it := set.At().Iterator(nil)
			for it.Next() != 0 { // the body is read to its end
			}
		}
		require.NoError(t, set.Err())
		require.Equal(t, 2, n, typ)
	}
}

func otlp(ts time.Time) string {
	return fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
"scopeMetrics":[{"metrics":[{"name":"orders","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,
"dataPoints":[{"asDouble":5,"timeUnixNano":"%d","startTimeUnixNano":"%d"}]}}]}]}]}`, ts.UnixNano(), ts.Add(-time.Minute).UnixNano())
}

func TestOTLPRoundTrip(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := io.WriteString(z, otlp(time.Now()))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, tc := range map[string]struct {
		header map[string]string
		body   []byte
	}{
		"plain": {nil, []byte(otlp(time.Now()))},
		"gzip":  {map[string]string{"Content-Encoding": "gzip"}, zipped.Bytes()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			rec := f.post("/api/v1/otlp/v1/metrics", "application/json", tc.header, tc.body)
			require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
			require.Contains(t, f.do(http.MethodGet, `/api/v1/query?query=orders_total{job="shop"}`, "", "").Body.String(), `"5"`)
		})
	}
}

// bomb is a small body that unpacks to a large one.
func bomb(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	good := v1Request(t, time.Now(), 1)
	const write, read, otlpPath = "/api/v1/write", "/api/v1/read", "/api/v1/otlp/v1/metrics"
	gzipped := map[string]string{"Content-Encoding": "gzip"}
	// The first bytes of a snappy block promise its size: here 4 GB.
	promise := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1}
	for _, tc := range []struct {
		name, path, contentType string
		header                  map[string]string
		body                    []byte
		code                    int
		want                    string
	}{
		{"empty", write, protoType, nil, nil, 400, "packed by snappy is needed: s2: corrupt input"},
		{"not snappy", write, protoType, nil, []byte("hello, world, this is text"), 400, "packed by snappy is needed: s2: corrupt input"},
		{"snappy cut off", write, protoType, nil, good[:len(good)/2], 400, "packed by snappy is needed: s2: corrupt input"},
		{"snappy of something else", write, protoType, nil, snappy.Encode(nil, []byte("hello")), 400, "protobuf message packed by snappy is needed: proto"},
		{"promises 4 GB", write, protoType, nil, promise, 413, "larger than 33554432 bytes"},
		{"unpacks to 33 MiB", write, protoType, nil, snappy.Encode(nil, make([]byte, 33<<20)), 413, "larger than 33554432 bytes"},
		{"100 MB", write, protoType, nil, make([]byte, 100<<20), 413, "larger than 33554432 bytes"},
		{"other encoding", write, protoType, gzipped, good, 415, "only snappy is acceptable"},
		{"other type", write, "application/json", nil, good, 415, "application/json"},
		{"unknown message", write, protoType + ";proto=prometheus.Other", nil, good, 415, "prometheus.Other"},
		{"read promises 4 GB", read, protoType, nil, promise, 413, "larger than 33554432 bytes"},
		{"read not snappy", read, protoType, nil, []byte("hello, world, this is text"), 400, "snappy: corrupt input"},
		{"otlp not JSON", otlpPath, "application/json", nil, []byte("{"), 400, "OTLP message in protobuf or JSON is needed: ReadObject"},
		{"otlp other type", otlpPath, "text/plain", nil, []byte("{}"), 400, "unsupported content type"},
		{"otlp not gzip", otlpPath, protoType, gzipped, []byte("hello, world"), 400, "not gzip"},
		{"otlp gzip cut off", otlpPath, protoType, gzipped, bomb(t, 1000)[:20], 400, "cut off"},
		{"otlp bomb", otlpPath, protoType, gzipped, bomb(t, 40<<20), 413, "larger than 33554432 bytes"},
		{"otlp 100 MB", otlpPath, protoType, nil, make([]byte, 100<<20), 413, "larger than 33554432 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := f.post(tc.path, tc.contentType, tc.header, tc.body)
			require.Equal(t, tc.code, rec.Code, rec.Body.String())
			require.Contains(t, rec.Body.String(), tc.want)
		})
	}
	require.InDelta(t, 6, f.metric(t, "binnacle_http_rejected_total", guard.ReasonTooLarge), 0)
	require.Equal(t, http.StatusNoContent, f.post(write, protoType, nil, good).Code, "the next good one is stored")
}

// cutBody ends before it has delivered what its Content-Length promised.
func TestBodyCutOffByTheConnection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	good := v1Request(t, time.Now(), 1)
	req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/api/v1/write",
		io.MultiReader(bytes.NewReader(good[:10]), failing{}))
	req.ContentLength = int64(len(good))
	req.Header.Set("Content-Type", protoType)
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), fmt.Sprintf("cut off: it ends after 10 of %d bytes", len(good)))
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestLargeBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	for _, path := range []string{"/api/v1/write", "/api/v1/otlp/v1/metrics"} {
		// 10 bytes that promise little, and then no end.
		body := io.MultiReader(strings.NewReader("\x05hello"), io.LimitReader(zeros{}, 100<<20))
		req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, body)
		req.ContentLength = -1
		req.Header.Set("Content-Type", protoType)
		rec := httptest.NewRecorder()
		f.ServeHTTP(rec, req)
		require.Equal(t, http.StatusRequestEntityTooLarge, rec.Code, rec.Body.String())
		require.Contains(t, rec.Body.String(), "larger than")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLargeBodyOverTheWire shows that a sender sees the answer although most
// of its body is never read.
func TestLargeBodyOverTheWire(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv := httptest.NewServer(f)
	defer srv.Close()
	c := writeClient(t, srv.URL, remoteapi.WriteV1MessageType)
	_, err := c.Store(context.Background(), make([]byte, 100<<20), 0)
	require.ErrorContains(t, err, "413")
	require.ErrorContains(t, err, "larger than 33554432 bytes")
}

// fullStore refuses samples as a store on a full disk does.
type fullStore struct {
	storage.Storage
	onCommit bool
}

func (s fullStore) Appender(ctx context.Context) storage.Appender {
	return &fullAppender{Appender: s.Storage.Appender(ctx), onCommit: s.onCommit}
}

func (s fullStore) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &fullAppenderV2{s.Storage.AppenderV2(ctx)}
}

var errFull = fmt.Errorf("write the log: %w", binnacle.ErrFull)

type fullAppender struct {
	storage.Appender
	onCommit bool
}

func (a *fullAppender) Append(ref storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	if a.onCommit {
		return a.Appender.Append(ref, l, t, v)
	}
	return 0, errFull
}

func (a *fullAppender) Commit() error {
	_ = a.Rollback()
	return errFull
}

type fullAppenderV2 struct{ storage.AppenderV2 }

func (a *fullAppenderV2) Commit() error {
	_ = a.Rollback()
	return errFull
}

// TestFailedCommitIsNotSuccess guards against upstream's OTLP handler, which
// answers 200 when the commit fails.
func TestFailedCommitIsNotSuccess(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.Storage = brokenStore{o.Storage} })
	rec := f.post("/api/v1/otlp/v1/metrics", "application/json", nil, []byte(otlp(time.Now())))
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.Equal(t, "write the log: broken\n", rec.Body.String())
}

type brokenStore struct{ storage.Storage }

func (s brokenStore) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &brokenAppender{s.Storage.AppenderV2(ctx)}
}

type brokenAppender struct{ storage.AppenderV2 }

func (a *brokenAppender) Commit() error {
	_ = a.Rollback()
	return errors.New("write the log: broken")
}

func TestFullStoreAsksSendersToComeBack(t *testing.T) {
	t.Parallel()
	for _, onCommit := range []bool{false, true} {
		f := newFixture(t, func(o *Options) { o.Storage = fullStore{o.Storage, onCommit} })
		for name, rec := range map[string]*httptest.ResponseRecorder{
			"1.0":  f.post("/api/v1/write", protoType, nil, v1Request(t, time.Now(), 1)),
			"2.0":  f.post("/api/v1/write", protoType+";proto=io.prometheus.write.v2.Request", nil, v2Request(t, time.Now(), 1)),
			"otlp": f.post("/api/v1/otlp/v1/metrics", "application/json", nil, []byte(otlp(time.Now()))),
		} {
			require.Equal(t, http.StatusServiceUnavailable, rec.Code, name)
			require.Equal(t, retryAfter, rec.Header().Get("Retry-After"), name)
			require.Contains(t, rec.Body.String(), binnacle.ErrFull.Error(), name)
		}
		require.InDelta(t, 3, f.metric(t, "binnacle_http_rejected_total", guard.ReasonFull), 0)
	}
}
