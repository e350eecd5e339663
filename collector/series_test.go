package collector

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
	"github.com/binnacle-obs/binnacle/collector/proc"
	"github.com/binnacle-obs/binnacle/storage"
)

// discard is an Appender that forgets.
type discard struct{}

func (discard) Append(context.Context, []storage.Sample) error { return nil }

// busyGroup has everything that a container on v2 has.
func busyGroup(i int) *fakeGroup {
	g := containerGroup(fmt.Sprintf("%064x", i), 1000+i)
	g.identity.PodUID = fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
	g.id = "/kubepods/burstable/pod" + g.identity.PodUID + "/" + g.identity.ContainerID
	s := &g.stats
	s.Read = cgroup.SetDefault
	s.CPU = cgroup.CPU{Usage: 1, User: 2, System: 3, Periods: 4, ThrottledPeriods: 5, ThrottledTime: 6, BurstPeriods: 7, BurstTime: 8, CoreSchedForceIdle: cgroup.None}
	s.Memory = cgroup.Memory{Usage: 10, InactiveFile: 3, FailCount: cgroup.None, LocalFaults: cgroup.None, LocalMajFaults: cgroup.None, UnderOOM: cgroup.None}
	s.Pids = cgroup.Pids{Current: 4, Max: 100, Peak: 5}
	s.PSI = cgroup.PSI{}
	s.IO = []cgroup.DeviceIO{{
		Major: 8, ReadBytes: 1, WriteBytes: 2, Reads: 3, Writes: 4,
		SyncBytes: cgroup.None, AsyncBytes: cgroup.None, TotalBytes: cgroup.None,
		CostUsage: cgroup.None, CostWait: cgroup.None, CostIndebt: cgroup.None, CostInDelay: cgroup.None,
	}}
	return g
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r := newRig(t, nil)
	for i := range 20 {
		g := busyGroup(i)
		r.procs.netns[g.pids[0]] = hostNS
		r.add(g)
		r.opts.Identities.(names)[g.identity.ContainerID] = Names{Namespace: "n", Pod: "p", Container: "c", Image: "i"}
	}
	for range 5 {
		r.cycle(t.Context(), discard{}, r.now)
	}
	allocs := testing.AllocsPerRun(20, func() {
		r.now = r.now.Add(r.opts.Interval)
		r.cycle(t.Context(), discard{}, r.now)
	})
	require.Zero(t, allocs)
	require.GreaterOrEqual(t, len(r.batch.samples)/20, 45, "series of a container")
}

func TestChurnLeavesNothingBehind(t *testing.T) {
	r := newRig(t, nil)
	r.add(rootGroup())
	for round := range 3 {
		groups := make([]*fakeGroup, 500)
		for i := range groups {
			groups[i] = busyGroup(round*1000 + i)
			pid := groups[i].pids[0]
			r.procs.netns[pid] = uint64(100 + pid)
			r.procs.devs[pid] = &fakeNetDev{all: []proc.Interface{{Name: "eth0"}}}
			groups[i].stats.Memory.EventsOOMKill = 1
			r.event(event{kind: added, group: groups[i]})
		}
		r.tick()
		for _, g := range groups {
			r.event(event{kind: removed, group: g, at: r.now})
			require.True(t, r.procs.devs[g.pids[0]].closed)
		}
	}
	require.Len(t, r.containers, 1)
	require.Len(t, r.byGroup, 1)
	require.Empty(t, r.pods)
	require.Empty(t, r.disks.watched)
	require.Empty(t, r.namespaces.owner)
	r.tick()
	require.LessOrEqual(t, len(r.oom.byKey), maxOOMKept+1)
	require.Positive(t, testutil.ToFloat64(r.metrics.droppedOOM))
	r.now = r.now.Add(oomKept)
	r.tick()
	require.Empty(t, r.oom.byKey)
	require.Zero(t, r.oom.kept)
}

func TestRunStopsWithoutLeaks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t, func(o *Options) { o.Interval = time.Second; o.ProcessInterval = time.Second })
	g := containerGroup(ctrID, 100)
	r.procs.netns[100] = 7
	dev := &fakeNetDev{all: []proc.Interface{{Name: "eth0", RxBytes: 5}}}
	r.procs.devs[100] = dev
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r.rec) }()
	w := <-r.src.watcher
	w.Added(g)
	var all series
	require.Eventually(t, func() bool {
		all = toSeries(r.rec.take())
		return len(all.find(t, "container_network_receive_bytes_total")) > 0
	}, 30*time.Second, 10*time.Millisecond)
	g.set(func(s *cgroup.Stats) { s.CPU.Usage = 8e9 })
	w.Emptied(g)
	w.Removed(g)
	var seen []storage.Sample
	require.Eventually(t, func() bool {
		seen = append(seen, toSeries(r.rec.take()).find(t, "container_cpu_usage_seconds_total")...)
		return len(seen) > 1 && isStale(seen[len(seen)-1].V)
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 8.0, seen[len(seen)-2].V)
	cancel()
	require.NoError(t, <-done)
	require.True(t, r.src.closed)
	require.True(t, dev.closed)
}

