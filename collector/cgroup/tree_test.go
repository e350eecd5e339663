package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	put(t, file, "")
	for name, root := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "no"), "a file": file, "empty": t.TempDir(),
	} {
		_, err := Open(Options{Root: root, ProcRoot: t.TempDir()})
		require.ErrorContains(t, err, root, name)
		require.ErrorContains(t, err, "--cgroup-root", name)
	}
}

// A root or a hierarchy that may not be read is named.
func TestOpenUnreadable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("gives up root's right to read everything")
	}
	root := writeTree(t, map[string]string{"memory/cgroup.procs": "1\n"})
	require.NoError(t, os.Chmod(root+"/memory", 0o311))
	require.NoError(t, os.Chmod(root, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o755)) // the test's own folder
	// The file system user of this thread alone becomes nobody. The thread is
	// not given back, because the goroutine ends locked.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			done <- err
			return
		}
		_, err := detect(root, "/nonexistent")
		done <- err
	}()
	err := <-done
	if err != nil && strings.Contains(err.Error(), root+":") {
		t.Skip("the temporary directory itself is not open to others")
	}
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, root+"/memory")
	require.ErrorContains(t, err, "--cgroup-root")
}

func TestUnifiedElsewhere(t *testing.T) {
	root := writeTree(t, map[string]string{
		"cg/one/cgroup.procs": "1\n", "cg/one/a/memory.usage_in_bytes": "5\n",
		"other two/cgroup.controllers": "\n", "other two/a/cpu.stat": "usage_usec 1\n",
	})
	mounts := fmt.Sprintf("35 31 0:32 / %s/cg/one rw - cgroup cgroup rw,memory\n36 31 0:33 / %s/other\\040two rw shared:1 - cgroup2 cgroup2 rw\nbad\n", root, root)
	put(t, root+"/proc/self/mountinfo", mounts)
	tree := openTree(t, Options{Root: root + "/cg", ProcRoot: root + "/proc"})
	require.Equal(t, Hybrid, tree.Version(), "the mount table says what the name does not")
	var s Stats
	require.NoError(t, mustGet(t, tree, "/a").Read(&s, SetDefault))
	require.Equal(t, SetCPU|SetMemory, s.Read)
	// Another tree is not mixed with it.
	copied := writeTree(t, map[string]string{"memory/cgroup.procs": "1\n"})
	require.Equal(t, V1, openTree(t, Options{Root: copied, ProcRoot: root + "/proc"}).Version())
}

// The bound of descriptors costs speed, not values.
func TestDescriptorBound(t *testing.T) {
	root := v2Tree(t, "/a")
	const bound = 8
	tree := openTree(t, Options{Root: root, MaxDescriptors: bound})
	var s Stats
	for range 3 {
		require.NoError(t, mustGet(t, tree, "/a").Read(&s, SetDefault))
		require.Equal(t, SetDefault, s.Read)
		require.Equal(t, uint64(32e3), s.PSI.IO.Full)
	}
	c := tree.Counters()
	require.Equal(t, bound, c.MaxDescriptors)
	require.Equal(t, bound-bound/8, c.Descriptors)
	require.Positive(t, c.UnkeptReads)
}

func TestDefaultDescriptors(t *testing.T) {
	n := defaultDescriptors()
	require.Positive(t, n)
	require.LessOrEqual(t, n, maxDescriptors)
}

// Beyond the bound of watches walking finds what comes and goes.
func TestWatchBound(t *testing.T) {
	root := v2Tree(t, "/a")
	tree := openTree(t, Options{Root: root})
	tree.loop.in.max = tree.Counters().Watches
	rec := newRecorder()
	run(t, tree, rec)
	eventually(t, "running", func() bool { a, _, _ := rec.counts("/a"); return a == 1 })
	put(t, root+"/b/cpu.stat", "usage_usec 1\n")
	eventually(t, "b", func() bool { a, _, _ := rec.counts("/b"); return a == 1 })
	eventually(t, "refusal", func() bool { return tree.Counters().WatchesRefused > 0 })
	put(t, root+"/b/c/cpu.stat", "usage_usec 1\n")
	eventually(t, "a child that no watch tells of", func() bool { a, _, _ := rec.counts("/b/c"); return a == 1 })
	require.Positive(t, tree.Counters().Rescans)
	require.LessOrEqual(t, tree.Counters().Watches, tree.loop.in.max)
}

