package collector

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/storage"
)

func TestEverySeriesOfACycleHasItsTime(t *testing.T) {
	r := newRig(t, nil)
	r.add(rootGroup())
	r.add(containerGroup(ctrID, 100))
	all := r.tick()
	require.NotEmpty(t, all)
	for _, samples := range all {
		require.Len(t, samples, 1)
		require.Equal(t, r.now.UnixMilli(), samples[0].T)
	}
}

func TestLabelsOfAContainer(t *testing.T) {
	r := newRig(t, nil)
	r.add(containerGroup(ctrID, 100))
	got := r.tick().find(t, "container_cpu_usage_seconds_total")
	require.Len(t, got, 1)
	require.Equal(t, 1.5, got[0].V)
	require.Equal(t, labels.FromStrings(
		"__name__", "container_cpu_usage_seconds_total", "container", "app", "cpu", "total",
		"id", "/kubepods/burstable/pod"+podUID+"/"+ctrID, "image", "registry.local/app:1", "instance", "node-1",
		"job", "cadvisor", "metrics_path", "/metrics/cadvisor", "name", ctrID, "namespace", "shop", "node", "node-1", "pod", "web-0",
	), got[0].Series.Labels)
}

func TestLabelsOfPodAndSandbox(t *testing.T) {
	r := newRig(t, nil)
	pod := podGroup()
	pod.stats.Read, pod.stats.Memory.Usage = cgroup.SetMemory, 8192
	r.add(pod)
	r.add(containerGroup(pauseID, 99))
	all := r.tick()
	require.Equal(t, 8192.0, all.value(t, "container_memory_usage_bytes", "pod", "web-0", "namespace", "shop", "container", "", "id", pod.id, "image", ""))
	require.Equal(t, 4096.0, all.value(t, "container_memory_usage_bytes", "pod", "web-0", "container", "", "name", pauseID))
}

func TestAbsentIsNotZero(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	all := r.tick()
	for _, name := range []string{
		"container_memory_events_high_total", "container_memory_failcnt", "container_memory_swap", "container_pressure_cpu_waiting_seconds_total",
		"container_cpu_cfs_periods_total", "container_spec_cpu_quota", "container_threads", "container_fs_reads_total", "container_hugetlb_usage_bytes",
		"container_oom_events_total",
	} {
		require.Empty(t, all.find(t, name), name)
	}
}

func TestValueThatCeasesToExistEndsItsSeries(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	g.stats.Spec.CPUQuota, g.stats.CPU.Periods = 50_000, 7
	g.stats.IO = []cgroup.DeviceIO{{Major: 8, ReadBytes: 1}, {Major: 8, Minor: 16, ReadBytes: 2}}
	g.stats.Read |= cgroup.SetSpec | cgroup.SetIO
	r.add(g)
	all := r.tick()
	require.Equal(t, 7.0, all.value(t, "container_cpu_cfs_periods_total"))
	require.Equal(t, 2.0, all.value(t, "container_fs_reads_bytes_total", "device", "8:16"))

	g.set(func(s *cgroup.Stats) { s.Spec.CPUQuota, s.IO = cgroup.None, s.IO[:1] })
	all = r.tick()
	require.True(t, isStale(all.value(t, "container_cpu_cfs_periods_total")))
	require.True(t, isStale(all.value(t, "container_fs_reads_bytes_total", "device", "8:16")))
	require.Equal(t, 1.0, all.value(t, "container_fs_reads_bytes_total", "device", "8:0"))
	all = r.tick()
	require.Empty(t, all.find(t, "container_cpu_cfs_periods_total"))
	require.Empty(t, all.find(t, "container_fs_reads_bytes_total", "device", "8:16"))
}

