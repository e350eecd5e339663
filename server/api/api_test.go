package api

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/teststorage"
	v1 "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// epoch is the time that golden answers are about.
var epoch = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// admin is the store's administration in tests.
type admin struct{ store *teststorage.TestStorage }

func (a admin) CleanTombstones() error { return a.store.CleanTombstones() }
func (a admin) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return a.store.Delete(ctx, mint, maxt, ms...)
}
func (a admin) Snapshot(dir string, withHead bool) error { return a.store.Snapshot(dir, withHead) }
func (a admin) Stats(by string, limit int) (*tsdb.Stats, error) {
	return a.store.Head().Stats(by, limit), nil
}

func (a admin) WALReplayStatus() (tsdb.WALReplayStatus, error) { return tsdb.WALReplayStatus{}, nil }
func (a admin) BlockMetas() ([]tsdb.BlockMeta, error)          { return []tsdb.BlockMeta{}, nil }

// families is Metadata in tests.
type families map[string]metadata.Metadata

func (f families) Metadata() map[string]metadata.Metadata { return f }
func (f families) FamilyMetadata(name string) (metadata.Metadata, bool) {
	m, ok := f[name]
	return m, ok
}

// fixture is an API over a store with some series.
type fixture struct {
	*API

	store *teststorage.TestStorage
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	store := teststorage.New(t)
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1000, Timeout: 10 * time.Second, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
	})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	o := Options{
		Engine: engine, Storage: store, Exemplars: store, Admin: admin{store},
		Metadata: families{"http_requests_total": {Type: "counter", Help: "Requests.", Unit: "requests"}},
		Config: func() config.Config {
			cfg := config.DefaultConfig
			cfg.GlobalConfig.ExternalLabels = labels.FromStrings("cluster", "c1")
			return cfg
		},
		RuntimeInfo: func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{Hostname: "host"}, nil },
		BuildInfo:   v1.PrometheusVersion{Version: "1.2.3"},
		Flags:       map[string]string{"data-dir": "./data"},
		DataDir:     t.TempDir(),
		Lookback:    5 * time.Minute, QueryTimeout: 10 * time.Second, QueryConcurrency: 4,
	}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	require.NoError(t, err)
	a.federate.now = func() time.Time { return epoch.Add(time.Minute) }
	return &fixture{a, store}
}

// fill stores two counters with an exemplar and a native histogram.
func (f *fixture) fill(t *testing.T) {
	t.Helper()
	app := f.store.Appender(context.Background())
	for i := range 2 {
		ts := epoch.Add(time.Duration(i) * time.Minute).UnixMilli()
		for _, pod := range []string{"a", "b"} {
			_, err := app.Append(0, labels.FromStrings("__name__", "http_requests_total", "pod", pod), ts, float64(10*i))
			require.NoError(t, err)
		}
		_, err := app.AppendHistogram(0, labels.FromStrings("__name__", "latency_seconds", "pod", "a"), ts, tsdbutil.GenerateTestHistogram(int64(i)), nil)
		require.NoError(t, err)
	}
	_, err := app.AppendExemplar(0, labels.FromStrings("__name__", "http_requests_total", "pod", "a"), exemplar.Exemplar{
		Labels: labels.FromStrings("trace_id", "abc"), Value: 10, Ts: epoch.UnixMilli(), HasTs: true,
	})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
}

func (f *fixture) do(method, path, contentType, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	return rec
}

// metric returns the value of a counter whose labels have the given values.
func (f *fixture) metric(t *testing.T, name string, values ...string) float64 {
	t.Helper()
	families, err := f.opts.Registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var got []string
			for _, pair := range m.GetLabel() {
				got = append(got, pair.GetValue())
			}
			if family.GetName() == name && slices.Equal(got, values) {
				return m.GetCounter().GetValue()
			}
		}
	}
	require.Fail(t, "no such counter", "%s %v", name, values)
	return 0
}

const (
	formType  = "application/x-www-form-urlencoded"
	protoType = "application/x-protobuf"
)

