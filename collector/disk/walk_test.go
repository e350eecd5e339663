package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// newWalk is a walk with default bounds and no budget.
func newWalk() *walk {
	return &walk{
		sys: newSystem(), call: &call{}, metrics: newMetrics(nil),
		spend:    func(ctx context.Context, _ int) error { return ctx.Err() },
		maxDepth: defaultMaxDepth, maxEntries: defaultMaxEntries,
	}
}

func write(t *testing.T, path string, size int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	if size > 0 {
		_, err = f.Write(make([]byte, size))
		require.NoError(t, err)
		require.NoError(t, f.Sync()) // delayed allocation would change its blocks later
	}
}

// du is what coreutils finds.
func du(t *testing.T, path string, arg ...string) uint64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "du", append(arg, "-sx", path)...).Output()
	if err != nil {
		t.Skipf("no du to compare with: %v", err)
	}
	v, err := strconv.ParseUint(strings.Fields(string(out))[0], 10, 64)
	require.NoError(t, err)
	return v
}

// messy makes a tree of everything that a container may leave behind.
func messy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/c/file"), 100_000)
	write(t, filepath.Join(dir, "with\nnewline/x\ny"), 5000)
	write(t, filepath.Join(dir, "linked"), 300_000)
	require.NoError(t, os.Link(filepath.Join(dir, "linked"), filepath.Join(dir, "a/again")))
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "a/root")))
	require.NoError(t, os.Symlink("..", filepath.Join(dir, "a/loop")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "a/fifo"), 0o644))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	require.NoError(t, err)
	require.NoError(t, sparse.Truncate(1<<40))
	require.NoError(t, sparse.Close())
	for i := range 600 { // several getdents
		write(t, filepath.Join(dir, "many", fmt.Sprintf("a-rather-long-name-%04d", i)), 0)
	}
	return dir
}

func TestWalkCountsAsDu(t *testing.T) {
	dir := messy(t)
	for name, stat := range map[string]func(int, string) (inode, error){"statx": statx, "fstatat": fstatat} {
		t.Run(name, func(t *testing.T) {
			w := newWalk()
			w.sys.stat = stat
			u, err := w.run(t.Context(), "", dir)
			require.NoError(t, err)
			require.True(t, u.Complete)
			require.False(t, u.At.IsZero())
			require.Equal(t, du(t, dir, "--block-size=1"), u.Bytes)
			require.Equal(t, du(t, dir, "--inodes"), u.Inodes)
			require.Less(t, u.Bytes, uint64(1<<30), "a sparse file counts by what it occupies")
		})
	}
}

func TestWalkStaysOnItsFileSystem(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub/file"), 1)
	at := filepath.Join(dir, "mounted")
	require.NoError(t, os.Mkdir(at, 0o755))
	before, err := newWalk().run(t.Context(), "", dir)
	require.NoError(t, err)

	mounts := map[string]func() error{
		"tmpfs": func() error { return unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m") },
		"bind":  func() error { return unix.Mount(filepath.Join(dir, "sub"), at, "", unix.MS_BIND, "") },
	}
	for name, mount := range mounts {
		t.Run(name, func(t *testing.T) {
			if err := mount(); err != nil {
				t.Skipf("cannot mount: %v", err)
			}
			defer func() { require.NoError(t, unix.Unmount(at, 0)) }()
			write(t, filepath.Join(at, "inside"), 100_000)
			defer os.Remove(filepath.Join(at, "inside"))
			w := newWalk()
			if name == "bind" {
				i, err := w.sys.stat(unix.AT_FDCWD, dir)
				require.NoError(t, err)
				if i.mount == 0 {
					t.Skip("this kernel does not tell mounts apart")
				}
				// What is written through the bind mount is in sub as well.
				require.NoError(t, os.Remove(filepath.Join(at, "inside")))
			}
			u, err := w.run(t.Context(), "", dir)
			require.NoError(t, err)
			require.Equal(t, before.Inodes-1, u.Inodes, "the mount point itself is of the other file system")
		})
	}
}

func TestWalkRefusesWhatIsNoDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	for _, name := range []string{"link", "fifo"} {
		_, err := newWalk().run(t.Context(), "", filepath.Join(dir, name))
		require.ErrorIs(t, err, unix.ENOTDIR)
		require.ErrorContains(t, err, filepath.Join(dir, name))
	}
	_, err := newWalk().run(t.Context(), "", filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestSymlinksOnTheWayLeadToTheHost(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "tmp/real/file"), 0)
	require.NoError(t, os.Symlink("/tmp/real", filepath.Join(root, "tmp/link")))
	require.NoError(t, os.Symlink("/tmp", filepath.Join(root, "var")))
	u, err := newWalk().run(t.Context(), root, "/var/real")
	require.NoError(t, err)
	require.EqualValues(t, 2, u.Inodes)
	_, err = newWalk().run(t.Context(), root, "/var/link")
	require.ErrorIs(t, err, unix.ENOTDIR, "the last one must not be a symlink")
	_, err = newWalk().run(t.Context(), root, "/../../../etc")
	require.ErrorIs(t, err, fs.ErrNotExist, "nothing leads out of the root")
}

