package tail

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// settled waits until everything is acknowledged, and the positions on disk
// say so.
func (r *rig) settled() {
	r.t.Helper()
	r.wait("positions written", func() bool {
		r.sink.ackSome(true)
		b, err := os.ReadFile(r.opts.PositionsFile)
		if err != nil {
			return false
		}
		entries, err := decodePositions(b)
		require.NoError(r.t, err)
		saved := make(map[string]int64)
		for _, e := range entries {
			saved[e.Path] = e.Resume.acked()
		}
		for _, f := range r.tailer.Files() {
			if f.Size > 0 && (f.Acknowledged != f.Size || saved[f.Path] != f.Size) {
				return false
			}
		}
		return true
	})
}

func TestRotatedAndCompressedWhileDown(t *testing.T) {
	for _, mode := range []ackMode{ackNow, ackNever} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			r := newRig(t, mode)
			a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
			a.write(100)
			r.start()
			r.waitRecords(100)
			if mode == ackNow {
				r.settled()
			}
			a.write(50) // perhaps read, not in the positions
			r.crash()
			a.write(50)
			for i := range 4 {
				to := fmt.Sprintf("%s.20261127-12000%d", a.path, i)
				a.rotate(to)
				a.write(70)
				if i < 3 {
					compress(t, to, true)
				}
			}
			r.start()
			r.requireLines(a)
			require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
			if mode == ackNow {
				read := r.counter("binnacle_tail_lines_total")
				require.Less(t, read, float64(a.n), "what was acknowledged is not read again")
			}
		})
	}
}

// Files that were delivered are not read again at the next start, compressed
// ones neither.
func TestDoneFilesStayDone(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	for i := range 3 {
		a.write(20)
		to := fmt.Sprintf("%s.20261127-12000%d", a.path, i)
		a.rotate(to)
		r.waitRecords(20 * (i + 1))
		if i == 0 {
			compress(t, to, false)
		}
	}
	a.write(1)
	r.requireLines(a)
	r.wait("rotations closed", func() bool { return len(r.tailer.Files()) == 1 })
	r.stop()
	compress(t, a.path+".20261127-120001", true)
	r.start()
	a.write(1)
	r.requireLines(a)
	require.Equal(t, 1.0, r.counter("binnacle_tail_lines_total"))
	require.Equal(t, 1.0, r.counter("binnacle_tail_files_discovered_total"), "rotations are not gone on with")
}

func TestCopyTruncate(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) {
			r := newRig(t, ackLate)
			a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
			r.start()
			for i := range 5 {
				a.write(100)
				if i%2 == 0 {
					r.waitRecords(a.n)
				}
				if crash {
					r.crash()
				}
				b, err := os.ReadFile(a.path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(fmt.Sprintf("%s.20261127-12000%d", a.path, i), b, 0o644))
				require.NoError(t, os.Truncate(a.path, 0))
				if crash {
					r.start()
				}
			}
			a.write(10)
			r.requireLines(a)
			require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
		})
	}
}

// Without a copy what was not read is lost, and counted.
func TestTruncatedWithoutCopy(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(10)
	r.start()
	r.requireLines(a)
	require.NoError(t, os.Truncate(a.path, 0))
	a.write(5)
	r.requireLines(a)
	require.Equal(t, 1.0, r.counter("binnacle_tail_truncations_total"))
}

func TestInodeReuse(t *testing.T) {
	r := newRig(t, ackNow)
	dir := r.container("cart", "app")
	path := filepath.Join(dir, "0.log")
	a := newApp(t, "a", path)
	a.write(100)
	r.start()
	r.requireLines(a)
	r.settled()
	r.stop()
	old, err := statPath(path)
	require.NoError(t, err)
	require.NoError(t, a.f.Close())
	require.NoError(t, os.Remove(path))
	// The file system may or may not give the inode to the next file: the
	// position is made to name the new one in any case.
	a.open()
	a.write(200)
	reused, err := statPath(path)
	require.NoError(t, err)
	b, err := os.ReadFile(r.opts.PositionsFile)
	require.NoError(t, err)
	entries, err := decodePositions(b)
	require.NoError(t, err)
	require.Equal(t, old.key, entries[0].File)
	entries[0].File = reused.key
	writePositions(t, r.opts.PositionsFile, entries)
	r.start()
	r.requireLines(a)
}

func writePositions(t *testing.T, path string, entries []*position) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, encodePositions(&b, entries))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o640))
}

