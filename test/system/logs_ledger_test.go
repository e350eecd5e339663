//go:build system

package system

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLogsLedger writes numbered lines and requires each of them in the embedded
// store exactly once, byte for byte, in order and with its labels, whatever
// happens on the way.
func TestLogsLedger(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"agent and server", ledgerPlain},
		{"run", ledgerRun},
		{"kill the agent", ledgerKillAgent},
		{"kill the server", ledgerKillServer},
		{"rotate every 50 ms", ledgerRotate},
		{"rotate within long lines", ledgerRotateWithin},
		{"rotate while the agent is down", ledgerRotateDown},
		{"copy and truncate", ledgerCopyTruncate},
		{"full disk", ledgerFullDisk},
		{"folder deleted", ledgerDeleted},
		{"inode reused", ledgerInode},
		{"outage", ledgerOutage},
		{"two servers", ledgerTwoServers},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

// pipeline is an agent that sends to a server with the embedded store.
type pipeline struct {
	server, agent string   // addresses
	serverArgs    []string // to start them again
	agentArgs     []string
}

// newPipeline makes the arguments; nothing runs yet.
func newPipeline(t testing.TB, root string) *pipeline {
	p := &pipeline{server: address(t), agent: address(t)}
	p.serverArgs = []string{"server", "--data-dir", t.TempDir()}
	p.agentArgs = agentArgs(root, t.TempDir(), "--server", "http://"+p.server)
	return p
}

func (p *pipeline) startServer(t testing.TB) *process {
	t.Helper()
	return binnacle(t, p.server, p.serverArgs...)
}

func (p *pipeline) startAgent(t testing.TB) *process {
	t.Helper()
	return binnacle(t, p.agent, p.agentArgs...)
}

func ledgerPlain(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startServer(t)
	f.writeFor(time.Second, pace{50, 50 * time.Millisecond}) // the agent finds files that are there
	p.startAgent(t)
	f.writeFor(5*time.Second, pace{400, 400 * time.Millisecond})
	f.check(t, p.server)
}

func ledgerRun(t *testing.T) {
	f, addr := newFleet(t, 20), address(t)
	f.writeFor(time.Second, pace{50, 50 * time.Millisecond})
	dir := t.TempDir()
	args := []string{"run", "--data-dir", dir, "--logs", f.root, "--cluster-name", cluster}
	p := binnacle(t, addr, args...)
	f.writeFor(3*time.Second, pace{400, 400 * time.Millisecond})
	f.check(t, addr)

	// What was stored is there after an end with notice and one without.
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		f.writeFor(time.Second, pace{400, 400 * time.Millisecond})
		p.stop(t, signal)
		f.writeFor(time.Second, pace{100, 400 * time.Millisecond})
		p = binnacle(t, addr, args...)
	}
	f.check(t, addr)
}

// killed starts a program again and again and kills it at random moments, some
// of them while it starts.
func killed(t testing.TB, addr string, args []string) {
	t.Helper()
	for i := range kills {
		p := start(t, nil, build+"/binnacle", append(args, "--listen", addr)...)
		if i%4 != 0 {
			p.awaitReady(t, "http://"+addr+"/-/ready")
		}
		time.Sleep(rand.N(time.Second))
		p.stop(t, syscall.SIGKILL)
	}
}

func ledgerKillAgent(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startServer(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.write(ctx, pace{200, 800 * time.Millisecond})
	f.rotate(ctx, 3*time.Second, 1000)
	killed(t, p.agent, p.agentArgs)
	p.startAgent(t)
	cancel()
	f.wg.Wait()
	f.check(t, p.server)
}

func ledgerKillServer(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startAgent(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.write(ctx, pace{200, 800 * time.Millisecond})
	killed(t, p.server, p.serverArgs)
	p.startServer(t)
	cancel()
	f.wg.Wait()
	f.check(t, p.server)
}

// ledgerFullDisk fills the server's disk for BINNACLE_TEST_FULL_DISK (5 s).
func ledgerFullDisk(t *testing.T) {
	full := length(t, "BINNACLE_TEST_FULL_DISK", 5*time.Second)
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.serverArgs = []string{"server", "--data-dir", filepath.Join(dir, "data")}
	p.startServer(t)
	p.startAgent(t)
	f.writeFor(2*time.Second, pace{200, 400 * time.Millisecond})
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	f.writeFor(full, pace{100, 400 * time.Millisecond})
	stored := count(p.server)
	if stored >= f.entries() {
		t.Errorf("all %d records are stored on a full disk", stored)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.writeFor(time.Second, pace{200, 400 * time.Millisecond})
	f.check(t, p.server)
}

// fill takes all that is free on a disk.
func fill(t testing.TB, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// ledgerOutage stops the server for a while; the agent waits with what it has
// read, in bounded memory.
func ledgerOutage(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	server := p.startServer(t)
	p.startAgent(t)
	f.writeFor(time.Second, pace{200, 200 * time.Millisecond})
	server.stop(t, syscall.SIGTERM)
	f.writeFor(length(t, "BINNACLE_TEST_LOGS_OUTAGE", 5*time.Second), pace{100, 400 * time.Millisecond})
	p.startServer(t)
	f.check(t, p.server)
}

// ledgerTwoServers sends to a pair of servers. While one is down the other
// gets everything without delay; the first catches up.
func ledgerTwoServers(t *testing.T) {
	f := newFleet(t, 10)
	p := newPipeline(t, f.root)
	second := newPipeline(t, f.root)
	p.agentArgs = append(p.agentArgs, "--server", "http://"+second.server)
	p.startServer(t)
	down := second.startServer(t)
	agent := p.startAgent(t)
	f.writeFor(time.Second, pace{200, 200 * time.Millisecond})
	down.stop(t, syscall.SIGKILL)
	f.writeFor(3*time.Second, pace{400, 100 * time.Millisecond})
	f.check(t, p.server)
	agent.stop(t, syscall.SIGKILL) // the positions of the two are far apart
	p.startAgent(t)
	f.writeFor(time.Second, pace{200, 200 * time.Millisecond})
	f.check(t, p.server)
	second.startServer(t)
	f.check(t, second.server)
}

// length is how long a fault lasts: short, unless an environment variable
// says otherwise.
func length(t testing.TB, name string, short time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return short
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}
