package tail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFollow(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(10)
	r.start()
	r.waitRecords(10)
	a.write(10)
	r.waitRecords(20)
	b := newApp(t, "b", filepath.Join(r.container("web", "app"), "0.log"))
	b.write(5)
	r.requireLines(a, b)
	rec := r.sink.all()[0]
	require.Equal(t, `{container="app", namespace="shop", node="node-1", pod="cart", restart="0", stream="stdout", uid="uid-cart"}`,
		rec.Stream.Labels.String())
	require.Equal(t, clockTick.UnixNano(), rec.Time)
	require.Zero(t, rec.Offset)
}

// storm writes, rotates, compresses and deletes at full speed.
func storm(t *testing.T, a *app, duration time.Duration, temporary bool) {
	end := time.Now().Add(duration)
	var compressing sync.WaitGroup
	for i := 0; time.Now().Before(end); i++ {
		next := time.Now().Add(50 * time.Millisecond)
		for time.Now().Before(next) {
			a.write(20)
		}
		to := fmt.Sprintf("%s.20261127-%06d", a.path, i)
		a.rotate(to)
		compressing.Wait()
		compressing.Go(func() { compress(t, to, temporary) })
	}
	compressing.Wait()
	a.write(3)
}

func TestRotationStorm(t *testing.T) {
	for _, temporary := range []bool{true, false} {
		t.Run(fmt.Sprintf("temporary=%t", temporary), func(t *testing.T) {
			r := newRig(t, ackLate)
			a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
			b := newApp(t, "b", filepath.Join(r.container("web", "app"), "0.log"))
			r.start()
			var writing sync.WaitGroup
			writing.Go(func() { storm(t, a, 700*time.Millisecond, temporary) })
			writing.Go(func() { storm(t, b, 700*time.Millisecond, temporary) })
			writing.Wait()
			r.requireLines(a, b)
			require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
		})
	}
}

func TestCrashesAtRandomMoments(t *testing.T) {
	r := newRig(t, ackLate)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	var writing sync.WaitGroup
	writing.Go(func() { storm(t, a, 1500*time.Millisecond, true) })
	for range 12 {
		for range rand.IntN(10) {
			time.Sleep(10 * time.Millisecond)
			r.sink.ackSome(false)
		}
		r.crash()
		r.start()
	}
	writing.Wait()
	r.requireLines(a)
}

func TestFolderDeletedAfterLastWrite(t *testing.T) {
	r := newRig(t, ackLate)
	r.start()
	var apps []*app
	for i := range 20 {
		pod := fmt.Sprintf("job-%d", i)
		a := newApp(t, pod, filepath.Join(r.container(pod, "app"), "0.log"))
		a.write(100)
		apps = append(apps, a)
	}
	// On a machine with other load the kernel's event may take longer than the
	// 100 ms that a kubelet leaves: the test must not depend on it.
	for _, a := range apps {
		r.wait("the file is open", func() bool { return r.holds(a.path, 1) })
		require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(a.path))))
	}
	r.requireLines(apps...)
	r.wait("files closed", func() bool { return len(r.tailer.Files()) == 0 })
	r.wait("positions dropped", func() bool { return len(r.tailer.keeper.unclaimed()) == 0 })
	require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
}

// TestFolderThatComesLater starts without the folder of all pods, and without
// that of a glob. Neither waits for the rescan.
func TestFolderThatComesLater(t *testing.T) {
	r := newRig(t, ackLate)
	later, plain := r.dir+"-later", filepath.Join(filepath.Dir(r.dir), "plain")
	r.opts.PodLogs = []string{later, r.dir}
	r.opts.Globs, r.opts.Rescan = []string{filepath.Join(plain, "*.log")}, time.Hour
	old := newApp(t, "old", filepath.Join(r.container("old", "app"), "0.log"))
	old.write(1)
	r.start()
	r.waitRecords(1) // the folders have been looked for
	r.dir = later
	a := newApp(t, "first", filepath.Join(r.container("first", "app"), "0.log"))
	a.write(100)
	require.NoError(t, os.Mkdir(plain, 0o755))
	b := newApp(t, "plain", filepath.Join(plain, "b.log"))
	b.line = func(_ int, text string) string { return text + "\n" }
	b.write(100)
	r.requireLines(old, a, b)
}