func TestWalkIsNotLedAwayBySwappedDirectories(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "big"), 1<<20)
	swaps := map[string]func(victim string) error{
		"symlink": func(victim string) error { return os.Symlink(outside, victim) },
		"another": func(victim string) error { return os.Rename(outside, victim) },
	}
	for _, name := range []string{"symlink", "another"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			victim := filepath.Join(dir, "victim")
			require.NoError(t, os.Mkdir(victim, 0o755))
			w := newWalk()
			open := w.sys.open
			w.sys.open = func(at int, path string) (int, error) {
				if path == "victim" { // between stat and open
					require.NoError(t, os.Remove(victim))
					require.NoError(t, swaps[name](victim))
				}
				return open(at, path)
			}
			u, err := w.run(t.Context(), "", dir)
			require.NoError(t, err)
			require.False(t, u.Complete)
			require.Less(t, u.Bytes, uint64(1<<20))
			require.InDelta(t, 1, testutil.ToFloat64(w.metrics.skipped.WithLabelValues(reasonChanged)), 0)
		})
	}
}

func TestWalkBounds(t *testing.T) {
	dir := t.TempDir()
	deep := dir
	for range 20 {
		deep = filepath.Join(deep, "d")
	}
	write(t, filepath.Join(deep, "file"), 1<<20)

	t.Run("depth", func(t *testing.T) {
		w, held := newWalk(), 0
		w.maxDepth = 5
		open := w.sys.open
		w.sys.open = func(at int, path string) (int, error) {
			held = max(held, len(w.stack)+1)
			return open(at, path)
		}
		u, err := w.run(t.Context(), "", dir)
		require.NoError(t, err)
		require.False(t, u.Complete)
		require.EqualValues(t, 1+6, u.Inodes, "directories at depth 6 are counted, not entered")
		require.Equal(t, 6, held, "descriptors")
		require.InDelta(t, 1, testutil.ToFloat64(w.metrics.skipped.WithLabelValues(reasonDepth)), 0)
	})
	t.Run("entries", func(t *testing.T) {
		w := newWalk()
		w.maxEntries = 7
		u, err := w.run(t.Context(), "", dir)
		require.NoError(t, err)
		require.False(t, u.Complete)
		require.EqualValues(t, 1+7, u.Inodes)
		require.InDelta(t, 7, testutil.ToFloat64(w.metrics.entries), 0)
	})
	t.Run("links", func(t *testing.T) {
		w := newWalk()
		for i := range uint64(maxLinks + 10) {
			w.count(inode{ino: i + 1, links: 2})
		}
		require.Len(t, w.links, maxLinks)
		require.True(t, w.skipped)
	})
	t.Run("a path longer than PATH_MAX", func(t *testing.T) {
		const levels = 40
		dir, name := t.TempDir(), strings.Repeat("x", 200)
		fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		for range levels {
			require.NoError(t, unix.Mkdirat(fd, name, 0o755))
			next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, unix.Close(fd))
			fd = next
		}
		require.NoError(t, unix.Close(fd))
		u, err := newWalk().run(t.Context(), "", dir)
		require.NoError(t, err)
		require.True(t, u.Complete)
		require.EqualValues(t, 1+levels, u.Inodes)
	})
}

func TestWalkReportsWhatItMayNotSee(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret/file"), 1)
	w := newWalk()
	open := w.sys.open
	w.sys.open = func(at int, path string) (int, error) {
		if path == "secret" {
			return 0, unix.EACCES
		}
		return open(at, path)
	}
	u, err := w.run(t.Context(), "", dir)
	require.NoError(t, err)
	require.False(t, u.Complete)
	require.EqualValues(t, 2, u.Inodes)
	require.InDelta(t, 1, testutil.ToFloat64(w.metrics.skipped.WithLabelValues(reasonPermission)), 0)
}

func TestWalkSurvivesDeletion(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		write(t, filepath.Join(dir, strconv.Itoa(i), "file"), 0)
	}
	w := newWalk()
	stat := w.sys.stat
	w.sys.stat = func(at int, path string) (inode, error) {
		if path == "50" {
			require.NoError(t, os.RemoveAll(dir))
		}
		return stat(at, path)
	}
	u, err := w.run(t.Context(), "", dir)
	require.NoError(t, err)
	require.True(t, u.Complete, "what is gone is not missing")
}

func TestWalkSpendsBeforeItLooks(t *testing.T) {
	dir := t.TempDir()
	for i := range 10 * batch {
		write(t, filepath.Join(dir, strconv.Itoa(i)), 0)
	}
	w := newWalk()
	granted, looked := 0, 0
	stop := errors.New("budget is spent")
	w.spend = func(_ context.Context, n int) error {
		if granted >= 3*batch {
			return stop
		}
		granted += n
		return nil
	}
	stat := w.sys.stat
	w.sys.stat = func(at int, path string) (inode, error) {
		if path != "" {
			looked++
			require.LessOrEqual(t, looked, granted)
		}
		return stat(at, path)
	}
	_, err := w.run(t.Context(), "", dir)
	require.ErrorIs(t, err, stop)
	require.Equal(t, 3*batch, looked)
}

func TestWalkClosesWhatItOpened(t *testing.T) {
	dir := messy(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := count()
	w := newWalk()
	_, err := w.run(t.Context(), "", dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newWalk().run(ctx, "", dir)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, count())
}

func FuzzNextEntry(f *testing.F) {
	buf := make([]byte, direntBuffer)
	d, err := os.Open("/proc/self")
	if err == nil {
		n, _ := unix.Getdents(int(d.Fd()), buf)
		f.Add(buf[:n])
		d.Close()
	}
	f.Add([]byte{})
	f.Add(make([]byte, direntHeader))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for len(b) > 0 {
			var name string
			before := len(b)
			name, b = nextEntry(b)
			if len(b) >= before || len(name) > before {
				panic("no progress")
			}
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	dir := b.TempDir()
	const files = 1000
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newWalk().run(b.Context(), "", dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/entry")
}
