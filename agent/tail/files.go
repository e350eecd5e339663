package tail

import (
	"container/list"
	"sync"

	"golang.org/x/sys/unix"
)

// openFiles bounds the descriptors of log files. One that was read to its end
// lends its descriptor to others that wait: the kernel tells of a write to a
// file whether it is open or not.
//
// A generation that rests is in the list, and its worker leaves it alone; to
// go on with it the worker takes it out first.
type openFiles struct {
	limit int

	mu      sync.Mutex // guards what follows; held before generation.io, after lane.mu
	open    int
	resting *list.List // of *generation, the one that rests longest first
	waiting map[*lane]struct{}
}

func newOpenFiles(limit int) *openFiles {
	return &openFiles{limit: descriptorLimit(limit), resting: list.New(), waiting: make(map[*lane]struct{})}
}

// descriptorLimit leaves half of the process' descriptors to its connections
// and stores. The runtime has raised the soft limit to the hard one by then.
func descriptorLimit(limit int) int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur/2 >= uint64(limit) {
		return limit
	}
	return max(1, int(r.Cur/2))
}

// count returns how many files are open.
func (f *openFiles) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// force takes a descriptor beyond the limit, for a file that has to be
// compared with another now. It can be taken away as soon as it rests.
func (f *openFiles) force() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
}

// acquire takes a descriptor for l, if need be from a generation that rests.
// Without one l is told when there may be one.
func (f *openFiles) acquire(l *lane) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.open >= f.limit {
		e := f.resting.Front()
		if e == nil {
			f.waiting[l] = struct{}{}
			return false
		}
		g := e.Value.(*generation)
		f.takeOut(g)
		if g.park() {
			f.open--
		}
	}
	f.open++
	return true
}

// release gives a descriptor back.
func (f *openFiles) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	f.admit()
}

// rest offers the descriptor of a generation that was read to its end.
func (f *openFiles) rest(g *generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.restingAt == nil {
		g.restingAt = f.resting.PushBack(g)
	}
	f.admit()
}

// resume takes a generation out of the list.
func (f *openFiles) resume(g *generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takeOut(g)
}

func (f *openFiles) takeOut(g *generation) {
	if g.restingAt != nil {
		f.resting.Remove(g.restingAt)
		g.restingAt = nil
	}
}

// admit has the watcher look at a lane that waits.
func (f *openFiles) admit() {
	for l := range f.waiting {
		delete(f.waiting, l)
		l.t.watcher.changed(l)
		return
	}
}

// park closes a file that rests, and keeps everything that is known of it. It
// returns false for one that is not open, or that nobody would see growing.
func (g *generation) park() bool {
	info, err := g.stat()
	if err != nil || info.links == 0 || !g.armed.Load() && info.size != g.read.Load() {
		return false
	}
	g.parkedAs = knownFile{size: info.size, mtime: info.mtime}
	g.parked.Store(true)
	g.takeSource().file().Close()
	if g.lane.t.watcher.in != nil && !g.armed.Load() {
		g.lane.t.watcher.changed(g.lane) // it was written to meanwhile
	}
	return true
}

// unpark opens the file of a parked generation again if it may have changed or
// has another name. lane.mu is held. The worker compares its beginning.
func (g *generation) unpark(c candidate) {
	same := g.parkedAs.size == c.info.size && g.parkedAs.mtime == c.info.mtime
	if same && !c.name.rotated && (g.armed.Load() || g.lane.t.watcher.in == nil) {
		return
	}
	if g.lane.reserve() {
		g.reopen(c)
	}
}

func (g *generation) reopen(c candidate) {
	if s := g.lane.openSource(c); s != nil {
		g.setSource(s)
		g.parked.Store(false)
	}
}

// wakeUp opens the file of a parked generation, whatever the limit is.
func (l *lane) wakeUp(g *generation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if info, err := statPath(g.path); g.parked.Load() && err == nil && info.key == g.key {
		l.t.files.force()
		g.reopen(candidate{g.path, g.name, info})
	}
}

// abandon handles that the file of a parked generation is gone: what it had
// when it was parked is read, a copy may have more. lane.mu is held.
func (g *generation) abandon() {
	l := g.lane
	g.parked.Store(false)
	g.deleted = true
	for _, key := range g.copies {
		delete(l.known, key)
	}
	if g.grew.Load() {
		l.t.metrics.openFailures.WithLabelValues("gone").Inc()
		l.t.opts.Logger.Warn("log file was written to and deleted while too many others were open; raise the limit of open files",
			"file", g.path)
	}
	l.t.watcher.changed(l)
}
