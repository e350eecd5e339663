// Package disk measures what directories and file systems hold, away from the
// hot path: under a budget of directory entries a second, and so that a mount
// which does not answer blocks nobody but itself. It knows nothing of metrics
// or containers.
//
// The directories are those of containers and therefore hostile: a walk never
// follows a symlink, never opens anything but directories, never leaves the
// file system it began on, and bounds depth, entries and memory.
package disk

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Defaults of Options, and bounds that need no option.
const (
	defaultInterval           = time.Minute
	defaultFilesystemInterval = 10 * time.Second
	defaultTimeout            = 5 * time.Second
	// defaultEntriesPerSecond costs about 1 % of one CPU: an entry takes some
	// 2 µs while the kernel has it cached.
	defaultEntriesPerSecond = 5000
	defaultMaxKeys          = 4096
	defaultMaxEntries       = 5_000_000
	defaultMaxDepth         = 256
	// workers walk at the same time, so that one huge directory does not hold
	// up all others.
	workers = 2
	// restFactor spaces out the walks of a directory that takes long: at most
	// a fifth of the time of one worker goes to it.
	restFactor = 4
)

// Options of a Walker. The zero value of a field means its default.
type Options struct {
	// ProcRoot is where the proc file system is mounted; default /proc.
	ProcRoot string
	// Interval is the least time between two walks of one directory; default
	// 1 minute. A walk that took long is followed by a longer rest.
	Interval time.Duration
	// FilesystemInterval is the time between two statfs of a file system;
	// default 10 s.
	FilesystemInterval time.Duration
	// Timeout is how long the kernel may take for one answer before the mount
	// counts as stuck; default 5 s.
	Timeout time.Duration
	// EntriesPerSecond is the budget of all walks together; default 5000.
	EntriesPerSecond int
	// MaxKeys bounds the watched directories; default 4096.
	MaxKeys int
	// MaxEntries bounds one walk; default 5 million.
	MaxEntries uint64
	// MaxDepth bounds how deep a walk goes below its directory, and with it
	// the descriptors that a walk holds; default 256.
	MaxDepth   int
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	// sys is the kernel; tests put a hanging or counting one in its place.
	sys *system
}

// Usage is what a directory holds.
type Usage struct {
	// Bytes allocated on disk, as du counts: 512 bytes a block, sparse files
	// by what they occupy, a hard-linked file once, the directories included.
	Bytes uint64
	// Inodes is the number of files, directories and other inodes.
	Inodes uint64
	// At is when the walk ended.
	At time.Time
	// Complete is false if the walk left something out: it met a bound or was
	// not permitted to look. Bytes and Inodes are lower bounds then.
	Complete bool
}

// Walker walks watched directories while Run runs. It is safe for concurrent
// use, and none of its methods but Run waits for a file system.
type Walker struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	guard   *guard
	host    *host
	// spend waits until n more entries are within the budget.
	spend func(ctx context.Context, n int) error
	wake  chan struct{}

	mu          sync.Mutex
	watched     map[string]*watched
	filesystems [2][]Filesystem // local, remote
}

// watched is a directory; its fields are guarded by Walker.mu.
type watched struct {
	path    string
	due     time.Time
	running bool
	known   bool
	usage   Usage
}

// New makes a Walker that does nothing until Run.
func New(opts Options) *Walker {
	opts = opts.withDefaults()
	limit := rate.NewLimiter(rate.Limit(opts.EntriesPerSecond), max(batch, opts.EntriesPerSecond/10))
	m := newMetrics(opts.Registerer)
	return &Walker{
		opts: opts, log: opts.Logger, metrics: m,
		guard: newGuard(opts.Timeout, opts.Logger, m),
		host:  &host{procRoot: opts.ProcRoot, ttl: opts.FilesystemInterval},
		spend: limit.WaitN,
		wake:  make(chan struct{}, 1), watched: map[string]*watched{},
	}
}

func (o Options) withDefaults() Options {
	o.ProcRoot = or(o.ProcRoot, "/proc")
	o.Interval = or(o.Interval, defaultInterval)
	o.FilesystemInterval = or(o.FilesystemInterval, defaultFilesystemInterval)
	o.Timeout = or(o.Timeout, defaultTimeout)
	o.EntriesPerSecond = or(o.EntriesPerSecond, defaultEntriesPerSecond)
	o.MaxKeys = or(o.MaxKeys, defaultMaxKeys)
	o.MaxEntries = or(o.MaxEntries, defaultMaxEntries)
	o.MaxDepth = or(o.MaxDepth, defaultMaxDepth)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.sys == nil {
		o.sys = newSystem()
	}
	return o
}

