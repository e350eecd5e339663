//go:build system

package functional

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/storage"
)

// containers is how many the tests make.
const containers = 100

// startCollector runs a collector into app until the test ends.
func startCollector(t testing.TB, c *cluster, interval time.Duration, app storage.Appender) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	col, err := collector.New(collector.Options{
		OptIn: []string{"sockets"},
		Node:  "test-node", Interval: interval, ProcessInterval: interval, PodLogsRoot: c.logs,
		CgroupRoot: cgroupRoot, ProcRoot: "/proc", SysRoot: "/sys",
		Logger:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Registerer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- col.Run(ctx, app) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error("collector:", err)
		}
	})
	return registry
}

// startContainers makes containers of which some do something special; the
// kind tells what.
func startContainers(t testing.TB, c *cluster) []*group {
	t.Helper()
	special := []struct{ kind, job string }{
		{"limit", "alloc 48"},
		{"oom", "idle"},
		{"io", fmt.Sprintf("write %s %d", diskFile, diskBlocks)},
		{"pids", "forks"},
		{"quota", "burn"},
		{"burn", "burn"},
	}
	for i := range containers {
		kind, job := "idle", "idle"
		if n := i - (containers - len(special)); n >= 0 { // those that burn come last
			kind, job = special[n].kind, special[n].job
		}
		g := c.newContainer(t, c.newPod(t), kind)
		configure(t, g)
		cmd, out := startWorker(t, g, job)
		t.Cleanup(func() { g.kill(); _ = cmd.Wait() })
		awaitReady(t, job, out)
	}
	return c.members
}

const (
	// diskBlocks are written by the container of kind io.
	diskBlocks = 64
	// blockSize is what a worker writes at once.
	blockSize = 64 << 10
)

// configure sets the limits of a container.
func configure(t testing.TB, g *group) {
	t.Helper()
	switch g.kind {
	case "quota":
		g.set(t, "cpu:cpu.cfs_period_us", "", "100000")
		g.set(t, "cpu:cpu.cfs_quota_us", ":cpu.max", "20000") // less than its share of one CPU among all busy ones
	case "limit", "oom":
		g.set(t, "memory:memory.limit_in_bytes", ":memory.max", fmt.Sprint(96<<20))
	case "io":
		// v1 counts nothing for a device that never had a limit.
		g.set(t, "blkio:blkio.throttle.write_bps_device", "", diskNumber+" 1099511627776")
	case "pids":
		g.set(t, "pids:pids.max", ":pids.max", "40")
	}
}

// killByOOM lets a second process in the container run out of memory.
func killByOOM(t testing.TB, g *group) {
	t.Helper()
	cmd, out := startWorker(t, g, "oom")
	awaitReady(t, "oom", out)
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process out of memory ended with %v, not by the kernel's SIGKILL", cmd.ProcessState)
	}
}

func kindOf(t testing.TB, groups []*group, kind string) *group {
	t.Helper()
	i := slices.IndexFunc(groups, func(g *group) bool { return g.kind == kind })
	if i < 0 {
		t.Fatalf("no container of kind %s", kind)
	}
	return groups[i]
}

// TestValues compares what the collector delivers for 100 containers with the
// kernel's files and with cAdvisor's library.
func TestValues(t *testing.T) {
	findDisk(t)
	c := newCluster(t)
	groups := startContainers(t, c)
	oom := kindOf(t, groups, "oom")
	rec := newRecorder()
	startCollector(t, c, time.Second, rec)
	first := rec.cycleAfter(t, time.Now(), groups)
	killByOOM(t, oom)

	t.Run("running", func(t *testing.T) {
		for range 3 {
			checkRunning(t, rec, groups)
		}
	})
	t.Run("frozen", func(t *testing.T) { checkFrozen(t, rec, groups) })
	t.Run("identity", func(t *testing.T) { checkIdentity(t, rec, groups) })
	t.Run("events", func(t *testing.T) { checkEvents(t, rec, groups, first) })
	t.Run("gone", func(t *testing.T) { checkGone(t, rec, oom) })
}