func TestUnlimitedIsZeroInSpec(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	g.stats.Read |= cgroup.SetSpec
	g.stats.Spec.MemoryReservation = 9223372036854771712
	g.stats.Pids = cgroup.Pids{Current: 3, Max: cgroup.None, Peak: cgroup.None, EventsMax: cgroup.None}
	g.stats.Read |= cgroup.SetPids
	r.add(g)
	all := r.tick()
	require.Equal(t, 0.0, all.value(t, "container_spec_memory_limit_bytes"))
	require.Equal(t, 0.0, all.value(t, "container_spec_memory_reservation_limit_bytes"))
	require.Equal(t, 0.0, all.value(t, "container_threads_max"))
	require.Empty(t, all.find(t, "container_spec_memory_swap_limit_bytes"), "swap is not accounted")
}

func TestUnreadableSetKeepsItsSeries(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	g.set(func(s *cgroup.Stats) { s.Read &^= cgroup.SetMemory })
	g.err = errors.New("memory.stat: input/output error")
	all := r.tick()
	require.Empty(t, all.find(t, "container_memory_usage_bytes"), "neither a value nor an end")
	require.Equal(t, 1.5, all.value(t, "container_cpu_usage_seconds_total"))
	require.Equal(t, 1.0, all.value(t, "container_scrape_error"))
	require.Equal(t, 1.0, all.value(t, "machine_scrape_error"), "there is no meminfo here")
	require.Equal(t, 0.0, testutil.ToFloat64(r.health.gauges["memory"]))
	require.Equal(t, 1.0, testutil.ToFloat64(r.health.gauges["cpu"]))

	g.err = nil
	g.set(func(s *cgroup.Stats) { s.Read |= cgroup.SetMemory })
	require.Equal(t, 4096.0, r.tick().value(t, "container_memory_usage_bytes"))
	require.Equal(t, 1.0, testutil.ToFloat64(r.health.gauges["memory"]))
}

func TestPanicStopsNothingElse(t *testing.T) {
	r := newRig(t, nil)
	bad, good := containerGroup("bad", 7), containerGroup(ctrID, 100)
	bad.panic = true
	r.add(bad)
	r.add(good)
	all := r.tick()
	require.Equal(t, 1.5, all.value(t, "container_cpu_usage_seconds_total", "name", ctrID))
	require.Equal(t, 0.0, testutil.ToFloat64(r.health.gauges["cgroup"]))
	for _, s := range r.sections.read {
		if s.name == "memory" {
			s.slots[0].value = func(*reading) uint64 { panic("as asked") }
		}
	}
	bad.panic = false
	all = r.tick()
	require.Equal(t, 1.5, all.value(t, "container_cpu_usage_seconds_total", "name", ctrID))
	require.Equal(t, 0.0, testutil.ToFloat64(r.health.gauges["memory"]))
	require.Equal(t, 1.0, testutil.ToFloat64(r.health.gauges["cpu"]))
}

func TestRemovedContainerLeavesStalenessMarkers(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	g.stats.IO = []cgroup.DeviceIO{{Major: 8, ReadBytes: 1}}
	g.stats.Read |= cgroup.SetIO
	r.add(g)
	live := r.tick()
	ends := r.event(event{kind: removed, group: g, at: r.now.Add(-5 * time.Millisecond)})
	for key, samples := range live {
		l := samples[0].Series.Labels
		if l.Get("name") == "" {
			continue
		}
		require.Len(t, ends[key], 1, key)
		require.True(t, isStale(ends[key][0].V), key)
		require.Greater(t, ends[key][0].T, r.now.UnixMilli(), key)
	}
	require.Empty(t, r.tick().find(t, "container_cpu_usage_seconds_total"))
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.missed))
}

func TestFinalSample(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	g.set(func(s *cgroup.Stats) { s.CPU.Usage, s.Procs = 9e9, cgroup.Procs{} })
	at := r.now.Add(1234 * time.Millisecond)
	last := r.empty(g, at).find(t, "container_cpu_usage_seconds_total")
	require.Len(t, last, 1)
	require.Equal(t, 9.0, last[0].V)
	require.Equal(t, at.UnixMilli(), last[0].T)
	end := r.event(event{kind: removed, group: g, at: at}).find(t, "container_cpu_usage_seconds_total")
	require.Equal(t, at.UnixMilli()+1, end[0].T)
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.stored))
	require.Equal(t, 0.0, testutil.ToFloat64(r.metrics.missed))
}