func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	const span = "start=2026-01-02T03:00:00Z&end=2026-01-02T03:01:00Z"
	for _, tc := range []struct{ name, method, path, body string }{
		{"query", "GET", "/api/v1/query?query=http_requests_total&time=2026-01-02T03:01:00Z", ""},
		{"query_post", "POST", "/api/v1/query", "query=sum(http_requests_total)&time=2026-01-02T03:01:00Z"},
		{"query_histogram", "GET", "/api/v1/query?query=latency_seconds&time=2026-01-02T03:01:00Z", ""},
		{"query_range", "GET", "/api/v1/query_range?query=http_requests_total&step=60&" + span, ""},
		{"query_exemplars", "GET", "/api/v1/query_exemplars?query=http_requests_total&" + span, ""},
		{"series", "GET", "/api/v1/series?match[]=http_requests_total&" + span, ""},
		{"labels", "GET", "/api/v1/labels?" + span, ""},
		{"label_values", "GET", "/api/v1/label/pod/values?" + span, ""},
		{"metadata", "GET", "/api/v1/metadata", ""},
		{"metadata_metric", "GET", "/api/v1/metadata?metric=http_requests_total", ""},
		{"targets_metadata", "GET", "/api/v1/targets/metadata", ""},
		{"targets", "GET", "/api/v1/targets", ""},
		{"scrape_pools", "GET", "/api/v1/scrape_pools", ""},
		{"rules", "GET", "/api/v1/rules", ""},
		{"alerts", "GET", "/api/v1/alerts", ""},
		{"alertmanagers", "GET", "/api/v1/alertmanagers", ""},
		{"status_flags", "GET", "/api/v1/status/flags", ""},
		{"status_buildinfo", "GET", "/api/v1/status/buildinfo", ""},
		{"status_blocks", "GET", "/api/v1/status/tsdb/blocks", ""},
		{"status_walreplay", "GET", "/api/v1/status/walreplay", ""},
		{"format_query", "GET", "/api/v1/format_query?query=sum+by(a)(rate(b[5m]))", ""},
		{"parse_query", "GET", "/api/v1/parse_query?query=up", ""},
		{"notifications", "GET", "/api/v1/notifications", ""},
		{"federate", "GET", "/federate?match[]=http_requests_total", ""},
		{"admin_disabled", "POST", "/api/v1/admin/tsdb/delete_series?match[]=up", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			contentType := ""
			if tc.body != "" {
				contentType = formType
			}
			rec := f.do(tc.method, tc.path, contentType, tc.body)
			got := append([]byte(tc.method+" "+tc.path+" "+tc.body+"\n"+http.StatusText(rec.Code)+"\n"), rec.Body.Bytes()...)
			file := filepath.Join("testdata", tc.name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, got, 0o600))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err, "run go test -update to write golden files")
			require.Equal(t, string(want), string(got))
		})
	}
}

func TestEndpointsThatVaryAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	for path, want := range map[string]string{
		"/api/v1/status/config":       "cluster: c1",
		"/api/v1/status/runtimeinfo":  `"hostname":"host"`,
		"/api/v1/features":            `"status":"success"`,
		"/api/v1/status/tsdb":         `"numSeries":0`,
		"/api/v1/status/self_metrics": `binnacle_http_rejected_total`,
	} {
		rec := f.do(http.MethodGet, path, "", "")
		require.Equal(t, http.StatusOK, rec.Code, path)
		require.Contains(t, rec.Body.String(), want, path)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	for _, tc := range []struct {
		name, method, path, contentType, body string
		code                                  int
		errorType, want                       string
	}{
		{"no query", "GET", "/api/v1/query", "", "", 400, "bad_data", "no expression found"},
		{"broken query", "GET", "/api/v1/query?query=sum(", "", "", 400, "bad_data", "parse error"},
		{"broken time", "GET", "/api/v1/query?query=up&time=noon", "", "", 400, "bad_data", `cannot parse \"noon\"`},
		{"too many points", "GET", "/api/v1/query_range?query=up&start=0&end=1000000&step=1", "", "", 400, "bad_data", "exceeded maximum resolution of 11,000 points"},
		{"end before start", "GET", "/api/v1/query_range?query=up&start=2&end=1&step=1", "", "", 400, "bad_data", "end timestamp must not be before start time"},
		{"too many samples", "GET", "/api/v1/query_range?query=http_requests_total&start=1767322800&end=1767323100&step=0.1", "", "", 422, "execution", "would load too many samples"},
		{"series without match", "GET", "/api/v1/series", "", "", 400, "bad_data", "no match[] parameter"},
		{"broken match", "GET", "/api/v1/labels?match[]={", "", "", 400, "bad_data", "parse error"},
		{"empty label name", "GET", "/api/v1/label/%FF/values", "", "", 400, "bad_data", "invalid label name"},
		{"large form", "POST", "/api/v1/query", formType, "query=" + strings.Repeat("a", 4<<20), 413, "bad_data", "larger than 4194304 bytes"},
		{"broken form", "POST", "/api/v1/query", formType, "query=%zz", 400, "bad_data", `invalid URL escape`},
		{"broken multipart", "POST", "/api/v1/query", "multipart/form-data", "x", 400, "bad_data", "no multipart boundary"},
		{"snapshot while disabled", "POST", "/api/v1/admin/tsdb/snapshot", "", "", 500, "unavailable", "admin APIs disabled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := f.do(tc.method, tc.path, tc.contentType, tc.body)
			require.Equal(t, tc.code, rec.Code, rec.Body.String())
			require.Contains(t, rec.Body.String(), `"errorType":"`+tc.errorType+`"`)
			require.Contains(t, rec.Body.String(), tc.want)
		})
	}
}