func TestOOMCountSurvivesRestart(t *testing.T) {
	r := newRig(t, nil)
	first := containerGroup(ctrID, 100)
	r.add(first)
	first.set(func(s *cgroup.Stats) { s.Memory.EventsOOMKill = 0 })
	require.Equal(t, 0.0, r.tick().value(t, "container_oom_events_total", "container", "app", "id", "", "name", "", "image", ""))
	first.set(func(s *cgroup.Stats) { s.Memory.EventsOOMKill = 1 })
	r.empty(first, r.now.Add(time.Second))
	r.event(event{kind: removed, group: first, at: r.now.Add(2 * time.Second)})
	require.Equal(t, 1.0, r.tick().value(t, "container_oom_events_total"), "the container is gone, its count is not")

	second := containerGroup("next", 200)
	second.stats.Memory.EventsOOMKill = 0
	r.opts.Identities.(names)["next"] = r.opts.Identities.(names)[ctrID]
	r.add(second)
	require.Equal(t, 1.0, r.tick().value(t, "container_oom_events_total"))
	second.set(func(s *cgroup.Stats) { s.Memory.EventsOOMKill = 2 })
	require.Equal(t, 3.0, r.tick().value(t, "container_oom_events_total"))
	r.event(event{kind: removed, group: second, at: r.now})
	r.now = r.now.Add(oomKept)
	require.True(t, isStale(r.tick().value(t, "container_oom_events_total")))
	require.Empty(t, r.tick().find(t, "container_oom_events_total"))
}

func TestLateNamesMoveSeries(t *testing.T) {
	r := newRig(t, nil)
	known := r.opts.Identities.(names)
	app := known[ctrID]
	delete(known, ctrID)
	g := containerGroup(ctrID, 100)
	g.stats.Memory.EventsOOMKill = 2
	r.add(g)
	before := r.tick()
	require.Equal(t, 1.5, before.value(t, "container_cpu_usage_seconds_total", "container", "", "name", ctrID))
	require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.unnamed))

	known[ctrID] = app
	after := r.tick()
	require.True(t, isStale(after.value(t, "container_cpu_usage_seconds_total", "container", "")))
	require.Equal(t, 1.5, after.value(t, "container_cpu_usage_seconds_total", "container", "app"))
	require.True(t, isStale(after.value(t, "container_oom_events_total", "container", "")))
	require.Equal(t, 2.0, after.value(t, "container_oom_events_total", "container", "app"))
	require.Equal(t, 0.0, testutil.ToFloat64(r.metrics.unnamed))
}

func TestNetworkOfAPodOnce(t *testing.T) {
	r := newRig(t, nil)
	r.procs.netns[99], r.procs.netns[100] = 7, 7
	r.procs.devs[99] = &fakeNetDev{all: []proc.Interface{{Name: "lo", RxBytes: 1}, {Name: "eth0", RxBytes: 2, TxDropped: 3}, {Name: "veth12"}}}
	r.procs.devs[1] = &fakeNetDev{all: []proc.Interface{{Name: "ens3", RxBytes: 9}, {Name: "docker0", RxBytes: 9}}}
	root := rootGroup()
	root.stats.Read, root.stats.Procs = cgroup.SetProcs, cgroup.Procs{Count: 80, First: 1}
	r.add(root)
	r.add(podGroup())
	r.add(containerGroup(ctrID, 100))
	r.add(containerGroup(pauseID, 99))
	r.tick()
	all := r.tick()
	require.Equal(t, 2.0, all.value(t, "container_network_receive_bytes_total", "pod", "web-0"))
	require.Equal(t, 2.0, all.value(t, "container_network_receive_bytes_total", "name", pauseID, "container", "", "interface", "eth0"))
	require.Equal(t, 3.0, all.value(t, "container_network_transmit_packets_dropped_total", "name", pauseID))
	require.Equal(t, 9.0, all.value(t, "container_network_receive_bytes_total", "id", "/"))
}

func TestHostNetworkPodHasNoNetwork(t *testing.T) {
	r := newRig(t, nil)
	r.procs.netns[99], r.procs.netns[100] = hostNS, hostNS
	r.add(podGroup())
	r.add(containerGroup(ctrID, 100))
	r.add(containerGroup(pauseID, 99))
	require.Empty(t, r.tick().find(t, "container_network_receive_bytes_total"))
}

