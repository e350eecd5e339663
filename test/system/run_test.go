//go:build system

package system

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// TestRun starts binnacle without configuration and looks at the machine and
// at two busy processes.
func TestRun(t *testing.T) {
	addr := address(t)
	begin := time.Now()
	binnacle(t, addr, "run", "--data-dir", t.TempDir(), "--interval", "1s")
	t.Logf("ready after %v", time.Since(begin).Round(time.Millisecond))

	for _, expr := range []string{"count(container_memory_working_set_bytes)", "node_load1"} {
		await(t, expr, func() bool { return len(query(t, addr, expr, time.Time{})) == 1 })
	}
	t.Logf("first answers after %v", time.Since(begin).Round(time.Millisecond))

	full, half := newBurner(t, "full", 0), newBurner(t, "half", 50_000)
	time.Sleep(3 * time.Second) // both are seen
	at := time.Now()
	fullBefore, halfBefore := full.used(t), half.used(t)
	time.Sleep(33 * time.Second)
	seconds := time.Since(at).Seconds()
	// What the kernel gave them is the truth: a machine with other work may
	// not give a whole core.
	compareRate(t, addr, full, (full.used(t)-fullBefore)/seconds, 0.05)
	compareRate(t, addr, half, (half.used(t)-halfBefore)/seconds, 0.10)
	if r := rate(t, addr, "container_cpu_cfs_throttled_periods_total", half); r <= 0 {
		t.Errorf("throttled periods under a quota rise by %v a second", r)
	}
}

func rate(t testing.TB, addr, family string, b *burner) float64 {
	t.Helper()
	expr := fmt.Sprintf("rate(%s{id=%q}[30s])", family, b.id)
	got := query(t, addr, expr, time.Time{})
	if len(got) != 1 {
		t.Fatalf("%s has %d results", expr, len(got))
	}
	return got[0].Value.number()
}

// compareRate requires that the rate of CPU time is the kernel's, and 1 or the
// quota wherever the machine has given that much.
func compareRate(t testing.TB, addr string, b *burner, truth, tolerance float64) {
	t.Helper()
	got := rate(t, addr, "container_cpu_usage_seconds_total", b)
	t.Logf("%s: rate %.4f, the kernel says %.4f", b.id, got, truth)
	if math.Abs(got-truth) > tolerance*truth {
		t.Errorf("%s: rate %.4f is not within %v %% of the kernel's %.4f", b.id, got, tolerance*100, truth)
	}
}