// A writer may go on with the old file after there is a new one, even when the
// old one has no name any more.
func TestLateWritesToARotatedFile(t *testing.T) {
	r := newRig(t, ackNow)
	r.patience = time.Minute
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(10)
	r.start()
	r.requireLines(a)
	old := a.f
	require.NoError(t, os.Rename(a.path, a.path+".20261127-120000"))
	a.open()
	a.write(10)
	r.requireLines(a)
	require.NoError(t, os.Remove(a.path+".20261127-120000"))
	r.wait("the deletion was seen", func() bool { return r.counter("binnacle_tail_deleted_bytes") > 0 })
	current := a.f
	a.f = old
	a.write(5)
	a.f = current
	require.NoError(t, old.Close())
	r.requireLines(a)
}

// While the receiver has no room nothing is read, but files are opened: what
// is deleted meanwhile is not lost.
func TestDeletedWhileReceiverIsFull(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.Workers = 1
	blocker := newApp(t, "blocker", filepath.Join(r.container("web", "app"), "0.log"))
	blocker.write(1)
	r.start()
	r.waitRecords(1)
	r.sink.pause(true)
	blocker.write(1)
	a := newApp(t, "a", filepath.Join(r.container("job", "app"), "0.log"))
	for i := range 5 {
		a.write(1000)
		r.wait("file open", func() bool { return r.holds(a.path, i+1) })
		a.rotate(fmt.Sprintf("%s.20261127-12000%d", a.path, i))
	}
	a.write(10)
	r.wait("last file open", func() bool { return r.holds(a.path, 6) })
	require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(a.path))))
	r.wait("deleted bytes are counted", func() bool { return r.counter("binnacle_tail_deleted_bytes") > 0 })
	r.sink.pause(false)
	r.requireLines(a, blocker)
	require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
}

// holds tells whether so many generations of a file's lane are open.
func (r *rig) holds(path string, n int) bool {
	for _, f := range r.tailer.Files() {
		if strings.HasPrefix(f.Path, path) {
			n--
		}
	}
	return n <= 0
}

func TestDeletedBytesAreBounded(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.Workers, r.opts.MaxDeletedBytes = 1, 100<<10
	blocker := newApp(t, "blocker", filepath.Join(r.container("web", "app"), "0.log"))
	blocker.write(1)
	r.start()
	r.waitRecords(1)
	r.sink.pause(true)
	blocker.write(1)
	r.wait("the worker waits", r.sink.blocked.Load)
	var small *app
	for i, lines := range []int{5000, 100} {
		pod := fmt.Sprintf("job-%d", i)
		small = newApp(t, pod, filepath.Join(r.container(pod, "app"), "0.log"))
		small.write(lines)
		r.wait("file open", func() bool { return r.holds(small.path, 1) })
		require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(small.path))))
	}
	r.wait("the large one is given up", func() bool {
		held := r.counter("binnacle_tail_deleted_bytes")
		return held > 0 && held <= 100<<10
	})
	r.sink.pause(false)
	r.requireLines(small, blocker)
	r.wait("the loss is counted", func() bool { return r.counter("binnacle_tail_lost_bytes_total") > 100<<10 })
}

func TestPositionsDamaged(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(100)
	r.start()
	r.requireLines(a)
	r.settled()
	r.stop()
	b, err := os.ReadFile(r.opts.PositionsFile)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(r.opts.PositionsFile, b, 0o640))
	r.start()
	a.write(1)
	r.requireLines(a)
	require.Equal(t, 100, r.sink.dropped, "everything was read again")
	require.FileExists(t, r.opts.PositionsFile+".damaged")
}

// A generation whose last line has no line feed is delivered to its end.
func TestUnfinishedAtEndOfGeneration(t *testing.T) {
	r := newRig(t, ackNow)
	r.patience = 500 * time.Millisecond
	dir := r.container("cart", "app")
	path := filepath.Join(dir, "0.log")
	first := criText(0, "stdout", "F", "whole") + criText(1, "stdout", "P", "part ") + strings.TrimSuffix(criText(2, "stderr", "F", "no line feed"), "\n")
	require.NoError(t, os.WriteFile(path+".20261127-120000", []byte(first), 0o644))
	require.NoError(t, os.WriteFile(path, []byte(criText(3, "stdout", "F", "rest")), 0o644))
	r.start()
	r.waitRecords(3)
	got := make(map[string]storage.RecordFlags)
	for _, rec := range r.sink.all() {
		got[string(rec.Line)] = rec.Flags
	}
	require.Equal(t, map[string]storage.RecordFlags{
		"whole": 0, "part rest": 0, "no line feed": storage.FlagTruncated,
	}, got)
	r.settled()
	r.wait("rotation closed", func() bool { return len(r.tailer.Files()) == 1 })
	require.EqualValues(t, 1, r.counter("binnacle_tail_truncated_lines_total"))
}
