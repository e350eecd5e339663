package collector

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestConverter(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jobs_total", Help: "Jobs."}, []string{"kind", "instance"})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "wait_seconds", Buckets: []float64{0.5, 1}})
	s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "size_bytes", Objectives: map[float64]float64{0.5: 0.1}})
	u := prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "odd"}, func() float64 { return 4 })
	reg.MustRegister(c, h, s, u)
	c.WithLabelValues("a", "theirs").Add(2)
	h.Observe(0.7)
	h.Observe(9)
	s.Observe(5)
	conv := newConverter(jobLabels("binnacle", "node-1"), prometheus.NewCounter(prometheus.CounterOpts{Name: "d"}))
	gather := func(ms int64) series {
		all, err := reg.Gather()
		require.NoError(t, err)
		return toSeries(conv.convert(all, ms))
	}
	got := gather(1000)
	jobs := got.find(t, "jobs_total", "kind", "a", "instance", "node-1", "exported_instance", "theirs", "job", "binnacle", "node", "node-1")
	require.Len(t, jobs, 1)
	require.Equal(t, model.MetricTypeCounter, jobs[0].Series.Family.Type)
	require.Equal(t, "Jobs.", jobs[0].Series.Family.Help)
	require.Equal(t, int64(1000), jobs[0].T)
	require.Equal(t, 0.0, got.value(t, "wait_seconds_bucket", "le", "0.5"))
	require.Equal(t, 1.0, got.value(t, "wait_seconds_bucket", "le", "1.0"))
	require.Equal(t, 2.0, got.value(t, "wait_seconds_bucket", "le", "+Inf"))
	require.Equal(t, 9.7, got.value(t, "wait_seconds_sum"))
	require.Equal(t, 2.0, got.value(t, "wait_seconds_count"))
	require.Equal(t, "wait_seconds", got.find(t, "wait_seconds_count")[0].Series.Family.Name)
	require.Equal(t, 5.0, got.value(t, "size_bytes", "quantile", "0.5"))
	require.Equal(t, 4.0, got.value(t, "odd"))
	require.Len(t, got, 10)

	again := gather(2000).find(t, "jobs_total")
	require.Same(t, jobs[0].Series, again[0].Series, "series are made once")
	c.Reset()
	require.True(t, isStale(gather(3000).value(t, "jobs_total")))
	require.Empty(t, gather(4000).find(t, "jobs_total"))
}

func TestConverterIsBounded(t *testing.T) {
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "d"})
	conv := newConverter(jobLabels("j", "n"), dropped)
	conv.limit = 3
	reg := prometheus.NewRegistry()
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g"}, []string{"l"})
	reg.MustRegister(g)
	for round := range 3 {
		g.Reset()
		for i := range 5 {
			g.WithLabelValues(strings.Repeat("x", round*10+i)).Set(1)
		}
		all, err := reg.Gather()
		require.NoError(t, err)
		conv.convert(all, int64(round))
		require.LessOrEqual(t, len(conv.series), 3)
	}
	require.Positive(t, testutil.ToFloat64(dropped))
}

func TestGathererThatFails(t *testing.T) {
	r := newRig(t, nil)
	up := r.upCell("binnacle")
	j := job{"binnacle", func() ([]*dto.MetricFamily, error) { return nil, errors.New("broken") }, r.own, up, r.metrics.durationOwn}
	r.gather(t.Context(), r.rec, j, r.now)
	require.Equal(t, 0.0, toSeries(r.rec.take()).value(t, "up", "job", "binnacle", "instance", "node-1"))
	j.gather = func() ([]*dto.MetricFamily, error) { panic("as asked") }
	r.gather(t.Context(), r.rec, j, r.now)
	require.Equal(t, 0.0, toSeries(r.rec.take()).value(t, "up"))
	j.gather = prometheus.NewRegistry().Gather
	r.gather(t.Context(), r.rec, j, r.now)
	require.Equal(t, 1.0, toSeries(r.rec.take()).value(t, "up"))
}

func TestUpOfCadvisor(t *testing.T) {
	r := newRig(t, nil)
	require.Equal(t, 1.0, r.tick().value(t, "up", "job", "cadvisor", "metrics_path", "/metrics/cadvisor", "instance", "node-1"))
}

func TestExpositionHasNoLabelsOfAScrape(t *testing.T) {
	r := newRig(t, nil)
	before, err := r.Cadvisor().Gather()
	require.NoError(t, err)
	require.Empty(t, before, "no cycle yet")
	r.add(containerGroup(ctrID, 100))
	r.tick()
	srv := httptest.NewServer(promhttp.HandlerFor(prometheus.Gatherers{r.Cadvisor(), r.Node()}, promhttp.HandlerOpts{}))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), `container_cpu_usage_seconds_total{container="app",cpu="total",id="/kubepods/`)
	for _, l := range []string{"job=", "instance=", "metrics_path=", "node="} {
		require.NotContains(t, string(text), l)
	}
}

// TestExpositionWhileCycling is for the race detector.
func TestExpositionWhileCycling(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := r.Cadvisor().Gather()
			require.NoError(t, err)
		}
	})
	for i := range 50 {
		g := busyGroup(i)
		r.event(event{kind: added, group: g})
		r.tick()
		if i%2 == 0 {
			r.event(event{kind: removed, group: g, at: r.now})
		}
	}
	cancel()
	wg.Wait()
}

// TestRealMachine runs everything on this machine's kernel.
func TestRealMachine(t *testing.T) {
	reg := prometheus.NewRegistry()
	c, err := New(Options{Node: "node-1", Interval: time.Second, NodeInterval: time.Second, Registerer: reg, Gatherer: reg})
	if err != nil {
		t.Skip("cgroups of this machine cannot be read: ", err)
	}
	rec := &recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, rec) }()
	all := series{}
	require.Eventually(t, func() bool {
		maps.Copy(all, toSeries(rec.take()))
		return len(all.find(t, "node_load1", "job", "node-exporter", "instance", "node-1", "node", "node-1")) > 0 &&
			len(all.find(t, "container_cpu_usage_seconds_total", "id", "/")) > 0 &&
			len(all.find(t, "binnacle_collector_samples_total", "job", "binnacle")) > 0 &&
			len(all.find(t, "up", "job", "node-exporter")) > 0
	}, time.Minute, 20*time.Millisecond)
	require.Positive(t, all.value(t, "machine_memory_bytes"))
	require.Positive(t, all.value(t, "machine_cpu_cores"))
	node, err := c.Node().Gather()
	require.NoError(t, err)
	require.NotEmpty(t, node)
	cancel()
	require.NoError(t, <-done)
	_, err = New(Options{Node: "node-1", RootFS: "/elsewhere"})
	require.ErrorContains(t, err, "node_exporter is set up with")
}