func TestContainerThatNoTickSaw(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	g.stats.Memory.Peak = 77
	g.stats.Memory.EventsOOMKill = 1
	r.event(event{kind: added, group: g})
	at := r.now.Add(300 * time.Millisecond)
	got := r.empty(g, at)
	require.Equal(t, 77.0, got.value(t, "container_memory_max_usage_bytes", "container", "app", "pod", "web-0"))
	require.Equal(t, 1.5, got.value(t, "container_cpu_usage_seconds_total"))
	zero := got.find(t, "container_oom_events_total")
	require.Equal(t, []float64{0}, []float64{zero[0].V}, "what a rate starts from")
	require.Equal(t, born.UnixMilli(), zero[0].T)
	r.event(event{kind: removed, group: g, at: at})
	require.Equal(t, 1.0, r.tick().value(t, "container_oom_events_total", "container", "app"))
}

func TestFinalSampleThatACycleOvertook(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	ct := r.byGroup[g]
	require.Empty(t, r.empty(g, ct.readAt.Add(-time.Microsecond)), "the cycle knows more")
	r.event(event{kind: removed, group: g, at: r.now})
	require.Equal(t, 0.0, testutil.ToFloat64(r.metrics.missed))
}

func TestFinalSampleInTheMillisecondOfACycle(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	ct := r.byGroup[g]
	ct.readAt = r.now
	got := r.empty(g, r.now).find(t, "container_cpu_usage_seconds_total")
	require.Len(t, got, 1)
	require.Equal(t, r.now.UnixMilli()+1, got[0].T)
}

func TestRefilledCgroupNeedsAnotherFinalSample(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	r.empty(g, r.now.Add(time.Second))
	r.tick() // has a process again
	r.event(event{kind: removed, group: g, at: r.now})
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.missed))
}

func TestGoneDuringCycle(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	r.add(g)
	r.tick()
	g.err = fmt.Errorf("read: %w", cgroup.ErrGone)
	all := r.tick()
	require.Empty(t, all.find(t, "container_cpu_usage_seconds_total"))
	require.Equal(t, 0.0, all.value(t, "container_scrape_error"), "to vanish is normal")
}

func TestAppendErrorsAreCounted(t *testing.T) {
	r := newRig(t, nil)
	r.add(containerGroup(ctrID, 100))
	r.rec.err = fmt.Errorf("head: %w", storage.ErrFull)
	r.tick()
	var rejected storage.RejectedError
	rejected.Add(storage.ReasonOutOfOrder, errors.New("one"))
	r.rec.err = fmt.Errorf("store: %w", &rejected)
	r.tick()
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.appendErrors.WithLabelValues("full")))
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.rejected.WithLabelValues(storage.ReasonOutOfOrder)))
	r.rec.err = nil
	require.Equal(t, 1.5, r.tick().value(t, "container_cpu_usage_seconds_total"), "it goes on")
}

func TestTicksAreAligned(t *testing.T) {
	for _, c := range []struct{ now, want string }{
		{"12:00:00.000", "12:00:05.000"}, {"12:00:04.999", "12:00:05.000"}, {"12:00:05.001", "12:00:10.000"},
	} {
		now, err := time.Parse("15:04:05", c.now)
		require.NoError(t, err)
		require.Equal(t, c.want, nextTick(now, 5*time.Second).Format("15:04:05.000"))
	}
	tick := born
	require.Equal(t, tick, cycleTime(tick.Add(time.Millisecond), tick, 5*time.Second))
	late := tick.Add(26 * time.Millisecond)
	require.Equal(t, late, cycleTime(late, tick, 5*time.Second))
}
