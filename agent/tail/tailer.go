// Package tail reads the log files of a node: those of Kubernetes' and
// Docker's containers and plain ones. It finds them by their names, follows
// them through every kind of rotation, and hands records over with an identity
// that is the same however often a file is read.
//
// The file is the buffer. A position is where to go on after a crash; it moves
// when records are acknowledged, and only over records without a gap. What was
// delivered and not acknowledged is read and delivered again, with the same
// offsets and the same content: where records begin and end follows from the
// lines, or from a cut that is in the positions file.
package tail

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Tailer reads log files while Run runs.
type Tailer struct {
	opts    Options
	metrics *metrics
	keeper  *keeper
	watcher *watcher
	workers []*worker
	batches batches
	// patience is how long the end of a rotated or deleted file must stand
	// still before it is taken for its end; gzipPatience is the same for a
	// compressed file that lacks its end.
	patience, gzipPatience time.Duration
	newInotify             func() (*inotify, error)

	files        *openFiles
	deletedBytes atomic.Int64
	someDeleted  atomic.Bool // a generation was found deleted since all were looked at

	mu    sync.Mutex // guards lanes; held before lane.mu and keeper.mu
	lanes map[string]*lane
}

// New checks the options and reads the positions. It opens no log file.
func New(o Options) (*Tailer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Tailer{
		opts: o, lanes: make(map[string]*lane), files: newOpenFiles(o.MaxOpenFiles),
		patience: 5 * time.Second, gzipPatience: time.Minute, newInotify: newInotify,
	}
	t.metrics = newMetrics(t)
	if t.keeper, err = newKeeper(o.PositionsFile, o.Logger, t.metrics); err != nil {
		return nil, err
	}
	t.keeper.wake = func(l *lane) { l.worker.wake(l) }
	for range o.Workers {
		t.workers = append(t.workers, newWorker(t))
	}
	if err := t.metrics.register(o.Registerer); err != nil {
		return nil, err
	}
	return t, nil
}

// Run finds and reads log files until ctx ends, which is no error. It writes
// the positions a last time and closes all files; a Tailer runs once.
func (t *Tailer) Run(ctx context.Context) error {
	t.watcher = newWatcher(t)
	defer t.metrics.unregister(t.opts.Registerer)
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range t.workers {
		group.Go(func() error { return w.run(ctx) })
	}
	group.Go(func() error { t.watcher.run(ctx); return nil })
	group.Go(func() error { t.keeper.run(ctx); return nil })
	err := group.Wait()
	t.keeper.write()
	for _, l := range t.allLanes() {
		for _, g := range l.snapshot(nil) {
			g.closeSource()
		}
	}
	return err
}

// predates tells whether a plain file, found by the first scan, was there
// before binnacle first looked at it.
func (t *Tailer) predates(lane string, birth int64) bool {
	if len(t.keeper.of(lane)) > 0 {
		return false
	}
	return t.keeper.firstStart || birth != 0 && birth < t.keeper.savedAt
}

// Files lists what is being read, sorted by path.
func (t *Tailer) Files() []File {
	var files []File
	for _, l := range t.allLanes() {
		l.mu.Lock()
		for _, g := range l.gens {
			files = append(files, File{
				Path: g.path, Format: formatNames[g.kind.Load()], Deleted: g.deleted, Lane: l.number,
				Size: g.size.Load(), Offset: g.read.Load(), Acknowledged: g.acked.Load(),
				Labels: l.labels(g.restart),
			})
		}
		l.mu.Unlock()
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}
