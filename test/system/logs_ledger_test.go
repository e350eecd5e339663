//go:build system

package system

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/test/ledger"
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

// ledgerRotate keeps as many generations as the reader may need on a slow
// machine; a real kubelet rotates some thousand times less often.
func ledgerRotate(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startServer(t)
	p.startAgent(t)
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	f.write(ctx, pace{100, 200 * time.Millisecond})
	f.rotate(ctx, 50*time.Millisecond, 1000)
	f.wg.Wait()
	f.check(t, p.server)
}

// ledgerRotateWithin rotates between the parts of long lines, as containerd
// does: what it has of a line goes to the old file, the rest to the new one.
func ledgerRotateWithin(t *testing.T) {
	f := newFleet(t, 4)
	p := newPipeline(t, f.root)
	p.startServer(t)
	agent := p.startAgent(t)
	for round := range 8 {
		f.writeFor(300*time.Millisecond, pace{100, 100 * time.Millisecond})
		if round%4 == 3 {
			agent.stop(t, syscall.SIGKILL)
		}
		for _, l := range f.logs {
			if err := l.Rotate(1000, true); err != nil {
				t.Fatal(err)
			}
		}
		if round%4 == 3 {
			agent = p.startAgent(t)
		}
	}
	f.check(t, p.server)
}

// ledgerRotateDown rotates and compresses files that the agent has read in
// part, and new ones that it has never seen.
func ledgerRotateDown(t *testing.T) {
	f := newFleet(t, 8)
	p := newPipeline(t, f.root)
	p.startServer(t)
	for round := range 4 {
		agent := p.startAgent(t)
		f.writeFor(700*time.Millisecond, pace{200, 100 * time.Millisecond})
		agent.stop(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[round%2])
		for range round + 1 {
			f.writeFor(100*time.Millisecond, pace{100, 100 * time.Millisecond})
			for _, l := range f.logs {
				if err := l.Rotate(1000, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.pod(100+round, ledger.CRI)
	}
	p.startAgent(t)
	f.check(t, p.server)
}

// ledgerCopyTruncate rotates plain files by copy and truncation while nothing
// is written and all is read.
func ledgerCopyTruncate(t *testing.T) {
	f := &fleet{t: t, root: t.TempDir()}
	for _, name := range []string{"cart.log", "billing.log", "syslog"} {
		l, err := ledger.PlainLog(filepath.Join(f.root, name), ledger.Source{Container: name})
		if err != nil {
			t.Fatal(err)
		}
		l.Labels["cluster"] = cluster
		f.logs = append(f.logs, l)
	}
	p := newPipeline(t, filepath.Join(f.root, "*log"))
	p.startServer(t)
	agent := p.startAgent(t)
	for round := range 5 {
		f.writeFor(300*time.Millisecond, pace{300, 100 * time.Millisecond})
		settle(t, f.entries(), func() int { return count(p.server) })
		if round == 3 { // the copy and the truncation are found at the start
			agent.stop(t, syscall.SIGKILL)
		}
		for _, l := range f.logs {
			if err := l.CopyTruncate(9); err != nil {
				t.Fatal(err)
			}
		}
		if round == 3 {
			p.startAgent(t)
		}
	}
	f.writeFor(300*time.Millisecond, pace{300, 100 * time.Millisecond})
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

// ledgerDeleted deletes the folders of pods 100 ms after their last line.
func ledgerDeleted(t *testing.T) {
	f := newFleet(t, 2)
	p := newPipeline(t, f.root)
	p.startServer(t)
	p.startAgent(t)
	for i := range 30 {
		l := f.pod(10+i, ledger.CRI)
		if err := l.Burst(1000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if err := l.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	f.check(t, p.server)
}

// ledgerInode gives the log of a container's next run the inode number that
// the deleted one of its run before had, while the agent runs and while it is
// down.
func ledgerInode(t *testing.T) {
	f := newFleet(t, 1)
	p := newPipeline(t, f.root)
	p.startServer(t)
	agent := p.startAgent(t)
	for i := range 5 {
		old := f.pod(10+i, ledger.CRI)
		if err := old.Burst(500); err != nil {
			t.Fatal(err)
		}
		settle(t, f.entries(), func() int { return count(p.server) })
		if i > 2 {
			agent.stop(t, syscall.SIGKILL)
		}
		l, err := ledger.PodLog(f.root, nextRun(t, old), ledger.CRI)
		if err != nil {
			t.Fatal(err)
		}
		l.Labels["cluster"] = cluster
		f.logs = append(f.logs, l)
		if err := l.Burst(100 + 300*i); err != nil { // shorter and longer than before
			t.Fatal(err)
		}
		if i > 2 {
			agent = p.startAgent(t)
		}
	}
	f.check(t, p.server)
}

// nextRun deletes a log and makes an empty one for the container's next run
// that has the same inode number. That is free once the last descriptor of
// the old one is closed.
func nextRun(t testing.TB, old *ledger.Log) ledger.Source {
	t.Helper()
	next := old.Source
	next.Restart++
	dir := filepath.Dir(old.Path())
	number := inode(t, old.Path())
	if err := errors.Join(os.Remove(old.Path()), old.Close()); err != nil {
		t.Fatal(err)
	}
	var placeholders []string
	await(t, "an inode number to come again", func() bool {
		// Files with other numbers stay: the free ones below ours run out.
		path := filepath.Join(dir, fmt.Sprint("placeholder-", len(placeholders)))
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if inode(t, path) == number {
			if err := os.Rename(path, filepath.Join(dir, fmt.Sprint(next.Restart, ".log"))); err != nil {
				t.Fatal(err)
			}
			return true
		}
		placeholders = append(placeholders, path)
		return false
	})
	for _, path := range placeholders {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return next
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
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
	f.writeFor(length(t, "BINNACLE_TEST_LOGS_OUTAGE", 5*time.Second), pace{300, 400 * time.Millisecond})
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
