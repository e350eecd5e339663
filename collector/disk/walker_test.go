package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// procRoot makes a proc file system with nothing but a table of mounts.
func procRoot(t *testing.T, mountinfo ...string) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "self"), 0o755))
	text := strings.Join(mountinfo, "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "self/mountinfo"), []byte(text), 0o644))
	return root
}

// run runs w until the test ends.
func run(t *testing.T, w *Walker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

func TestWatchedDirectoriesAreWalkedAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), 10_000)
	w := New(Options{Interval: time.Millisecond})
	run(t, w)
	_, ok := w.Usage("a")
	require.False(t, ok)
	w.Watch("a", dir)
	var first Usage
	eventually(t, "the first walk", func() (ok bool) { first, ok = w.Usage("a"); return ok })
	require.True(t, first.Complete)
	require.EqualValues(t, 2, first.Inodes)
	require.GreaterOrEqual(t, first.Bytes, uint64(10_000))

	write(t, filepath.Join(dir, "more"), 10_000)
	eventually(t, "a later walk", func() bool { u, _ := w.Usage("a"); return u.Inodes == 3 && u.At.After(first.At) })

	other := t.TempDir()
	w.Watch("a", other)
	eventually(t, "the other directory", func() bool { u, _ := w.Usage("a"); return u.Inodes == 1 })

	require.NoError(t, os.Remove(other))
	eventually(t, "the directory is gone", func() bool { _, ok := w.Usage("a"); return !ok })
	w.Unwatch("a")
	require.InDelta(t, 0, testutil.ToFloat64(w.metrics.watched), 0)
}

func TestWatchedKeysAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := New(Options{MaxKeys: 3, Registerer: reg})
	for i := range 5 {
		w.Watch(strconv.Itoa(i), "/tmp")
	}
	w.Watch("0", "/var") // another path for a known key is no new key
	require.Len(t, w.watched, 3)
	require.Equal(t, "/var", w.watched["0"].path)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP binnacle_disk_refused_total Directories not watched, walks and measurements not started, by reason.
