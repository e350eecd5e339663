//go:build system

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/test/ledger"
)

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

// ledgerDeleted deletes the folders of pods 100 ms after their last line. The
// first pod makes the folder of all pods.
func ledgerDeleted(t *testing.T) {
	f := newFleet(t, 0)
	p := newPipeline(t, f.root+"/")
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
	for i := 0; i < 3; {
		old := f.pod(len(f.logs), ledger.CRI)
		if err := old.Burst(500); err != nil {
			t.Fatal(err)
		}
		settle(t, f.entries(), func() int { return count(p.server) })
		wasDown := i > 0
		if wasDown {
			agent.stop(t, syscall.SIGKILL)
		}
		if next, again := nextRun(t, old); again {
			l, err := ledger.PodLog(f.root, next, ledger.CRI)
			if err != nil {
				t.Fatal(err)
			}
			l.Labels["cluster"] = cluster
			f.logs = append(f.logs, l)
			if err := l.Burst(100 + 600*i); err != nil { // shorter and longer than before
				t.Fatal(err)
			}
			i++
		} else if len(f.logs) > 20 {
			t.Fatal("no inode number has come again")
		}
		if wasDown {
			agent = p.startAgent(t)
		}
	}
	f.check(t, p.server)
}

// nextRun deletes a log and makes an empty one for the container's next run
// that has the same inode number. That is free once the last descriptor of
// the old one is closed; it returns false when another process was faster.
func nextRun(t testing.TB, old *ledger.Log) (next ledger.Source, again bool) {
	t.Helper()
	next = old.Source
	next.Restart++
	dir := filepath.Dir(old.Path())
	number := inode(t, old.Path())
	if err := errors.Join(os.Remove(old.Path()), old.Close()); err != nil {
		t.Fatal(err)
	}
	// Files with other numbers stay: the free ones below ours run out.
	var placeholders []string
	for begin := time.Now(); !again && time.Since(begin) < 6*time.Second; time.Sleep(20 * time.Millisecond) {
		path := filepath.Join(dir, fmt.Sprint("placeholder-", len(placeholders)))
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if again = inode(t, path) == number; !again {
			placeholders = append(placeholders, path)
			continue
		}
		if err := os.Rename(path, filepath.Join(dir, fmt.Sprint(next.Restart, ".log"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range placeholders {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return next, again
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
