package main

import (
	"flag"
	"io"
	"net/http"
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
)

// serveCadvisor runs cAdvisor's library as its own program does by default:
// housekeeping each second, with the jitter it adds, and its default metrics,
// but without the dynamic interval, which would let idle containers rest.
func serveCadvisor(addr string) error {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if err := flag.Set("housekeeping_interval", "1s"); err != nil {
		*manager.HousekeepingInterval = time.Second
	}
	most, dynamic := time.Second, false
	included := container.MetricSet{}
	for _, kind := range []container.MetricKind{
		container.CpuUsageMetrics, container.MemoryUsageMetrics, container.CpuLoadMetrics, container.DiskIOMetrics,
		container.DiskUsageMetrics, container.NetworkUsageMetrics, container.AppMetrics, container.OOMMetrics,
		container.PressureMetrics,
	} {
		included[kind] = struct{}{}
	}
	m, err := manager.New(memory.New(2*time.Minute, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &most, AllowDynamic: &dynamic}, included, []string{""}, nil, "", 0)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	r := prometheus.NewRegistry()
	if err := r.Register(cmetrics.NewPrometheusCollector(m, nil, included, clock.RealClock{},
		cmodel.RequestOptions{IdType: cmodel.TypeName, Count: 1, Recursive: true})); err != nil {
		return err
	}
	if err := r.Register(cmetrics.NewPrometheusMachineCollector(m, included)); err != nil {
		return err
	}
	http.Handle("/metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}
