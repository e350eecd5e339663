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

func TestOpenFilesAreBounded(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.MaxOpenFiles = 3
	var apps []*app
	for i := range 10 {
		pod := fmt.Sprintf("job-%d", i)
		a := newApp(t, pod, filepath.Join(r.container(pod, "app"), "0.log"))
		a.write(10)
		apps = append(apps, a)
	}
	r.start()
	for left := 10; left > 0; {
		r.wait("some are read", func() bool { return r.sink.distinct() > 10*(10-left) })
		open := r.tailer.Files()
		require.LessOrEqual(t, len(open), 3)
		for _, f := range open {
			if f.Offset > 0 {
				require.NoError(t, os.RemoveAll(filepath.Dir(filepath.Dir(f.Path))))
			}
		}
		left = 10 - r.sink.distinct()/10
	}
	r.requireLines(apps...)
	require.Positive(t, r.counter("binnacle_tail_open_failures_total"))
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
