package tail

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
)

// More files than may be open are all read, and followed through writes,
// rotations and deletions: those that rest make room.
func TestOpenFilesAreBounded(t *testing.T) {
	for _, mode := range []ackMode{ackNow, ackLate} {
		for _, blind := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode=%d blind=%t", mode, blind), func(t *testing.T) {
				r := newRig(t, mode)
				r.opts.MaxOpenFiles, r.noInotify = 3, blind
				var apps []*app
				for i := range 10 {
					pod := fmt.Sprintf("job-%d", i)
					a := newApp(t, pod, filepath.Join(r.container(pod, "app"), "0.log"))
					a.write(10 * (i % 9)) // one is empty
					apps = append(apps, a)
				}
				r.start()
				open := func() bool { return r.tailer.files.count() <= 3 }
				r.requireLines(apps...)
				require.True(t, open())
				for i, a := range apps {
					a.write(5)
					if i%2 == 0 {
						a.rotate(a.path + ".20261127-120000")
						a.write(5)
					}
				}
				r.requireLines(apps...)
				r.wait("rotations closed", func() bool { return len(r.tailer.Files()) == 10 })
				require.True(t, open())
				for _, a := range apps {
					require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(a.path))))
				}
				r.wait("files closed", func() bool { return len(r.tailer.Files()) == 0 && r.tailer.files.count() == 0 })
				r.requireLines(apps...)
				require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
			})
		}
	}
}

// A file that was closed to make room is known again: emptied and written
// anew, copied, or compressed.
func TestParkedFileChanges(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.MaxOpenFiles = 1
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	other := newApp(t, "other", filepath.Join(r.container("web", "app"), "0.log"))
	a.write(30)
	r.start()
	for i := range 3 {
		r.requireLines(a, other)
		other.write(1) // takes the descriptor
		r.requireLines(a, other)
		b, err := os.ReadFile(a.path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s.20261127-12000%d", a.path, i), b, 0o644))
		require.NoError(t, os.Truncate(a.path, 0))
		a.write(20 * (i + 1)) // shorter, then longer than before
		r.requireLines(a, other)
	}
	other.write(1)
	r.requireLines(a, other)
	a.rotate(a.path + ".20261127-120009")
	compress(t, a.path+".20261127-120009", true)
	a.write(1)
	r.requireLines(a, other)
	require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
}

func TestDescriptorLimit(t *testing.T) {
	var r unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &r))
	require.Equal(t, 7, descriptorLimit(7))
	require.EqualValues(t, min(1<<40, r.Cur/2), descriptorLimit(1<<40))
}

func TestDeliveriesAreBounded(t *testing.T) {
	r := newPlainRig(t, ackNow)
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "empty.log"), bytes.Repeat([]byte("\n"), 20000), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "full.log"), bytes.Repeat([]byte(strings.Repeat("z", 999)+"\n"), 2000), 0o644))
	var mu sync.Mutex
	records, most, text := 0, 0, 0
	push := r.sink.push
	r.startWith(func(ctx context.Context, d storage.Delivery) error {
		size := 0
		for _, rec := range d.Records {
			size += len(rec.Line)
		}
		mu.Lock()
		records, most, text = records+len(d.Records), max(most, len(d.Records)), max(text, size)
		mu.Unlock()
		require.GreaterOrEqual(t, d.Bytes, size)
		return push(ctx, d)
	})
	r.waitRecords(22000)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 22000, records)
	require.Equal(t, maxRecords, most)
	require.LessOrEqual(t, text, chunkBytes)
}

// Cuts that are not acknowledged are bounded: the trace after them waits.
func TestCutsAreBounded(t *testing.T) {
	r := newRig(t, ackNever)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(1)
	r.start()
	r.waitRecords(1)
	p := r.tailer.keeper.of(filepath.Dir(a.path))[0]
	r.tailer.keeper.change(func() {
		for i := range maxCuts {
			p.Cuts[stdout] = append(p.Cuts[stdout], cut{Offset: int64(1000 + i)})
		}
	})
	_, err := a.f.WriteString(criText(100, "stderr", "F", "java.lang.Error: waits"))
	require.NoError(t, err)
	r.wait("it was read", func() bool { f := r.tailer.Files()[0]; return f.Offset == f.Size && f.Size > 60 })
	_, err = a.f.WriteString(criText(101, "stderr", "F", "\tat Main"))
	require.NoError(t, err)
	_, err = a.f.WriteString(criText(102, "stderr", "F", "next"))
	require.NoError(t, err)
	r.waitRecords(3)
	require.Equal(t, []string{"java.lang.Error: waits\n\tat Main", "next"}, r.sink.texts()[1:])
}

