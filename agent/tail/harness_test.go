package tail

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ackMode is when a ledger acknowledges.
type ackMode int

const (
	ackNow ackMode = iota
	ackLate
	ackNever
)

// ledger is a sink that stores as stores do: a record of a source whose offset
// is not above the last is dropped. It copies what it keeps.
type ledger struct {
	mode ackMode

	mu      sync.Mutex
	dead    bool
	last    map[storage.SourceID]int64
	records []storage.Record
	dropped int
	order   error // a delivery whose records were not in order
	waiting []func()
	wake    *sync.Cond
	paused  bool
	blocked atomic.Bool // a delivery waits because of paused
}

func newLedger(mode ackMode) *ledger {
	l := &ledger{mode: mode, last: make(map[storage.SourceID]int64)}
	l.wake = sync.NewCond(&l.mu)
	return l
}

func (l *ledger) push(ctx context.Context, d storage.Delivery) error {
	l.mu.Lock()
	for l.paused && ctx.Err() == nil {
		l.blocked.Store(true)
		l.wake.Wait()
	}
	l.blocked.Store(false)
	if l.dead || ctx.Err() != nil {
		l.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	}
	within := make(map[storage.SourceID]int64)
	for _, r := range d.Records {
		if at, ok := within[r.Source]; ok && r.Offset <= at {
			l.order = fmt.Errorf("offset %d after %d within a delivery", r.Offset, at)
		}
		within[r.Source] = r.Offset
		if at, ok := l.last[r.Source]; ok && r.Offset <= at {
			l.dropped++
			continue
		}
		l.last[r.Source] = r.Offset
		r.Line = bytes.Clone(r.Line)
		l.records = append(l.records, r)
	}
	late := l.mode == ackLate && !l.dead
	if late {
		l.waiting = append(l.waiting, d.Done)
	}
	l.mu.Unlock()
	if l.mode == ackNow {
		d.Done()
	}
	return nil
}

// ackSome acknowledges about half of what waits, in any order.
func (l *ledger) ackSome(all bool) {
	l.mu.Lock()
	var done []func()
	l.waiting = slices.DeleteFunc(l.waiting, func(f func()) bool {
		if all || rand.IntN(2) == 0 {
			done = append(done, f)
			return true
		}
		return false
	})
	l.mu.Unlock()
	rand.Shuffle(len(done), func(i, j int) { done[i], done[j] = done[j], done[i] })
	for _, f := range done {
		f()
	}
}

func (l *ledger) pause(paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = paused
	l.wake.Broadcast()
}

// texts returns the lines in the order in which they were stored.
func (l *ledger) texts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, r := range l.records {
		all = append(all, string(r.Line))
	}
	return all
}

func (l *ledger) distinct() int {
	texts := l.texts()
	slices.Sort(texts)
	return len(slices.Compact(texts))
}

func (l *ledger) all() []storage.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// rig runs a Tailer over a folder, crashes it and starts it again.
type rig struct {
	t      *testing.T
	dir    string // has the folders of pods
	sink   *ledger
	opts   Options
	reg    *prometheus.Registry
	tailer *Tailer
	cancel context.CancelFunc
	done   chan error

	noInotify bool
	patience  time.Duration // 100 ms if 0
}

func newRig(t *testing.T, mode ackMode) *rig {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	r := &rig{t: t, dir: filepath.Join(dir, "pods"), sink: newLedger(mode)}
	r.opts = Options{
		PodLogs: []string{r.dir}, Node: "node-1", PositionsFile: filepath.Join(dir, "state", "positions"),
		Rescan: 200 * time.Millisecond,
	}
	require.NoError(t, os.MkdirAll(r.dir, 0o755))
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.startWith(r.sink.push)
}

func (r *rig) startWith(push func(context.Context, storage.Delivery) error) {
	r.t.Helper()
	o := r.opts
	o.Push = push
	r.reg = prometheus.NewRegistry()
	o.Registerer = r.reg
	tailer, err := New(o)
	require.NoError(r.t, err)
	if r.noInotify {
		tailer.newInotify = func() (*inotify, error) { return nil, errNoInotify }
	}
	tailer.keeper.interval = 50 * time.Millisecond
	tailer.patience, tailer.gzipPatience = 100*time.Millisecond, 300*time.Millisecond
	if r.patience > 0 {
		tailer.patience = r.patience
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.tailer, r.cancel, r.done = tailer, cancel, make(chan error, 1)
	go func() { r.done <- tailer.Run(ctx) }()
}

// stop ends the Tailer as a signal does.
func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	r.sink.pause(false)
	require.NoError(r.t, <-r.done)
}