func TestNetworkOfAPodWithoutKnownSandboxIsOnThePod(t *testing.T) {
	r := newRig(t, nil)
	known := r.opts.Identities.(names)
	pause := known[pauseID]
	delete(known, pauseID)
	r.procs.netns[99], r.procs.netns[100] = 7, 7
	dev := &fakeNetDev{all: []proc.Interface{{Name: "eth0", RxBytes: 2}}}
	r.procs.devs[99], r.procs.devs[100] = dev, dev
	pod := podGroup()
	r.add(pod)
	r.add(containerGroup(ctrID, 100))
	r.add(containerGroup(pauseID, 99))
	r.tick()
	require.Equal(t, 2.0, r.tick().value(t, "container_network_receive_bytes_total", "id", pod.id, "container", "", "pod", "web-0"))

	known[pauseID] = pause
	all := r.tick()
	old := all.find(t, "container_network_receive_bytes_total", "id", pod.id)
	require.True(t, isStale(old[len(old)-1].V))
	all = r.tick()
	require.Equal(t, 2.0, all.value(t, "container_network_receive_bytes_total", "name", pauseID))
	require.Empty(t, all.find(t, "container_network_receive_bytes_total", "id", pod.id))
}

// What is dear to read and hardly changes is read in every cycle only while a
// container is new; its series go on from one slow cycle to the next.
func TestSlowSets(t *testing.T) {
	r := newRig(t, nil)
	g := busyGroup(1)
	r.add(g)
	for range newFor {
		require.Equal(t, 1.0, r.tick().value(t, "container_processes", "id", g.id))
	}
	step := int(r.opts.ProcessInterval / r.opts.Interval)
	seen := 0
	for range 4 * step {
		got := r.tick()
		require.Equal(t, 4.0, got.value(t, "container_threads", "id", g.id))
		for _, s := range got.find(t, "container_processes", "id", g.id) {
			require.Equal(t, 1.0, s.V) // a value, never a marker of the end
			seen++
		}
	}
	require.Equal(t, 4, seen)
}

func TestSlowPart(t *testing.T) {
	r := newRig(t, func(o *Options) { o.OptIn = []string{groupTCP, groupUDP, groupSched, groupSockets} })
	r.procs.netns[100], r.procs.devs[100] = 7, &fakeNetDev{}
	r.procs.upper[100] = "/var/lib/containerd/snapshots/1/fs"
	r.disks.all = []disk.Filesystem{
		{Device: "/dev/sda1", MountPoint: "/", Size: 100, Used: 60, Inodes: 10, InodesFree: 4},
		{Device: "/dev/sdb1", MountPoint: "/var/lib/containerd", Size: 200, Used: 10},
	}
	r.disks.used = 5
	g := containerGroup(ctrID, 100)
	r.opts.Identities.(names)[ctrID] = Names{Namespace: "shop", Pod: "web-0", Container: "app", Image: "i", Sandbox: false}
	g.identity.PodUID = ""
	r.add(g)
	r.add(rootGroup())
	all := r.tick()
	require.Equal(t, 12.0, all.value(t, "container_file_descriptors", "name", ctrID))
	require.Equal(t, 3.0, all.value(t, "container_sockets", "name", ctrID))
	require.Equal(t, 1024.0, all.value(t, "container_ulimits_soft", "name", ctrID, "ulimit", "max_open_files"))
	require.Equal(t, 2.0, all.value(t, "container_network_tcp6_usage_total", "tcp_state", "listen"))
	require.Equal(t, 1.0, all.value(t, "container_network_udp_usage_total", "udp_state", "listen"))
	require.Equal(t, 100.0, all.value(t, "container_cpu_schedstat_run_seconds_total", "name", ctrID))
	require.Equal(t, 5.0, all.value(t, "container_fs_usage_bytes", "name", ctrID, "device", "/dev/sdb1"))
	require.Equal(t, 60.0, all.value(t, "container_fs_usage_bytes", "id", "/", "device", "/dev/sda1"))
	require.Equal(t, 4.0, all.value(t, "container_fs_inodes_free", "id", "/"))
	g.pids = []int{300}
	seen := 0
	for range 3 {
		if s := r.tick().find(t, "container_cpu_schedstat_run_seconds_total", "name", ctrID); len(s) > 0 {
			seen++
			require.Equal(t, 400.0, s[0].V, "what the ended process ran stays in the sum")
		}
	}
	require.Equal(t, 1, seen, "once in 15 s at an interval of 5 s")
}

func BenchmarkCycle(b *testing.B) {
	r := benchRig(b)
	b.ReportAllocs()
	for b.Loop() {
		r.cycle(b.Context(), discard{}, time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/container")
	b.ReportMetric(float64(len(r.batch.samples))/500, "series/container")
}

func benchRig(b *testing.B) *Collector {
	dir := b.TempDir()
	o, err := Options{Node: "n", ProcRoot: dir, SysRoot: dir, RootFS: dir, Identities: names{}}.withDefaults()
	require.NoError(b, err)
	src := &fakeSource{version: cgroup.V2}
	procs := newFakeProc()
	c, err := newCollector(o, src, procs, &fakeDisks{watched: map[string]string{}})
	require.NoError(b, err)
	for i := range 500 {
		g := busyGroup(i)
		procs.netns[g.pids[0]] = hostNS
		o.Identities.(names)[g.identity.ContainerID] = Names{Namespace: "n", Pod: "p", Container: "c", Image: "i"}
		c.add(g)
	}
	for range 5 {
		c.cycle(b.Context(), discard{}, time.Now())
	}
	return c
}