# TYPE binnacle_disk_refused_total counter
binnacle_disk_refused_total{reason="keys"} 2
# HELP binnacle_disk_watched Watched directories.
# TYPE binnacle_disk_watched gauge
binnacle_disk_watched 3
`), "binnacle_disk_refused_total", "binnacle_disk_watched"))
}

func TestOptionsReachTheBudget(t *testing.T) {
	w := New(Options{EntriesPerSecond: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.NoError(t, w.spend(ctx, batch), "one batch at once")
	require.Error(t, w.spend(ctx, batch), "the next takes a minute")
}

func TestLongestDueGoesFirst(t *testing.T) {
	w := New(Options{Interval: time.Hour})
	now := time.Now()
	w.watched["late"] = &watched{path: "/late", due: now.Add(-time.Minute)}
	w.watched["later"] = &watched{path: "/later", due: now.Add(-time.Hour)}
	w.watched["soon"] = &watched{path: "/soon", due: now.Add(time.Minute)}
	k, _ := w.next(now)
	require.Equal(t, "/later", k.path)
	k, _ = w.next(now)
	require.Equal(t, "/late", k.path, "one that is being walked is not walked twice")
	k, wait := w.next(now)
	require.Nil(t, k)
	require.Equal(t, time.Minute, wait)
}

// hung is a kernel whose mounts below point never answer until released.
type hung struct {
	point   string
	release chan struct{}
	once    sync.Once
	mu      sync.Mutex
	calls   int
}

func newHung(t *testing.T, point string) *hung {
	h := &hung{point: point, release: make(chan struct{})}
	t.Cleanup(h.free)
	return h
}

func (h *hung) free() { h.once.Do(func() { close(h.release) }) }

func (h *hung) wait(path string) {
	if strings.HasPrefix(path, h.point) {
		h.mu.Lock()
		h.calls++
		h.mu.Unlock()
		<-h.release
	}
}

func (h *hung) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

func (h *hung) system() *system {
	s := newSystem()
	openIn, statfs := s.openIn, s.statfs
	s.openIn = func(root, path string) (int, error) { h.wait(path); return openIn(root, path) }
	s.statfs = func(path string, st *unix.Statfs_t) error { h.wait(path); return statfs(path, st) }
	return s
}

func TestHungMountHoldsUpOnlyItself(t *testing.T) {
	dir := t.TempDir()
	fine, nfs := filepath.Join(dir, "fine"), filepath.Join(dir, "nfs")
	write(t, filepath.Join(fine, "file"), 1)
	write(t, filepath.Join(nfs, "file"), 1)
	h := newHung(t, nfs)
	w := New(Options{
		Interval: time.Millisecond, FilesystemInterval: time.Millisecond, Timeout: time.Second, sys: h.system(),
		ProcRoot: procRoot(t, "1 0 254:0 / / rw - ext4 /dev/vda rw", "2 1 0:50 / "+nfs+" rw - nfs4 server:/export rw",
			"3 1 0:50 /sub "+nfs+"-again rw - nfs4 server:/export/sub rw"),
	})
	for i := range 20 {
		w.Watch(fmt.Sprint("hung", i), filepath.Join(nfs, strconv.Itoa(i)))
		w.Watch(fmt.Sprint("again", i), filepath.Join(nfs+"-again", strconv.Itoa(i)))
	}
	w.Watch("hung", nfs)
	w.Watch("fine", fine)
	run(t, w)
	eventually(t, "the mount is known to be stuck", func() bool { return len(w.Stuck()) > 0 })
	for range 3 {
		at := time.Now()
		eventually(t, "other walks go on", func() bool { u, ok := w.Usage("fine"); return ok && u.At.After(at) })
	}
	eventually(t, "so do the other file systems", func() bool { return len(w.Filesystems()) == 1 })
	require.Equal(t, "/dev/vda", w.Filesystems()[0].Device)
	_, ok := w.Usage("hung")
	require.False(t, ok)
	for _, s := range w.Stuck() {
		require.Contains(t, s.Mount, nfs)
		require.False(t, s.Since.IsZero())
	}
	eventually(t, "refusals are counted", func() bool {
		return testutil.ToFloat64(w.metrics.refused.WithLabelValues(reasonStuck)) > 10
	})
	// Two walkers and one statfs may have called before the first was known.
	require.LessOrEqual(t, h.count(), workers+1)
	require.LessOrEqual(t, len(w.Stuck()), workers+1)

	h.free()
	eventually(t, "it is back", func() bool { return len(w.Stuck()) == 0 })
	eventually(t, "and walked", func() bool { _, ok := w.Usage("hung"); return ok })
	eventually(t, "and measured", func() bool { return len(w.Filesystems()) == 2 })
}

func TestStuckGoroutinesAreBoundedByClass(t *testing.T) {
	w := New(Options{Timeout: time.Millisecond})
	nfs := func(i int) mount { return mount{fmt.Sprint("/nfs/", i), number(0, uint32(i)), remote} }
	release := make(chan struct{})
	var ended sync.WaitGroup
	before := runtime.NumGoroutine()
	for i := range 3 * maxStuck {
		ended.Add(1)
		err := w.guard.do(nfs(i), "statfs", func(*call) { defer ended.Done(); <-release })
		require.ErrorIs(t, err, errStuck)
		if i >= maxStuck {
			ended.Done() // it was not even begun
		}
	}
	require.Len(t, w.Stuck(), maxStuck)
	require.LessOrEqual(t, runtime.NumGoroutine(), before+maxStuck)
	require.InDelta(t, maxStuck, testutil.ToFloat64(w.metrics.stuck), 0)
	require.InDelta(t, 2*maxStuck, testutil.ToFloat64(w.metrics.refused.WithLabelValues(reasonStuckBound)), 0)
	require.NoError(t, w.guard.do(mount{point: "/", class: local}, "statfs", func(*call) {}), "local file systems have their own bound")
	close(release)
	ended.Wait()
	eventually(t, "all came back", func() bool { return len(w.Stuck()) == 0 })
	require.NoError(t, w.guard.do(nfs(0), "statfs", func(*call) {}))
}

func TestSlowIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := mount{"/", "254:0", local}
		g := newGuard(time.Second, New(Options{}).log, newMetrics(nil))
		require.NoError(t, g.do(root, "walk", func(c *call) {
			for range 20 { // answers come, slowly
				time.Sleep(900 * time.Millisecond)
				c.alive()
			}
			require.NoError(t, c.rest(func() error { // and the budget is spent for long
				time.Sleep(time.Minute)
				return nil
			}))
			time.Sleep(900 * time.Millisecond)
		}))
		require.Empty(t, g.list())
		require.ErrorIs(t, g.do(root, "walk", func(*call) { time.Sleep(1100 * time.Millisecond) }), errStuck)
		require.Len(t, g.list(), 1)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, g.list())
	})
}

func TestRunEndsWhileWalkingUnderTheBudget(t *testing.T) {
	w := New(Options{EntriesPerSecond: 1, Timeout: time.Hour})
	dir := t.TempDir()
	for i := range 4 * batch {
		write(t, filepath.Join(dir, strconv.Itoa(i)), 0)
	}
	w.Watch("a", dir)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	eventually(t, "the budget is spent", func() bool { return testutil.ToFloat64(w.metrics.entries) == batch })
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Run did not end")
	}
	require.InDelta(t, batch, testutil.ToFloat64(w.metrics.entries), 0)
}