func TestWithoutInotify(t *testing.T) {
	r := newRig(t, ackNow)
	r.noInotify = true
	r.start()
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	for range 3 {
		a.write(10)
		r.requireLines(a)
	}
	require.Positive(t, r.counter("binnacle_tail_watch_failures_total"))
}

func TestLostEvents(t *testing.T) {
	r := newRig(t, ackNow)
	r.start()
	first := newApp(t, "first", filepath.Join(r.container("web", "app"), "0.log"))
	first.write(1)
	r.requireLines(first)
	r.tailer.watcher.event(inotifyEvent{wd: -1, mask: unix.IN_Q_OVERFLOW})
	for i := range 2 * maxPaths {
		r.tailer.watcher.look(watchedPlace{kind: podDir, path: fmt.Sprint("/nowhere/", i)})
	}
	r.tailer.watcher.mu.Lock()
	require.LessOrEqual(t, len(r.tailer.watcher.paths), maxPaths)
	r.tailer.watcher.mu.Unlock()
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(10)
	r.requireLines(a, first)
	require.Equal(t, 1.0, r.counter("binnacle_tail_inotify_overflows_total"))
}

// What happens during a scan is looked at before the scan ends.
func TestScanGivesWay(t *testing.T) {
	r := newRig(t, ackNow)
	r.container("cart", "app") // for the scan to look at
	r.opts.Push = r.sink.push
	tailer, err := New(r.opts)
	require.NoError(t, err)
	tailer.watcher = newWatcher(tailer)
	defer tailer.watcher.in.close()
	pod := filepath.Join(t.TempDir(), "shop_job_uid-job") // where no scan finds it
	require.NoError(t, os.MkdirAll(filepath.Join(pod, "app"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(pod, "app", "0.log"), []byte(criText(0, "stdout", "F", "x")), 0o644))
	tailer.watcher.look(watchedPlace{kind: podDir, path: pod})
	tailer.watcher.scan(true)
	files := tailer.Files()
	require.Len(t, files, 1)
	require.Equal(t, filepath.Join(pod, "app", "0.log"), files[0].Path)
	for _, l := range tailer.allLanes() {
		for _, g := range l.snapshot(nil) {
			g.closeSource()
		}
	}
}

// A compressed file without its end is read as far as it goes, and on when
// the rest comes.
func TestUnfinishedGzip(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(5000)
	b, err := os.ReadFile(a.path)
	require.NoError(t, err)
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, err = zw.Write(b)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	gz := a.path + ".20261127-120000.gz"
	require.NoError(t, os.WriteFile(gz, zipped.Bytes()[:zipped.Len()*2/3], 0o644))
	require.NoError(t, os.Remove(a.path))
	a.open()
	a.write(1)
	r.start()
	r.wait("it is given up for now", func() bool { return r.counter("binnacle_tail_read_failures_total") == 1 })
	require.Greater(t, r.sink.distinct(), 1000)
	require.NoError(t, os.WriteFile(gz, zipped.Bytes(), 0o644))
	r.wait("the rest", func() bool { return strings.Contains(strings.Join(r.sink.texts(), "\n"), "a line 004999") })
	require.NoError(t, r.sink.order)
	require.InDelta(t, 5001, r.sink.distinct(), 1, "at most the line at the break is in two")
}

// Positions that cannot be written stop nothing: traces wait for their next line.
func TestPositionsCannotBeWritten(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	a.write(1)
	r.requireLines(a)
	require.NoError(t, os.RemoveAll(filepath.Dir(r.opts.PositionsFile)))
	require.NoError(t, os.WriteFile(filepath.Dir(r.opts.PositionsFile), nil, 0o644))
	_, err := a.f.WriteString(criText(100, "stderr", "F", "java.lang.Error: x"))
	require.NoError(t, err)
	r.wait("a write fails", func() bool {
		r.tailer.keeper.mu.Lock()
		defer r.tailer.keeper.mu.Unlock()
		return r.tailer.keeper.failing
	})
	_, err = a.f.WriteString(criText(101, "stderr", "F", "next"))
	require.NoError(t, err)
	r.waitRecords(3)
	require.NoError(t, os.Remove(filepath.Dir(r.opts.PositionsFile)))
	require.NoError(t, os.Mkdir(filepath.Dir(r.opts.PositionsFile), 0o755))
	r.wait("they are written again", func() bool { _, err := os.Stat(r.opts.PositionsFile); return err == nil })
}

var errNoInotify = errors.New("no inotify instances left")