// Lost events are answered by a walk that finds what was missed.
func TestOverflow(t *testing.T) {
	root := v2Tree(t, "/a")
	tree := openTree(t, Options{Root: root})
	rec := newRecorder()
	tree.loop.handler = rec
	require.True(t, tree.loop.notified(event{wd: -1, mask: unix.IN_Q_OVERFLOW}))
	put(t, root+"/b/cpu.stat", "usage_usec 1\n")
	require.NoError(t, os.RemoveAll(root+"/a"))
	tree.loop.rescanAll("test")
	require.Equal(t, []string{"/", "/b"}, ids(tree.Groups(nil)))
	require.Equal(t, 1, rec.removed["/a"])
	require.Equal(t, 1, rec.added["/b"])
}

// A link to the root is as good as the root.
func TestLinkedRoot(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(v2Tree(t, "/a"), link))
	require.Equal(t, []string{"/", "/a"}, ids(openTree(t, Options{Root: link}).Groups(nil)))
}

// Events of a plain file tree: emptied by cgroup.events, directories made
// parent and child at once, removal.
func TestFollowPlainTree(t *testing.T) {
	root := v2Tree(t, "/a")
	tree := openTree(t, Options{Root: root, RescanInterval: time.Hour})
	rec := newRecorder()
	run(t, tree, rec)
	eventually(t, "running", func() bool { a, _, _ := rec.counts("/a"); return a == 1 })
	put(t, root+"/p/q/r/cpu.stat", "usage_usec 1\n")
	eventually(t, "nested", func() bool { a, _, _ := rec.counts("/p/q/r"); return a == 1 })
	put(t, root+"/a/cgroup.events", "populated 0\nfrozen 0\n")
	eventually(t, "emptied", func() bool { _, e, _ := rec.counts("/a"); return e == 1 })
	require.NoError(t, os.RemoveAll(root+"/p"))
	eventually(t, "removed", func() bool { _, _, r := rec.counts("/p"); return r == 1 })
	_, _, r := rec.counts("/p/q/r")
	require.Equal(t, 1, r)
	require.Equal(t, []string{"/", "/a"}, ids(tree.Groups(nil)))
}

// The same path removed and made again is another group.
func TestMadeAgain(t *testing.T) {
	root := v2Tree(t, "/a")
	tree := openTree(t, Options{Root: root})
	old := mustGet(t, tree, "/a")
	// Renaming keeps the inode from being used again.
	require.NoError(t, os.Rename(root+"/a", filepath.Join(t.TempDir(), "a")))
	put(t, root+"/a/cpu.stat", "usage_usec 1\n")
	tree.loop.rescanAll("test")
	again := mustGet(t, tree, "/a")
	require.NotSame(t, old, again)
	var s Stats
	require.ErrorIs(t, old.Read(&s, SetDefault), ErrGone)
	require.NoError(t, again.Read(&s, SetDefault))
}

// The news that a directory is gone may overtake that of those below it.
func TestGoneFromTheTop(t *testing.T) {
	root := v2Tree(t, "/a")
	put(t, root+"/a/b/c/cpu.stat", "usage_usec 1\n")
	put(t, root+"/a-b/cpu.stat", "usage_usec 1\n")
	tree := openTree(t, Options{Root: root})
	rec := newRecorder()
	tree.loop.handler = rec
	require.Equal(t, []string{"/", "/a", "/a-b", "/a/b", "/a/b/c"}, ids(tree.Groups(nil)))
	require.NoError(t, os.RemoveAll(root+"/a"))
	tree.loop.gone(0, "/a")
	require.Equal(t, []string{"/", "/a-b"}, ids(tree.Groups(nil)))
	require.Equal(t, map[string]int{"/a": 1, "/a/b": 1, "/a/b/c": 1}, rec.removed)
	require.Equal(t, 2, tree.Counters().Watches)
}