// crash ends it as kill -9 does: nothing is stored, acknowledged or written to
// the positions from one moment on.
func (r *rig) crash() {
	r.t.Helper()
	r.sink.mu.Lock()
	r.sink.dead = true
	r.sink.waiting = nil
	r.sink.mu.Unlock()
	positions, err := os.ReadFile(r.opts.PositionsFile)
	if !os.IsNotExist(err) {
		require.NoError(r.t, err)
	}
	r.stop()
	require.NoError(r.t, os.RemoveAll(r.opts.PositionsFile))
	if positions != nil {
		require.NoError(r.t, os.WriteFile(r.opts.PositionsFile, positions, 0o640))
	}
	r.sink.mu.Lock()
	r.sink.dead = false
	r.sink.mu.Unlock()
}

// wait polls until what holds.
func (r *rig) wait(what string, f func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: did not happen; %d records, files %+v", what, len(r.sink.all()), r.tailer.Files())
		}
		if r.sink.mode == ackLate {
			r.sink.ackSome(false)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) waitRecords(n int) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%d records", n), func() bool { return len(r.sink.all()) >= n })
}

// counter returns the value of a metric of this run.
func (r *rig) counter(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	require.NoError(r.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// container returns the folder of a container's logs.
func (r *rig) container(pod, name string) string {
	dir := filepath.Join(r.dir, "shop_"+pod+"_uid-"+pod, name)
	require.NoError(r.t, os.MkdirAll(dir, 0o755))
	return dir
}

// app writes numbered lines as a container runtime does, and remembers them.
type app struct {
	t    *testing.T
	name string
	path string
	f    *os.File
	n    int
	want []string
	line func(n int, text string) string
}

var clockTick = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// criText is a line of a container at a time that n determines.
func criText(n int, output, tag, text string) string {
	at := clockTick.Add(time.Duration(n) * 1234567 * time.Nanosecond)
	return fmt.Sprintf("%s %s %s %s\n", at.Format(time.RFC3339Nano), output, tag, text)
}

func newApp(t *testing.T, name, path string) *app {
	a := &app{t: t, name: name, path: path, line: func(n int, text string) string {
		return criText(n, []string{"stdout", "stderr"}[n%2], "F", text)
	}}
	a.open()
	t.Cleanup(func() { a.f.Close() })
	return a
}

func (a *app) open() {
	var err error
	a.f, err = os.OpenFile(a.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(a.t, err)
}

// write writes n lines, all in one call.
func (a *app) write(n int) {
	var b strings.Builder
	for range n {
		text := fmt.Sprintf("%s line %06d %s", a.name, a.n, strings.Repeat("x", a.n%97))
		b.WriteString(a.line(a.n, text))
		a.want = append(a.want, text)
		a.n++
	}
	_, err := io.WriteString(a.f, b.String())
	require.NoError(a.t, err)
}

// rotate renames the file and begins a new one, as the kubelet has it done.
func (a *app) rotate(to string) {
	require.NoError(a.t, os.Rename(a.path, to))
	old := a.f
	a.open()
	require.NoError(a.t, old.Close())
}

// compress replaces a file by a compressed one, as the kubelet does with
// through a temporary name, else as gzip does.
func compress(t *testing.T, path string, temporary bool) {
	in, err := os.Open(path)
	require.NoError(t, err)
	defer in.Close()
	name := path + ".gz"
	if temporary {
		name = path + ".tmp"
	}
	out, err := os.Create(name)
	require.NoError(t, err)
	defer out.Close()
	zw := gzip.NewWriter(out)
	_, err = io.Copy(zw, in)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	if temporary {
		require.NoError(t, os.Rename(name, path+".gz"))
	}
	require.NoError(t, os.Remove(path))
}

// requireLines compares what was stored with what was written: nothing lost,
// nothing twice, every line as it was.
func (r *rig) requireLines(apps ...*app) {
	r.t.Helper()
	want := make(map[string]int)
	total := 0
	for _, a := range apps {
		total += len(a.want)
		for _, text := range a.want {
			want[text]++
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		r.sink.ackSome(false)
		if len(r.sink.all()) >= total && r.sink.distinct() >= len(want) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	got := make(map[string]int)
	for _, text := range r.sink.texts() {
		got[text]++
	}
	if maps.Equal(got, want) {
		require.NoError(r.t, r.sink.order)
		return
	}
	shown := 0
	for text, n := range want {
		if got[text] != n && shown < 10 {
			shown++
			r.t.Errorf("stored %d times instead of %d: %.80q", got[text], n, text)
		}
	}
	for text, n := range got {
		if want[text] == 0 && shown < 20 {
			shown++
			r.t.Errorf("stored %d times, never written: %.80q", n, text)
		}
	}
	r.t.FailNow()
}
