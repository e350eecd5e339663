package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		fmt.Fprintln(os.Stderr, serveForever(dir, os.Getenv(envRules)))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const limit = 30 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, limit, 20*time.Millisecond, what)
}

// running is a Server under test behind a real listener.
type running struct {
	*Server

	httpServer *httptest.Server
	stop       func() error
}

// start runs a Server until the test ends, or its stop is called.
func start(t *testing.T, o Options) *running {
	t.Helper()
	r := build(t, o)
	r.run(t)
	select {
	case <-r.Ready():
	case <-time.After(limit):
		t.Fatal("the server does not get ready")
	}
	return r
}

// build makes a Server and its listener without running it.
func build(t *testing.T, o Options) *running {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	s, err := New(o)
	require.NoError(t, err)
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return &running{Server: s, httpServer: srv}
}

func (r *running) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { require.NoError(t, r.stop()) })
}

// get returns status and body of a URL.
func get(t *testing.T, target string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	require.NoError(t, err)
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	req.Close = true // connections kept alive would look like leaks
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return get(t, r.httpServer.URL+path)
}

// sendSample writes one sample by remote write 1.0 and returns once it has
// been acknowledged.
func sendSample(t *testing.T, base, name string, v float64) {
	t.Helper()
	raw, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}},
		Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: v}},
	}}}).Marshal()
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, raw)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-protobuf")
	code, body := do(t, req)
	require.Equal(t, http.StatusNoContent, code, body)
}

// query asks for the present value of an expression.
func (r *running) query(t *testing.T, expr string) model.Vector {
	t.Helper()
	code, body := r.get(t, "/api/v1/query?query="+url.QueryEscape(expr))
	require.Equal(t, http.StatusOK, code, body)
	var a struct {
		Data struct {
			Result model.Vector `json:"result"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	return a.Data.Result
}

func series(help string, typ model.MetricType, pairs ...string) *storage.Series {
	ls := labels.FromStrings(pairs...)
	return &storage.Series{Labels: ls, Family: &storage.Family{Name: ls.Get(model.MetricNameLabel), Help: help, Type: typ}}
}

func TestServerFromStartToRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := build(t, Options{DataDir: dir})

	// Before Run: alive, not ready, and saying so.
	code, _ := r.get(t, "/-/healthy")
	require.Equal(t, http.StatusOK, code)
	code, body := r.get(t, "/-/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "The server is starting.")
	code, body = r.get(t, "/api/v1/query?query=1")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"status":"error","errorType":"unavailable","error":"The server is starting."}`, body)
	code, _ = r.get(t, "/api/v1/status/walreplay")
	require.Equal(t, http.StatusOK, code)

	// An appender that comes first waits.
	s := series("Bytes in use.", model.MetricTypeGauge, "__name__", "container_memory_usage_bytes", "pod", "a")
	appended := make(chan error, 1)
	go func() {
		appended <- r.Appender().Append(context.Background(), []storage.Sample{{Series: s, T: time.Now().UnixMilli(), V: 42}})
	}()
	r.run(t)
	require.NoError(t, <-appended)
	code, _ = r.get(t, "/-/ready")
	require.Equal(t, http.StatusOK, code)
	require.Len(t, r.query(t, "container_memory_usage_bytes"), 1)
	code, body = r.get(t, "/api/v1/metadata?metric=container_memory_usage_bytes")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"success","data":{"container_memory_usage_bytes":[{"type":"gauge","help":"Bytes in use.","unit":""}]}}`, body)
	_, body = r.get(t, "/metrics")
	require.Contains(t, body, `binnacle_http_requests_total{code="200",handler="/api/v1/query"} 1`)
	require.NoError(t, r.stop())

	code, body = r.get(t, "/-/ready")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "stopping")
	require.ErrorIs(t, r.Appender().Append(context.Background(), []storage.Sample{{Series: s, V: 1}}), storage.ErrClosed)

	again := start(t, Options{DataDir: dir})
	require.Len(t, again.query(t, "container_memory_usage_bytes == 42"), 1)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"no data folder", Options{}, "data folder"},
		{"negative limit", Options{DataDir: dir, QueryTimeout: -1}, "negative"},
		{"external URL", Options{DataDir: dir, ExternalURL: "binnacle"}, `"binnacle"`},
		{"external label", Options{DataDir: dir, ExternalLabels: map[string]string{"": "x"}}, "external label"},
		{"Alertmanager", Options{DataDir: dir, Alertmanagers: []string{"alertmanager:9093"}}, "http://host:9093"},
		{"rules", Options{DataDir: dir, RuleGlobs: []string{write("r.yml", "groups:\n- name: a\n  rules:\n  - record: x\n    expr: '1 +'\n")}}, "r.yml: 5:"},
		{"scrape configuration", Options{DataDir: dir, ScrapeConfigFile: write("s.yml", "scrape_configs:\n- job_nam: a\n")}, "line 2"},
		{"no scrape configuration", Options{DataDir: dir, ScrapeConfigFile: filepath.Join(dir, "none.yml")}, "none.yml"},
		{"retention", Options{DataDir: dir, Retention: -1}, "retention"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.o)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