// slowStore answers only when the request's time is over.
type slowStore struct{ storage.Storage }

func (s slowStore) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.Storage.Querier(mint, maxt)
	return slowQuerier{q}, err
}

type slowQuerier struct{ storage.Querier }

func (slowQuerier) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	<-ctx.Done()
	return storage.ErrSeriesSet(ctx.Err())
}

func TestReadsEndInTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) {
		o.Storage = slowStore{o.Storage}
		o.QueryTimeout = 20 * time.Millisecond
	})
	for path, code := range map[string]int{
		"/api/v1/query?query=up":    http.StatusServiceUnavailable,
		"/api/v1/series?match[]=up": http.StatusUnprocessableEntity,
		"/federate?match[]=up":      http.StatusInternalServerError,
	} {
		rec := f.do(http.MethodGet, path, "", "")
		require.Equal(t, code, rec.Code, path)
		require.Regexp(t, "timed out|deadline exceeded", rec.Body.String(), path)
	}
}

func TestMultipartFormIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	rec := f.do(http.MethodPost, "/api/v1/query", "multipart/form-data; boundary=x",
		"--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n1+1\r\n--x--\r\n")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), `"2"`)
}

func TestAdminDeletesWhenEnabled(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.EnableAdmin = true })
	f.fill(t)
	const count = "/api/v1/query?query=count(http_requests_total)&time=2026-01-02T03:01:00Z"
	require.Contains(t, f.do(http.MethodGet, count, "", "").Body.String(), `"2"`)
	rec := f.do(http.MethodPost, "/api/v1/admin/tsdb/delete_series?match[]=http_requests_total", "", "")
	require.Equal(t, http.StatusNoContent, rec.Code)
	require.Contains(t, f.do(http.MethodGet, count, "", "").Body.String(), `"result":[]`)
}

// panicking is an engine with a fault.
type panicking struct{ promql.QueryEngine }

func (panicking) NewInstantQuery(context.Context, storage.Queryable, promql.QueryOpts, string, time.Time) (promql.Query, error) {
	panic("fault")
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.Engine = panicking{o.Engine} })
	rec := f.do(http.MethodGet, "/api/v1/query?query=up", "", "")
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.JSONEq(t, `{"status":"error","errorType":"internal","error":"internal error: fault"}`, rec.Body.String())
	require.InDelta(t, 1, f.metric(t, "binnacle_http_panics_total"), 0)
	require.Equal(t, http.StatusOK, f.do(http.MethodGet, "/api/v1/labels", "", "").Code, "the next request is answered")
}

func TestPanicWithinAnswerCutsConnection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv := httptest.NewServer(f.metrics.Recovered(f.opts.Logger, writeInternal, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic("fault")
	}))
	defer srv.Close()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL, nil)
	require.NoError(t, err)
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestNoCrossOriginReading(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/api/v1/query?query=1", nil)
	req.Header.Set("Origin", "https://elsewhere.example")
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Empty(t, rec.Header().Get("Access-Control-Allow-Origin"))
}

func TestNewRefusesIncompleteOptions(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "Engine")
	f := newFixture(t, nil)
	o := f.opts
	o.QueryConcurrency = 0
	_, err = New(o)
	require.ErrorContains(t, err, "QueryConcurrency")
}

// post sends a body of a given length without its being in memory.
func (f *fixture) post(path, contentType string, header map[string]string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	return rec
}