// checkRunning requires of counters: the file before the tick ≤ the sample ≤
// the file after it.
func checkRunning(t *testing.T, rec *recorder, groups []*group) {
	t.Helper()
	before := snapshot(groups)
	cycle := rec.cycleAfter(t, time.Now(), groups)
	after := snapshot(groups)
	compared := 0
	for _, g := range groups {
		for _, e := range expectations() {
			if !e.counter || !e.applies(g.kind) {
				continue
			}
			low, ok := e.of()(before[g])
			high, okAfter := e.of()(after[g])
			if !ok || !okAfter {
				t.Errorf("%s of %s: the kernel has no such value", e.family, g.kind)
				continue
			}
			got, ok := cycle[key{e.family, g.id, e.rest}]
			if !ok || got < low-slack(low) || got > high+slack(high) {
				t.Errorf("%s{%s} of %s: %v (present: %v), want between %v and %v", e.family, e.rest, g.kind, got, ok, low, high)
			}
			compared++
		}
	}
	t.Logf("%d counters between the kernel's values before and after the tick", compared)
}

// slack is the rounding of a float: kernel integers are converted to units.
func slack(v float64) float64 { return math.Abs(v) * 1e-9 }

// checkFrozen stops all processes and requires that every value equals that
// of its file, then that it equals cAdvisor's.
func checkFrozen(t *testing.T, rec *recorder, groups []*group) {
	for _, g := range groups {
		g.freeze(t, true)
	}
	defer func() {
		for _, g := range groups {
			g.freeze(t, false)
		}
	}()
	before := awaitStill(t, groups)
	oracle := cadvisorValues(t)
	cycle := rec.cycleAfter(t, time.Now(), groups)
	after := snapshot(groups)
	compared, moved := 0, 0
	for _, g := range groups {
		for _, e := range expectations() {
			if !e.applies(g.kind) {
				continue
			}
			want, ok := e.of()(before[g])
			again, okAfter := e.of()(after[g])
			if !ok || !okAfter {
				t.Errorf("%s of %s: the kernel has no such value", e.family, g.kind)
				continue
			}
			if want != again {
				moved++
			}
			got, ok := cycle[key{e.family, g.id, e.rest}]
			if !ok || got < min(want, again)-slack(want) || got > max(want, again)+slack(again) {
				t.Errorf("%s{%s} of %s: %v (present: %v), the kernel says %v, then %v", e.family, e.rest, g.kind, got, ok, want, again)
			}
			compared++
		}
	}
	t.Logf("%d values compared, of which %d moved although frozen", compared, moved)
	if moved*20 > compared {
		t.Errorf("%d of %d values moved: too many for a comparison", moved, compared)
	}
	compareWithCadvisor(t, cycle, groups, oracle, cadvisorValues(t))
}

// awaitStill waits until the files of frozen containers stop to change: the
// kernel sums up memory statistics every two seconds.
func awaitStill(t *testing.T, groups []*group) map[*group]files {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if !slices.ContainsFunc(groups, func(g *group) bool { return !g.frozen() }) {
			time.Sleep(3 * time.Second)
			return snapshot(groups)
		}
	}
	t.Fatal("the containers do not freeze")
	return nil
}

// different are the families whose values differ from cAdvisor's on purpose,
// with the reason. Families that are left out, and those that are absent
// where cAdvisor says 0, give their reason in collector.All.
var different = map[string]string{
	"container_last_seen":                   "the time of the reading",
	"container_memory_failures_total":       "cAdvisor fills both scopes from one number",
	"container_memory_kernel_usage":         "cAdvisor says 0 on v2, this is the kernel's number",
	"container_memory_file_dirty_bytes":     "cAdvisor says 0 on v1, this is the kernel's number",
	"container_memory_file_writeback_bytes": "cAdvisor says 0 on v1, this is the kernel's number",
	"container_oom_events_total":            "cAdvisor's library does not count them, only its program does",
	"container_creation_time_seconds":       "cAdvisor guesses from directory times in whole seconds",
	"container_start_time_seconds":          "cAdvisor guesses from directory times in whole seconds",
}

// compareWithCadvisor requires that every value that cAdvisor has for the
// frozen containers is ours, too. It is read before and after our cycle:
// memory that a processor holds in reserve for a cgroup may be given back at
// any time.
func compareWithCadvisor(t *testing.T, cycle map[key]float64, groups []*group, before, after map[key]float64) {
	t.Helper()
	versus := map[string]string{}
	for _, d := range collector.All() {
		versus[d.Name] = d.Versus
	}
	ids := map[string]bool{}
	for _, g := range groups {
		ids[g.id] = true
	}
	equal, explained := 0, map[string]int{}
	for k, want := range after {
		if !ids[k.id] {
			continue
		}
		got, ok := cycle[k]
		reason := different[k.name]
		switch {
		case ok && (math.Abs(got-want) <= slack(want) || got == before[k]):
			equal++
		case reason != "":
			explained[k.name+": "+reason]++
		case strings.HasPrefix(versus[k.name], "left out"):
			explained[k.name+": "+versus[k.name]]++
		case !ok && want == 0 && strings.HasPrefix(versus[k.name], "better: absent"):
			explained[k.name+": "+versus[k.name]]++
		case !unified() && want == 0 && strings.HasPrefix(k.name, "container_pressure_"):
			explained["container_pressure_*: cAdvisor says 0 on v1, hybrid hosts have the values"]++
		default:
			t.Errorf("%v: %v (present: %v), cAdvisor says %v", k, got, ok, want)
		}
	}
	t.Logf("%d values equal cAdvisor's; differences with a reason:", equal)
	var lines []string
	for line, n := range explained {
		lines = append(lines, fmt.Sprintf("  %4d %s", n, line))
	}
	slices.Sort(lines)
	t.Log("\n" + strings.Join(lines, "\n"))
	if equal < 20*len(groups) {
		t.Errorf("only %d values are comparable with cAdvisor's", equal)
	}
}

