package remote

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/scrape"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// entries reads all entries of the queue as upstream's requests.
func (f *fixture) entries(t *testing.T) []*writev2.Request {
	t.Helper()
	var out []*writev2.Request
	c := f.buffer.cursors[0]
	r := &reader{buffer: f.buffer, cursor: c}
	defer r.close()
	for {
		pos, limit, ok := f.buffer.locate(c)
		if !ok {
			return out
		}
		e, err := r.read(pos, limit)
		require.NoError(t, err)
		frame := append(make([]byte, frameHeaderSize), e.body...)
		putFrameHeader(frame, e.frameHeader)
		_, q := decodeFrame(t, frame)
		out = append(out, q)
		f.buffer.advance(c, pos, e.next)
	}
}

func TestAppenderV2(t *testing.T) {
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	ls := labels.FromStrings(model.MetricNameLabel, "requests_total", "code", "200")
	other := labels.FromStrings(model.MetricNameLabel, "latency")
	meta := metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests.", Unit: "requests"}
	x := []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "abc"), Value: 1, Ts: 9, HasTs: true}}

	app := f.AppendableV2().AppenderV2(t.Context())
	ref, err := app.Append(0, ls, 3, 10, 1, nil, nil, upstream.AppendV2Options{Metadata: meta, Exemplars: x})
	require.NoError(t, err)
	require.NotZero(t, ref)
	x[0] = exemplar.Exemplar{} // the slice belongs to the caller
	otherRef, err := app.Append(0, other, 0, 10, 0, testHistogram(1), nil, upstream.AppendV2Options{})
	require.NoError(t, err)
	require.NotEqual(t, ref, otherRef)
	again, err := app.Append(0, other, 0, 11, 0, nil, testFloatHistogram(2), upstream.AppendV2Options{})
	require.NoError(t, err)
	require.Equal(t, otherRef, again, "found by its labels")
	_, err = app.Append(0, labels.FromStrings("no", "name"), 0, 10, 1, nil, nil, upstream.AppendV2Options{})
	require.ErrorIs(t, err, errNoName)
	require.NoError(t, app.Commit())

	// A wrong reference does not matter, nor does a rollback.
	app = f.AppendableV2().AppenderV2(t.Context())
	_, err = app.Append(ref, other, 0, 12, math.Float64frombits(value.StaleNaN), nil, nil, upstream.AppendV2Options{})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	app = f.AppendableV2().AppenderV2(t.Context())
	_, err = app.Append(ref, ls, 0, 12, 5, nil, nil, upstream.AppendV2Options{})
	require.NoError(t, err)
	require.NoError(t, app.Rollback())

	requests := f.entries(t)
	require.Len(t, requests, 2, "one entry to a commit")
	s1, s2 := testSeries(1), testSeries(2)
	s1.Labels, s1.Family.Name, s1.Family.Help, s1.Family.Unit, s1.Family.Type = ls, "requests_total", meta.Help, meta.Unit, meta.Type
	s2.Labels, s2.Family.Name, s2.Family.Help, s2.Family.Type = other, "latency", "", model.MetricTypeUnknown
	x[0] = exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: 1, Ts: 9, HasTs: true}
	requireEncoded(t, []point{
		{series: s1, st: 3, t: 10, v: 1, exemplars: x},
		{series: s2, t: 10, h: testHistogram(1)},
		{series: s2, t: 11, fh: testFloatHistogram(2)},
	}, requests[0])
	requireEncoded(t, []point{{series: s2, t: 12, v: math.Float64frombits(value.StaleNaN)}}, requests[1])
}

func TestAppenderV2ReferencesOutliveTheCache(t *testing.T) {
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	cache := f.encoder.cache
	for round := range 3 {
		app := f.AppendableV2().AppenderV2(t.Context())
		for i := range minCachedSeries {
			ls := labels.FromStrings(model.MetricNameLabel, "m", "round", fmt.Sprint(round), "i", fmt.Sprint(i))
			_, err := app.Append(upstream.SeriesRef(i), ls, 0, 1, 1, nil, nil, upstream.AppendV2Options{})
			require.NoError(t, err)
		}
		require.NoError(t, app.Commit())
		for i := range cache.list {
			cache.list[i].seen = 1 // long ago
		}
	}
	require.LessOrEqual(t, len(cache.list), 2*minCachedSeries+2)
	require.LessOrEqual(t, len(cache.byHash), 2*minCachedSeries+2)
	seen := map[string]int{}
	b := labels.NewScratchBuilder(0)
	for _, q := range f.entries(t) {
		for _, ts := range q.Timeseries {
			ls, err := ts.ToLabels(&b, q.Symbols)
			require.NoError(t, err)
			seen[ls.String()]++
		}
	}
	require.Len(t, seen, 3*minCachedSeries)
}

// TestScrapeManagerWritesToTheQueue lets upstream's scrape manager scrape a
// target into the queue until the target loses a series.
func TestScrapeManagerWritesToTheQueue(t *testing.T) {
	var mu sync.Mutex
	text := "# TYPE up_since gauge\nup_since 5\n# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{kind=\"a\"} 7\n"
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(text))
	}))
	defer target.Close()
	r := newReceiver(t)
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
	f.start(t)

	m, err := scrape.NewManager(&scrape.Options{DiscoveryReloadInterval: model.Duration(10 * time.Millisecond)}, slog.New(slog.DiscardHandler), nil, nil, f.AppendableV2(), prometheus.NewRegistry())
	require.NoError(t, err)
	conf, err := config.Load(`
global: {scrape_interval: 50ms, scrape_timeout: 50ms}
scrape_configs: [{job_name: test}]`, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, m.ApplyConfig(conf))
	sets := make(chan map[string][]*targetgroup.Group)
	done := make(chan error, 1)
	go func() { done <- m.Run(sets) }()
	address := model.LabelValue(target.Listener.Addr().String())
	sets <- map[string][]*targetgroup.Group{"test": {{Targets: []model.LabelSet{{model.AddressLabel: address}}}}}

	series := labels.FromStrings(model.MetricNameLabel, "jobs_total", "kind", "a", "job", "test", "instance", string(address)).String()
	last := func(want func(float64) bool) func() bool {
		return func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			p := r.points[series]
			return len(p) > 0 && want(p[len(p)-1].V)
		}
	}
	require.Eventually(t, last(func(v float64) bool { return v == 7 }), 60*time.Second, 10*time.Millisecond)
	mu.Lock()
	text = "up_since 5\n"
	mu.Unlock()
	require.Eventually(t, last(value.IsStaleNaN), 60*time.Second, 10*time.Millisecond)
	m.Stop()
	require.NoError(t, <-done)
	target.CloseClientConnections()
}

func TestCommitWithEndedContext(t *testing.T) {
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	ctx, cancel := context.WithCancel(t.Context())
	app := f.AppendableV2().AppenderV2(ctx)
	_, err := app.Append(0, testSeries(1).Labels, 0, 1, 1, nil, nil, upstream.AppendV2Options{})
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, app.Commit(), context.Canceled)
	require.Empty(t, f.entries(t))
}
