package tail

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watcher finds log files and opens them. It never waits for a receiver: a
// file that is deleted while reading stands still is open by then.
type watcher struct {
	t *Tailer
	// in is nil when the kernel has no inotify instance for us: everything is
	// then found by looking, every degradedRescan.
	in *inotify
	// signal has room for one: there is something in what follows.
	signal chan struct{}
	// absent are patterns of the folders that were not there when everything
	// was looked at. It belongs to run.
	absent []string

	mu       sync.Mutex // guards what follows
	paths    map[watchedPlace]struct{}
	all      bool // events were lost
	degraded bool // a watch was refused
}

const (
	degradedRescan = time.Second
	// absentInterval is how often it is looked whether a folder has come that
	// the kernel could not watch: a node's first pod makes that of all pods.
	absentInterval = 100 * time.Millisecond
	// maxPaths bounds what waits to be looked at; beyond it everything is.
	maxPaths = 4096
)

func newWatcher(t *Tailer) *watcher {
	w := &watcher{t: t, signal: make(chan struct{}, 1), paths: make(map[watchedPlace]struct{})}
	var err error
	if w.in, err = t.newInotify(); err != nil {
		w.refused(err)
	}
	return w
}

// refused notes that a watch is not to be had.
func (w *watcher) refused(err error) {
	w.t.metrics.watchFailures.Inc()
	w.mu.Lock()
	first := !w.degraded
	w.degraded = true
	w.mu.Unlock()
	if first {
		w.t.opts.Logger.Warn("the kernel refuses to watch log files, they are looked at more often instead; "+
			"raise fs.inotify.max_user_watches and max_user_instances", "err", err, "interval", min(degradedRescan, w.t.opts.Rescan))
	}
}

// watchDir watches a folder for names.
func (w *watcher) watchDir(path string, p watchedPlace) {
	if w.in == nil {
		return
	}
	p.path = path
	if err := w.in.addDir(p); err != nil {
		w.refused(err)
	}
}

// watchFile has the lane of g woken at the next write to its file.
func (w *watcher) watchFile(g *generation) bool {
	if w.in == nil {
		return false
	}
	g.io.Lock()
	defer g.io.Unlock()
	if g.src == nil {
		return false
	}
	if err := w.in.addFile(g, g.src.file()); err != nil {
		w.refused(err)
		return false
	}
	return true
}

func (w *watcher) unwatchFile(g *generation) {
	if w.in != nil {
		w.in.removeFile(g)
	}
}

// changed has a lane's folder looked at.
func (w *watcher) changed(l *lane) {
	w.look(watchedPlace{kind: laneDir, path: l.key, lane: l})
}

// look has a place looked at.
func (w *watcher) look(p watchedPlace) {
	w.mu.Lock()
	if len(w.paths) < maxPaths {
		w.paths[p] = struct{}{}
	} else {
		w.all = true
	}
	w.mu.Unlock()
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// listen reads the kernel's events until the descriptor is closed.
func (w *watcher) listen() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.in.file.Read(buf)
		if err != nil {
			return // closed
		}
		parseEvents(buf[:n], w.event)
	}
}

func (w *watcher) event(e inotifyEvent) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		w.t.metrics.overflows.Inc()
		w.mu.Lock()
		w.all = true
		w.mu.Unlock()
		w.wake()
		return
	}
	if g := w.in.written(e.wd); g != nil {
		g.grew.Store(e.mask&unix.IN_MODIFY != 0)
		g.armed.Store(false)
		if g.parked.Load() {
			w.changed(g.lane)
			return
		}
		g.lane.worker.wake(g.lane)
		return
	}
	p, ok := w.in.place(e.wd, e.mask&unix.IN_IGNORED != 0)
	if !ok {
		return
	}
	if p.kind == rootDir && e.name != "" {
		p.path = filepath.Join(p.path, e.name)
	}
	w.look(p)
}

// run keeps the lanes up to date until ctx ends.
func (w *watcher) run(ctx context.Context) {
	var listening sync.WaitGroup
	if w.in != nil {
		listening.Go(w.listen)
		defer listening.Wait()
		defer w.in.close()
	}
	w.scan(true)
	timer := time.NewTimer(w.interval())
	defer timer.Stop()
	for {
		var absent <-chan time.Time
		if len(w.absent) > 0 {
			absent = time.After(absentInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
			if w.pending(false) {
				w.scan(false)
			}
		case <-absent:
			if slices.ContainsFunc(w.absent, exists) {
				w.scan(false)
			}
		case <-timer.C:
			w.scan(false)
			timer.Reset(w.interval())
		}
	}
}

// exists tells whether a pattern matches anything.
func exists(pattern string) bool {
	paths, err := filepath.Glob(pattern)
	return err == nil && len(paths) > 0
}

func (w *watcher) interval() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.degraded {
		return min(degradedRescan, w.t.opts.Rescan)
	}
	return w.t.opts.Rescan
}

// interleave looks at what happened while a scan goes on: a pod that comes and
// goes must not wait for ten thousand others.
func (w *watcher) interleave(initial bool) {
	select {
	case <-w.signal:
	default:
		return
	}
	if w.pending(initial) {
		w.mu.Lock()
		w.all = true
		w.mu.Unlock()
		w.wake()
	}
}

// pending looks at the places where something happened. True means that
// everything has to be looked at.
func (w *watcher) pending(initial bool) bool {
	w.mu.Lock()
	paths, all := w.paths, w.all
	w.paths, w.all = make(map[watchedPlace]struct{}), false
	w.mu.Unlock()
	globs := false
	for p := range paths {
		switch p.kind {
		case rootDir:
			w.scanEntry(p.path, initial)
		case podDir:
			w.scanPod(p.path, initial)
		case laneDir:
			p.lane.reconcile(initial)
			p.lane.worker.wake(p.lane)
		case globDir:
			globs = true
		}
	}
	if globs {
		w.scanGlobs(initial)
	}
	w.t.boundDeleted()
	return all
}

// scan looks at everything. initial tells that it is the first time since the start.
func (w *watcher) scan(initial bool) {
	w.absent = w.absent[:0]
	for _, root := range w.t.opts.PodLogs {
		w.watchDir(root, watchedPlace{kind: rootDir})
		entries, err := os.ReadDir(root)
		if os.IsNotExist(err) {
			w.absent = append(w.absent, escapeGlob(root))
		} else if err != nil {
			w.t.opts.Logger.Warn("folder of logs cannot be read", "err", err)
		}
		for _, e := range entries {
			w.scanEntry(filepath.Join(root, e.Name()), initial)
			w.interleave(initial)
		}
	}
	for _, pattern := range w.t.opts.Globs {
		if dir := filepath.Dir(pattern); !exists(dir) {
			w.absent = append(w.absent, dir)
		}
	}
	w.scanGlobs(initial)
	for _, l := range w.t.allLanes() {
		l.reconcile(initial)
		w.t.forget(l)
		l.worker.wake(l)
		w.interleave(initial)
	}
	w.t.forgetPositions()
	w.t.boundDeleted()
}