// or is v, or d where v is not set.
func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Watch has path walked from now on, and its usage kept under key. path is
// absolute, as the host sees it (process 1 of ProcRoot); its last component
// must not be a symlink. Watching a key again with another path starts anew.
// Beyond MaxKeys the call is ignored and counted.
func (w *Walker) Watch(key, path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, ok := w.watched[key]
	switch {
	case ok && old.path == path:
		return
	case !ok && len(w.watched) >= w.opts.MaxKeys:
		w.metrics.refused.WithLabelValues(reasonKeys).Inc()
		return
	}
	w.watched[key] = &watched{path: path, due: time.Now()}
	w.metrics.watched.Set(float64(len(w.watched)))
	w.rouse()
}

// Unwatch forgets key and its usage.
func (w *Walker) Unwatch(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watched, key)
	w.metrics.watched.Set(float64(len(w.watched)))
}

// Usage returns what the last walk of key found. It is false before the first
// walk has ended, and once the directory is gone. A walk that could not be
// finished leaves the result of the one before; its age is in Usage.At.
func (w *Walker) Usage(key string) (Usage, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, ok := w.watched[key]
	if !ok || !k.known {
		return Usage{}, false
	}
	return k.usage, true
}

// Stuck lists the calls that have not come back within Timeout. Their mounts
// are left alone until they do.
func (w *Walker) Stuck() []Stuck { return w.guard.list() }

// Run walks and measures until ctx ends, then waits for what is under way: at
// most Timeout. Calls that are stuck in the kernel are left behind; nothing
// can end them.
func (w *Walker) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { w.work(ctx) })
	}
	wg.Go(func() { w.measure(ctx, local) })
	wg.Go(func() { w.measure(ctx, remote) })
	wg.Wait()
}

// rouse lets a sleeping worker look for due directories.
func (w *Walker) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// work walks one due directory after the other.
func (w *Walker) work(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		k, wait := w.next(time.Now())
		if k != nil {
			w.rouse() // there may be another for the other worker
			w.walk(ctx, k)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// next takes the directory that has been due longest, or says how long to
// wait for one.
func (w *Walker) next(now time.Time) (*watched, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first *watched
	for _, k := range w.watched {
		if !k.running && (first == nil || k.due.Before(first.due)) {
			first = k
		}
	}
	if first == nil {
		return nil, w.opts.Interval
	}
	if wait := first.due.Sub(now); wait > 0 {
		return nil, wait
	}
	first.running = true
	return first, 0
}

// walk measures one directory and plans its next time.
func (w *Walker) walk(ctx context.Context, k *watched) {
	began := time.Now()
	usage, err := w.measureDirectory(ctx, k.path)
	took := time.Since(began)

	w.mu.Lock()
	defer w.mu.Unlock()
	k.running = false
	k.due = time.Now().Add(max(w.opts.Interval, restFactor*took))
	result := resultComplete
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.known = false
		result = resultGone
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, errStuck):
		result = resultStuck
	case err != nil:
		result = resultFailed
		w.log.Debug("directory could not be walked", "path", k.path, "err", err)
	default:
		k.usage, k.known = usage, true
		if !usage.Complete {
			result = resultIncomplete
		}
	}
	w.metrics.walks.WithLabelValues(result).Inc()
}

// measureDirectory walks path in a goroutine of its own, watched by the guard.
func (w *Walker) measureDirectory(ctx context.Context, path string) (Usage, error) {
	prefix, mounts, err := w.host.mounts()
	if err != nil {
		w.log.Debug("mounts could not be read", "err", err)
	}
	type outcome struct {
		usage Usage
		err   error
	}
	result := make(chan outcome, 1)
	err = w.guard.do(mountOf(mounts, path), "walk of "+path, func(c *call) {
		walk := walk{
			sys: w.opts.sys, call: c, metrics: w.metrics, spend: w.spend,
			maxDepth: w.opts.MaxDepth, maxEntries: w.opts.MaxEntries,
		}
		usage, err := walk.run(ctx, prefix, path)
		result <- outcome{usage, err}
	})
	if err != nil {
		return Usage{}, err
	}
	o := <-result
	return o.usage, o.err
}
