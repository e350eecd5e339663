//go:build system

package system

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

// kills is how often a process is killed at a random moment.
const kills = 20

// TestKillServer kills the server while samples come in: every sample that it
// acknowledged is found at the end.
func TestKillServer(t *testing.T) {
	addr, dir := address(t), t.TempDir()
	acknowledged := map[int64]bool{}
	const width = 50 // series a request
	for range kills {
		p := binnacle(t, addr, "server", "--data-dir", dir)
		kill := time.After(time.Duration(100+rand.IntN(900)) * time.Millisecond)
		killed := make(chan struct{})
		go func() {
			<-kill
			p.signal(syscall.SIGKILL)
			close(killed)
		}()
		for {
			at := time.Now()
			status, err := remoteWrite(addr, "acknowledged", width, at, 1)
			if err != nil {
				break
			}
			if status/100 != 2 {
				t.Fatalf("remote write: status %d", status)
			}
			acknowledged[at.UnixMilli()] = true
		}
		<-killed
		<-p.ended
	}
	binnacle(t, addr, "server", "--data-dir", dir)
	result := query(t, addr, "acknowledged[1h]", time.Time{})
	if len(result) != width {
		t.Fatalf("%d series found of %d", len(result), width)
	}
	lost := 0
	for _, s := range result {
		found := map[int64]bool{}
		for _, p := range s.Values {
			found[int64(p.T*1000+0.5)] = true
		}
		for at := range acknowledged {
			if !found[at] {
				lost++
			}
		}
	}
	t.Logf("%d kills, %d samples acknowledged, %d lost", kills, len(acknowledged)*width, lost)
	if lost > 0 || len(acknowledged) < kills {
		t.Errorf("%d of %d acknowledged samples are lost", lost, len(acknowledged)*width)
	}
}

// period is a time in which a process was not there.
type period struct{ from, to time.Time }

// TestKillAgent kills the agent at random moments: its series have no gap but
// while it was down.
func TestKillAgent(t *testing.T) {
	server, agent, dir := address(t), address(t), t.TempDir()
	binnacle(t, server, "server", "--data-dir", t.TempDir())
	args := []string{"agent", "--data-dir", dir, "--server", "http://" + server, "--interval", "1s"}
	var down []period
	p := binnacle(t, agent, args...)
	for range kills {
		time.Sleep(time.Duration(1500+rand.IntN(1500)) * time.Millisecond)
		from := time.Now()
		p.stop(t, syscall.SIGKILL)
		p = binnacle(t, agent, args...)
		down = append(down, period{from, time.Now()})
	}
	time.Sleep(3 * time.Second)
	checkGaps(t, server, down)
}

// TestOutage stops the server for BINNACLE_TEST_OUTAGE (30 s): the agent
// catches up and there is no gap.
func TestOutage(t *testing.T) {
	outage := 30 * time.Second
	if s := os.Getenv("BINNACLE_TEST_OUTAGE"); s != "" {
		var err error
		if outage, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	server, agent, dir := address(t), address(t), t.TempDir()
	p := binnacle(t, server, "server", "--data-dir", dir)
	binnacle(t, agent, "agent", "--data-dir", t.TempDir(), "--server", "http://"+server, "--interval", "1s")
	time.Sleep(5 * time.Second)
	p.stop(t, syscall.SIGTERM)
	time.Sleep(outage)
	binnacle(t, server, "server", "--data-dir", dir)
	back := time.Now()
	await(t, "a sample from after the outage", func() bool {
		s := query(t, server, `timestamp(container_cpu_usage_seconds_total{id="/"})`, time.Time{})
		return len(s) == 1 && s[0].Value.number() > float64(back.Unix()+2)
	})
	checkGaps(t, server, nil)
}

// checkGaps requires samples of the machine's CPU usage each second, except
// for the periods and two seconds after them.
func checkGaps(t testing.TB, addr string, down []period) {
	t.Helper()
	var times []time.Time
	await(t, "the agent's samples", func() bool {
		times = nil
		for _, s := range query(t, addr, `container_cpu_usage_seconds_total{id="/"}[1h]`, time.Time{}) {
			for _, p := range s.Values {
				times = append(times, time.UnixMilli(int64(p.T*1000)))
			}
		}
		return len(times) > 0 && time.Since(times[len(times)-1]) < 3*time.Second
	})
	gaps := 0
	for i := 1; i < len(times); i++ {
		if times[i].Sub(times[i-1]) < 2500*time.Millisecond || covered(times[i-1], times[i], down) {
			continue
		}
		gaps++
		t.Errorf("no sample between %s and %s", times[i-1].Format(time.StampMilli), times[i].Format(time.StampMilli))
	}
	t.Logf("%d samples in %v, %d gaps beside %d times down", len(times), times[len(times)-1].Sub(times[0]), gaps, len(down))
}

// covered tells whether one of the periods explains the gap.
func covered(from, to time.Time, down []period) bool {
	for _, d := range down {
		if !d.from.Before(from.Add(-time.Second)) && !d.to.After(to.Add(time.Second)) {
			return to.Sub(from) <= d.to.Sub(d.from)+3*time.Second
		}
	}
	return false
}
