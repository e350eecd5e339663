//go:build system

package functional

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/cadvisor/lib/cache/memory"
	"github.com/google/cadvisor/lib/container"
	"github.com/google/cadvisor/lib/manager"
	cmetrics "github.com/google/cadvisor/lib/metrics"
	cmodel "github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// cadvisor gives the metrics of cAdvisor's library, read anew at each call.
// There can be one manager a process: its factories are global.
var cadvisor = sync.OnceValues(func() (*prometheus.Registry, error) {
	klog.LogToStderr(false) // it tells of every cgroup that goes while it looks
	klog.SetOutput(io.Discard)
	// It reads when asked and at no other time.
	never, dynamic, fresh := 24*time.Hour, false, time.Duration(0)
	*manager.HousekeepingInterval = never
	included := container.MetricSet{}
	for _, kind := range []container.MetricKind{
		container.CpuUsageMetrics, container.MemoryUsageMetrics, container.DiskIOMetrics, container.ProcessMetrics,
		container.PressureMetrics, container.OOMMetrics, container.CpuLoadMetrics,
	} {
		included[kind] = struct{}{}
	}
	m, err := manager.New(memory.New(time.Minute, nil), sysfs.NewRealSysFs(),
		manager.HousekeepingConfig{Interval: &never, AllowDynamic: &dynamic}, included, []string{"/"}, nil, "", 0)
	if err != nil {
		return nil, err
	}
	if err := m.Start(); err != nil {
		return nil, err
	}
	r := prometheus.NewRegistry()
	return r, r.Register(cmetrics.NewPrometheusCollector(m, nil, included, clock.RealClock{},
		cmodel.RequestOptions{IdType: cmodel.TypeName, Count: 1, Recursive: true, MaxAge: &fresh}))
})

// cadvisorValues reads all cgroups by cAdvisor's library.
func cadvisorValues(t testing.TB) map[key]float64 {
	t.Helper()
	registry, err := cadvisor()
	if err != nil {
		t.Fatal("start cAdvisor's manager:", err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Log("cAdvisor:", err)
	}
	values := map[key]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			b := labels.NewBuilder(labels.FromStrings("__name__", family.GetName()))
			for _, l := range m.GetLabel() {
				b.Set(l.GetName(), l.GetValue())
			}
			v := m.GetGauge().GetValue()
			if m.GetCounter() != nil {
				v = m.GetCounter().GetValue()
			}
			values[keyOf(b.Labels())] = v
		}
	}
	return values
}