// A controller that is enabled after the group was read for the first time
// is not taken to be missing.
func TestLateFiles(t *testing.T) {
	root := v2Tree(t, "/a")
	require.NoError(t, os.Rename(root+"/a/memory.current", root+"/a/later"))
	tree := openTree(t, Options{Root: root})
	g := mustGet(t, tree, "/a")
	var s Stats
	require.NoError(t, g.Read(&s, SetMemory))
	require.Equal(t, None, s.Memory.Usage)
	require.NoError(t, os.Rename(root+"/a/later", root+"/a/memory.current"))
	require.NoError(t, g.Read(&s, SetMemory))
	require.Equal(t, uint64(1048576), s.Memory.Usage)
}

func TestClose(t *testing.T) {
	before := openFDs(t)
	tree, err := Open(Options{Root: v2Tree(t, "/a"), ProcRoot: "/nonexistent"})
	require.NoError(t, err)
	g := mustGet(t, tree, "/a")
	var s Stats
	require.NoError(t, g.Read(&s, SetDefault))
	require.Greater(t, openFDs(t), before)
	done := make(chan error)
	rec := newRecorder()
	go func() { done <- tree.Run(t.Context(), rec) }()
	eventually(t, "running", func() bool { a, _, _ := rec.counts("/a"); return a == 1 })
	require.NoError(t, tree.Close())
	require.NoError(t, <-done)
	require.NoError(t, tree.Close())
	require.ErrorIs(t, g.Read(&s, SetDefault), ErrGone)
	require.Error(t, tree.Run(t.Context(), rec))
	require.Equal(t, before, openFDs(t))
	require.Zero(t, tree.Counters().Descriptors)
}

// A process without descriptors left does not take groups to be empty.
func TestNoDescriptorLeft(t *testing.T) {
	root := writeTree(t, map[string]string{
		"memory/cgroup.procs": "1\n", "memory/a/cgroup.procs": fmt.Sprintf("%d\n", os.Getpid()),
	})
	tree := openTree(t, Options{Root: root})
	rec := newRecorder()
	tree.loop.handler = rec
	g := mustGet(t, tree, "/a")
	tree.loop.check(g, "test")
	require.True(t, g.watch.alive)

	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	tree.loop.check(g, "test")
	_, err := g.Pids(nil)
	var s Stats
	readErr := g.Read(&s, SetProcs)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))

	require.ErrorIs(t, err, unix.EMFILE)
	require.NoError(t, readErr)
	require.Zero(t, s.Read)
	require.Positive(t, tree.Counters().NoDescriptor)
	require.True(t, g.watch.alive)
	require.Empty(t, rec.emptied)
	put(t, root+"/memory/a/cgroup.procs", "")
	tree.loop.check(g, "test")
	require.Equal(t, 1, rec.emptied["/a"])
}

func TestVersionString(t *testing.T) {
	require.Equal(t, []string{"v1", "v2", "hybrid", "unknown"}, []string{V1.String(), V2.String(), Hybrid.String(), Version(0).String()})
}

// Without any sign that it was written to, configuration is looked at again
// after a while, and so are absent files of a group that is no longer young.
func TestSeldom(t *testing.T) {
	root := v2Tree(t, "/a")
	require.NoError(t, os.Rename(root+"/a/pids.peak", root+"/a/later"))
	tree := openTree(t, Options{Root: root})
	g := mustGet(t, tree, "/a")
	g.found = time.Time{}
	var s Stats
	read := func() {
		t.Helper()
		require.NoError(t, g.Read(&s, SetDefault))
		require.Equal(t, SetDefault, s.Read)
	}
	read()
	put(t, root+"/a/memory.max", "4096\n")
	put(t, root+"/a/pids.max", "5\n")
	require.NoError(t, os.Rename(root+"/a/later", root+"/a/pids.peak"))
	read()
	require.Equal(t, []uint64{None, None, None}, []uint64{s.Spec.MemoryLimit, s.Pids.Max, s.Pids.Peak})
	g.seldomAt, g.probeAt = time.Now(), time.Now()
	read()
	require.Equal(t, []uint64{4096, 5, 7}, []uint64{s.Spec.MemoryLimit, s.Pids.Max, s.Pids.Peak})
}
