package scrape

import (
	"context"
	"encoding/pem"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Upstream does not wait for discovery by file to close its inotify, for
		// which a busy kernel takes its time.
		goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/discovery/file.(*Discovery).stop"),
		goleak.IgnoreAnyFunction("github.com/prometheus/prometheus/discovery/file.(*Discovery).stop.func1"),
	)
}

// sample is what a sink keeps of one append.
type sample struct {
	v         float64
	h         *histogram.Histogram
	exemplars []exemplar.Exemplar
	help      string
	typ       model.MetricType
}

// sink keeps committed samples by series.
type sink struct {
	mu      sync.Mutex
	samples map[string][]sample
}

func (s *sink) AppenderV2(context.Context) storage.AppenderV2 {
	return &sinkAppender{sink: s, pending: map[string][]sample{}}
}

// last returns the newest sample of the one series of a metric, if any.
func (s *sink) last(metric string) (sample, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for series, list := range s.samples {
		if strings.HasPrefix(series, metric+"{") {
			return list[len(list)-1], true
		}
	}
	return sample{}, false
}

type sinkAppender struct {
	sink    *sink
	pending map[string][]sample
}

func (a *sinkAppender) Append(_ storage.SeriesRef, ls labels.Labels, _, _ int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	smp := sample{v: v, help: o.Metadata.Help, typ: o.Metadata.Type}
	if h != nil {
		smp.h = h.Copy()
	}
	for _, e := range o.Exemplars {
		e.Labels = e.Labels.Copy()
		smp.exemplars = append(smp.exemplars, e)
	}
	key := ls.Get(model.MetricNameLabel) + ls.DropReserved(func(name string) bool { return name == model.MetricNameLabel }).String()
	a.pending[key] = append(a.pending[key], smp)
	return 1, nil
}

func (a *sinkAppender) Commit() error {
	a.sink.mu.Lock()
	defer a.sink.mu.Unlock()
	for k, list := range a.pending {
		a.sink.samples[k] = append(a.sink.samples[k], list...)
	}
	return nil
}

func (a *sinkAppender) Rollback() error { return nil }

// start runs a Manager with the configuration and ends it with the test.
func start(t *testing.T, content string) (*Manager, *sink, string) {
	t.Helper()
	s := &sink{samples: map[string][]sample{}}
	m, err := New(Options{Appendable: s, reloadInterval: 20 * time.Millisecond})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, m.ApplyConfig(load(t, file, content)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return m, s, file
}

func load(t *testing.T, file, content string) *config.Config {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	cfg, err := LoadConfig(file, nil)
	require.NoError(t, err)
	return cfg
}

// target serves a counter with an exemplar and a native histogram.
func target(t *testing.T) *httptest.Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "app_requests_total", Help: "Requests served."})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "app_latency_seconds", Help: "Latency.", NativeHistogramBucketFactor: 1.1})
	reg.MustRegister(c, h)
	c.(prometheus.ExemplarAdder).AddWithExemplar(3, prometheus.Labels{"trace_id": "abc"})
	h.Observe(0.25)
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(srv.Close)
	return srv
}

func address(srv *httptest.Server) string { return strings.TrimPrefix(srv.URL, "http://") }

const limit = 20 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, limit, 10*time.Millisecond, what)
}

func TestScrapeStaticTarget(t *testing.T) {
	t.Parallel()
	m, s, _ := start(t, fmt.Sprintf(`
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: app
  scrape_native_histograms: true
  static_configs: [{targets: [%q], labels: {team: a}}]
`, address(target(t))))

	eventually(t, "the counter arrives", func() bool {
		_, ok := s.last("app_requests_total")
		return ok
	})
	got, _ := s.last("app_requests_total")
	require.InDelta(t, 3, got.v, 0)
	require.Equal(t, "Requests served.", got.help)
	require.Equal(t, model.MetricTypeCounter, got.typ)
	require.Len(t, got.exemplars, 1)
	require.Equal(t, "abc", got.exemplars[0].Labels.Get("trace_id"))

	got, ok := s.last("app_latency_seconds")
	require.True(t, ok, "the native histogram is there")
	require.NotNil(t, got.h)
	require.Equal(t, uint64(1), got.h.Count)

	eventually(t, "the target is known", func() bool {
		targets := m.Targets().TargetsActive()["app"]
		return len(targets) == 1 && targets[0].Health() == "up"
	})
}

