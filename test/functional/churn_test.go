//go:build system

package functional

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/binnacle-obs/binnacle/storage"
)

// tally is an Appender that keeps nothing but the series that go on.
type tally struct {
	mu     sync.Mutex
	live   map[*storage.Series]struct{}
	cycles int
}

// Append implements storage.Appender.
func (a *tally) Append(_ context.Context, batch []storage.Sample) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cycles++
	for _, s := range batch {
		if !strings.HasPrefix(s.Series.Labels.Get("id"), "/kubepods/") {
			continue // other work on this machine
		}
		if value.IsStaleNaN(s.V) {
			delete(a.live, s.Series)
		} else {
			a.live[s.Series] = struct{}{}
		}
	}
	return nil
}

func (a *tally) counts() (series, cycles int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.live), a.cycles
}

// usage is what must not grow.
type usage struct {
	descriptors, goroutines, series, rssKiB int
}

func measure(t testing.TB, app *tally) usage {
	t.Helper()
	debug.FreeOSMemory()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	u := usage{goroutines: runtime.NumGoroutine()}
	for _, fd := range fds {
		// Cgroups that others make on this machine do not count.
		target, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		if !strings.HasPrefix(target, cgroupRoot) || strings.Contains(target, "/kubepods/") {
			u.descriptors++
		}
	}
	u.series, _ = app.counts()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			u.rssKiB, _ = strconv.Atoi(strings.Fields(v)[0])
		}
	}
	return u
}

// TestChurn makes and removes 500 cgroups in a loop, for 60 s or what
// BINNACLE_TEST_CHURN says, and requires that descriptors, goroutines, live
// series and memory are those of the time before once all are gone.
func TestChurn(t *testing.T) {
	duration := time.Minute
	if s := os.Getenv("BINNACLE_TEST_CHURN"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	} else if os.Getenv("CI") != "" || inMachine() {
		duration = 20 * time.Second
	}
	c := newCluster(t)
	app := &tally{live: map[*storage.Series]struct{}{}}
	startCollector(t, c, time.Second, app)
	churn(t, c) // fills caches and pools
	before := settle(t, app)
	rounds := 0
	for end := time.Now().Add(duration); time.Now().Before(end); rounds++ {
		churn(t, c)
	}
	after := settle(t, app)
	t.Logf("%d times 500 cgroups: before %+v, after %+v", rounds, before, after)
	if after.descriptors > before.descriptors+5 || after.goroutines > before.goroutines+3 {
		t.Error("descriptors or goroutines leak")
	}
	if after.series > before.series+10 {
		t.Error("series do not end")
	}
	if after.rssKiB > before.rssKiB*5/4+(16<<10) {
		t.Error("memory grows")
	}
}

// churn makes 500 cgroups, lets a cycle see them and removes them.
func churn(t testing.TB, c *cluster) {
	t.Helper()
	pod := c.newPod(t)
	groups := make([]*group, 500)
	for i := range groups {
		groups[i] = &group{id: pod.id + "/" + newID(32), kind: "churn"}
		if err := groups[i].create(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1100 * time.Millisecond)
	for _, g := range groups {
		if err := g.remove(); err != nil {
			t.Fatal(err)
		}
	}
	if err := pod.remove(); err != nil {
		t.Fatal(err)
	}
	c.pods = c.pods[:len(c.pods)-1]
}

// settle waits until the ended cgroups are forgotten and measures.
func settle(t testing.TB, app *tally) usage {
	t.Helper()
	_, from := app.counts()
	await(t, "four more cycles", func() bool {
		_, now := app.counts()
		return now >= from+4
	})
	return measure(t, app)
}
