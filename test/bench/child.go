package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/cadvisor/lib/cache/memory"
	"github.com/google/cadvisor/lib/container"
	"github.com/google/cadvisor/lib/manager"
	cmetrics "github.com/google/cadvisor/lib/metrics"
	cmodel "github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/storage/tsdb"
)

// A child is this program started again to run one part alone, so that the
// kernel accounts its CPU time by itself.
const (
	childPrefix   = "child:"
	childCollect  = childPrefix + "collect"
	childCadvisor = childPrefix + "cadvisor"
)

func runChild(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch name {
	case childCollect:
		return collectChild(ctx, args[0])
	case childCadvisor:
		return cadvisorChild(ctx, args[0])
	}
	return fmt.Errorf("no child %q", name)
}

// collectChild collects into a TSDB in dir each second, containers only.
func collectChild(ctx context.Context, dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := tsdb.Open(ctx, tsdb.Options{Dir: dir, Logger: log})
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := collector.New(collector.Options{
		Node: "bench", Interval: time.Second, NodeInterval: 24 * time.Hour, Logger: log,
	})
	if err != nil {
		return err
	}
	return c.Run(ctx, db)
}

// cadvisorChild runs cAdvisor's housekeeping each second with its default
// metrics and serves them on addr, as cAdvisor does.
func cadvisorChild(ctx context.Context, addr string) error {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	second, dynamic := time.Second, false
	*manager.HousekeepingInterval = second
	included := container.MetricSet{}
	for kind := range container.AllMetrics {
		included[kind] = struct{}{}
	}
	// What cAdvisor leaves out by default.
	for _, kind := range []container.MetricKind{
		container.MemoryNumaMetrics, container.NetworkTcpUsageMetrics, container.NetworkUdpUsageMetrics,
		container.NetworkAdvancedTcpUsageMetrics, container.ProcessSchedulerMetrics, container.ProcessMetrics,
		container.HugetlbUsageMetrics, container.ReferencedMemoryMetrics, container.CPUTopologyMetrics,
		container.ResctrlMetrics, container.CPUSetMetrics, container.PerCpuUsageMetrics,
	} {
		delete(included, kind)
	}
	m, err := manager.New(memory.New(2*time.Minute, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &second, AllowDynamic: &dynamic}, included, []string{"/"}, nil, "", 0)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	r := prometheus.NewRegistry()
	r.MustRegister(cmetrics.NewPrometheusCollector(m, nil, included, clock.RealClock{},
		cmodel.RequestOptions{IdType: cmodel.TypeName, Count: 1, Recursive: true}))
	srv := &http.Server{Addr: addr, Handler: promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}