// checkIdentity requires the labels that the kubelet's cAdvisor gives.
func checkIdentity(t *testing.T, rec *recorder, groups []*group) {
	for _, g := range groups {
		l := rec.labelsOf(key{"container_cpu_usage_seconds_total", g.id, "cpu=total"})
		pod, _, _ := strings.Cut(g.label(), "/")
		for name, want := range map[string]string{
			"id": g.id, "namespace": "test", "pod": pod, "container": g.kind,
			"node": "test-node", "job": "cadvisor", "metrics_path": "/metrics/cadvisor", "instance": "test-node",
		} {
			if got := l.Get(name); got != want {
				t.Errorf("label %s of %s is %q, want %q", name, g.id, got, want)
			}
		}
	}
}

// checkEvents requires that what happened to the containers can be seen.
func checkEvents(t *testing.T, rec *recorder, groups []*group, first map[key]float64) {
	now := rec.cycleAfter(t, time.Now(), groups)
	grew := func(kind, family, rest string, atLeast float64) {
		t.Helper()
		g := kindOf(t, groups, kind)
		k := key{family, g.id, rest}
		if family == "container_oom_events_total" {
			k.id = g.label()
		}
		if now[k]-first[k] < atLeast {
			t.Errorf("%s{%s} of %s went from %v to %v, want at least %v more", family, rest, kind, first[k], now[k], atLeast)
		}
	}
	grew("quota", "container_cpu_cfs_throttled_periods_total", "", 5)
	grew("quota", "container_cpu_cfs_throttled_seconds_total", "", 0.1)
	grew("oom", "container_oom_events_total", "", 1)
	grew("oom", "container_memory_events_oom_kill_total", "", 1)
	if unified() {
		grew("oom", "container_memory_events_max_total", "", 1)
	} else {
		grew("oom", "container_memory_failcnt", "", 1)
	}
	grew("quota", "container_pressure_cpu_waiting_seconds_total", "", 0.1)

	io := kindOf(t, groups, "io")
	if got := now[key{"container_fs_writes_bytes_total", io.id, "device=" + diskPath}]; got < diskBlocks*blockSize {
		t.Errorf("%v bytes written to %s, want at least %v", got, diskPath, diskBlocks*blockSize)
	}
	limit := kindOf(t, groups, "limit")
	if got := now[key{"container_memory_usage_bytes", limit.id, ""}]; got < 48<<20 || got > 96<<20 {
		t.Errorf("container with 48 MiB under a limit of 96 MiB uses %v bytes", got)
	}
	quota := kindOf(t, groups, "quota")
	if periods := now[key{"container_cpu_cfs_periods_total", quota.id, ""}]; periods <= first[key{"container_cpu_cfs_periods_total", quota.id, ""}] {
		t.Errorf("no CFS period passed: %v", periods)
	}
}

// checkGone removes a container and requires staleness markers for its
// series, except for its OOM kills, which are remembered.
func checkGone(t *testing.T, rec *recorder, g *group) {
	if err := g.remove(); err != nil {
		t.Fatal(err)
	}
	usage := key{"container_cpu_usage_seconds_total", g.id, "cpu=total"}
	await(t, "a staleness marker", func() bool { return rec.stale(usage) })
	rec.cycleAfter(t, time.Now(), nil)
	rec.cycleAfter(t, time.Now(), nil)
	kills := key{"container_oom_events_total", g.label(), ""}
	if v, ok := rec.value(kills); !ok || v < 1 || rec.stale(kills) {
		t.Errorf("OOM kills of a container that is gone: %v (present: %v, stale: %v)", v, ok, rec.stale(kills))
	}
}

// await waits until condition holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