func TestScrapeMarksSeriesStaleWhenTargetGoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "targets.json")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`[{"targets":[%q]}]`, address(target(t)))), 0o600))
	_, s, _ := start(t, fmt.Sprintf(`
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: app
  file_sd_configs: [{files: [%q]}]
`, file))
	eventually(t, "the counter arrives", func() bool {
		_, ok := s.last("app_requests_total")
		return ok
	})
	// The file is replaced as an editor does it.
	require.NoError(t, os.WriteFile(file+".new", []byte(`[]`), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
	eventually(t, "the series ends with a staleness marker", func() bool {
		got, _ := s.last("app_requests_total")
		return value.IsStaleNaN(got.v)
	})
}

func TestScrapeHonoursSampleLimit(t *testing.T) {
	t.Parallel()
	m, s, _ := start(t, fmt.Sprintf(`
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: app
  sample_limit: 1
  static_configs: [{targets: [%q]}]
`, address(target(t))))
	eventually(t, "the scrape fails", func() bool {
		targets := m.Targets().TargetsActive()["app"]
		return len(targets) == 1 && targets[0].LastError() != nil
	})
	require.ErrorContains(t, m.Targets().TargetsActive()["app"][0].LastError(), "sample limit exceeded")
	eventually(t, "up is 0", func() bool {
		up, ok := s.last("up")
		return ok && up.v == 0
	})
	if got, ok := s.last("app_requests_total"); ok {
		require.True(t, math.IsNaN(got.v), "no sample of a refused scrape is kept")
	}
}

func TestApplyConfigWhileRunning(t *testing.T) {
	t.Parallel()
	const content = `
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: %s
  static_configs: [{targets: [%q]}]
`
	addr := address(target(t))
	m, _, file := start(t, fmt.Sprintf(content, "before", addr))
	eventually(t, "the first job is scraped", func() bool { return len(m.Targets().TargetsActive()["before"]) == 1 })

	require.NoError(t, m.ApplyConfig(load(t, file, fmt.Sprintf(content, "after", addr))))
	eventually(t, "the second job replaces it", func() bool {
		active := m.Targets().TargetsActive()
		return len(active["after"]) == 1 && len(active["before"]) == 0
	})
}

func TestApplyConfigKeepsOldOneOnFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	cert := httptest.NewTLSServer(nil)
	defer cert.Close()
	require.NoError(t, os.WriteFile(ca, certificatePEM(cert), 0o600))
	const content = `
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: app
  tls_config: {ca_file: %s}
  static_configs: [{targets: [%q], labels: {version: %q}}]
`
	addr := address(target(t))
	m, _, file := start(t, fmt.Sprintf(content, ca, addr, "old"))
	eventually(t, "the job is scraped", func() bool { return len(m.Targets().TargetsActive()["app"]) == 1 })

	other := filepath.Join(dir, "other.pem")
	require.NoError(t, os.WriteFile(other, certificatePEM(cert), 0o600))
	cfg := load(t, file, fmt.Sprintf(content, other, addr, "new"))
	// The certificate goes between reading the configuration and applying it.
	require.NoError(t, os.Remove(other))
	require.Error(t, m.ApplyConfig(cfg))

	sc, err := m.Targets().ScrapePoolConfig("app")
	require.NoError(t, err)
	require.Equal(t, ca, sc.HTTPClientConfig.TLSConfig.CAFile)
	require.Equal(t, "old", m.Targets().TargetsActive()["app"][0].DiscoveredLabels(labels.NewBuilder(labels.EmptyLabels())).Get("version"))
}

func TestNewNeedsAppendable(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "Appendable")
}

func TestNewReportsClashingMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := &sink{}
	_, err := New(Options{Appendable: s, Registerer: reg})
	require.NoError(t, err)
	_, err = New(Options{Appendable: s, Registerer: reg})
	require.Error(t, err)
}

// certificatePEM is the certificate of a test server as a ca_file holds it.
func certificatePEM(srv *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}
