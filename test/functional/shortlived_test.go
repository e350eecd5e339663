//go:build system

package functional

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// end is what the kernel said about a container after its process had ended.
type end struct {
	group     *group
	cpu, peak float64
}

// TestShortLived runs 100 containers of 300 ms beside a collector with an
// interval of 5 s: at least 99 leave their final CPU time and memory peak, and
// the collector counts the rest.
func TestShortLived(t *testing.T) {
	findDisk(t) // the expectations name it
	c := newCluster(t)
	rec := newRecorder()
	registry := startCollector(t, c, 5*time.Second, rec)
	rec.cycleAfter(t, time.Now(), nil)

	parallel := 4
	if inMachine() {
		parallel = 1 // one emulated processor
	}
	ends := make(chan end, containers)
	var workers sync.WaitGroup
	queue := make(chan *group)
	for range parallel {
		workers.Go(func() {
			for g := range queue {
				ends <- liveAndDie(t, c, g)
			}
		})
	}
	pod := c.newPod(t)
	for i := range containers {
		queue <- c.plan(pod, fmt.Sprintf("short-%d", i))
	}
	close(queue)
	workers.Wait()
	close(ends)

	var all []end
	for e := range ends {
		all = append(all, e)
	}
	// Everything has arrived once two more cycles have.
	rec.cycleAfter(t, time.Now(), nil)
	rec.cycleAfter(t, time.Now(), nil)
	found, worst := countFinal(t, rec, all)
	stored, missed := finals(t, registry)
	t.Logf("%d of %d containers left their final values; furthest from the kernel's: CPU %.3f ms; counted: %v stored, %v missed",
		found, len(all), worst*1e3, stored, missed)
	if found < containers-1 {
		t.Errorf("only %d of %d containers left their final values", found, containers)
	}
	// Cgroups of others may have ended meanwhile: they count too.
	if stored+missed < float64(len(all)) || float64(found)+missed < float64(len(all)) {
		t.Errorf("%d containers ended, %d left their final values, but only %v are counted as stored and %v as missed",
			len(all), found, stored, missed)
	}
}

// liveAndDie makes the cgroup, runs a process in it, reads what it used and
// removes the cgroup 10 ms later, as container runtimes do.
func liveAndDie(t testing.TB, c *cluster, g *group) end {
	if err := c.begin(g); err != nil {
		t.Error(err)
		return end{group: g}
	}
	cmd, _ := startWorker(t, g, "short 300 "+strconv.Itoa(4+len(g.kind)))
	if err := cmd.Wait(); err != nil {
		t.Error(g.kind, err)
	}
	f := snapshot([]*group{g})[g]
	e := end{group: g}
	var okCPU, okPeak bool
	for _, x := range expectations() {
		switch x.family {
		case "container_cpu_usage_seconds_total":
			e.cpu, okCPU = x.of()(f)
		case "container_memory_max_usage_bytes":
			e.peak, okPeak = x.of()(f)
		}
	}
	if !okCPU || !okPeak {
		t.Errorf("%s: the kernel does not say what it used", g.id)
	}
	time.Sleep(10 * time.Millisecond)
	if err := g.remove(); err != nil {
		t.Error(err)
	}
	return e
}

// countFinal counts the containers whose last samples are the kernel's last
// values. A process uses some CPU time while it exits and after it has been
// seen to exit, so that the times may differ by 2 ms or 2 %.
func countFinal(t testing.TB, rec *recorder, all []end) (found int, worst float64) {
	for _, e := range all {
		cpu, okCPU := rec.value(key{"container_cpu_usage_seconds_total", e.group.id, "cpu=total"})
		peak, okPeak := rec.value(key{"container_memory_max_usage_bytes", e.group.id, ""})
		off := math.Abs(cpu - e.cpu)
		if !okCPU || !okPeak || off > max(0.002, 0.02*e.cpu) || peak != e.peak {
			t.Logf("%s: CPU %v (present: %v), the kernel says %v; peak %v (present: %v), the kernel says %v",
				e.group.kind, cpu, okCPU, e.cpu, peak, okPeak, e.peak)
			continue
		}
		found++
		worst = max(worst, off)
	}
	return found, worst
}

// finals are the collector's own counts of ended cgroups.
func finals(t testing.TB, registry *prometheus.Registry) (stored, missed float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "binnacle_collector_final_samples_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			switch m.GetLabel()[0].GetValue() {
			case "stored":
				stored = m.GetCounter().GetValue()
			case "missed":
				missed = m.GetCounter().GetValue()
			}
		}
	}
	return stored, missed
}
