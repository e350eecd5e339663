package tail

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// lane is all files of one container, or all generations of one plain file.
// The watcher opens files, one worker reads them.
//
// Lock order: lane.mu, then generation.io or keeper.mu. Neither is held while
// a delivery is pushed.
type lane struct {
	t      *Tailer
	key    string // path of the folder of a container, or of the file
	number uint32
	id     identity
	worker *worker
	limit  *bucket // nil without a rate limit; belongs to the worker

	// Belongs to the worker.
	shedText prometheus.Counter // nil before something is shed
	shedLine prometheus.Counter

	shedLabels []string // of both, nil for those that are shared; guarded by Tailer.mu

	// Belongs to the worker's queue, guarded by worker.mu.
	queued bool
	due    time.Time

	mu     sync.Mutex // guards what follows
	places []place
	gens   []*generation // open or waiting for a copy, oldest first
	// known are the files in places that need not be open: all of their
	// content is acknowledged, or they are copies of others.
	known map[fileKey]knownFile
	seq   int
	gone  bool // no file is there or will come
	// streams are the latest of each output.
	streams map[streamKey]*storage.Stream
}

type streamKey struct {
	restart string
	out     output
}

// knownFile is a file as it was when it was closed.
type knownFile struct {
	size, mtime int64
	present     bool
}

// candidate is a file in a place of a lane.
type candidate struct {
	path string
	name logName
	info fileInfo
}

// stream returns the stream of an output with the labels extra beside its own.
// It stays the same while its labels do.
func (l *lane) stream(restart string, out output, extra labels.Labels) *storage.Stream {
	b := labels.NewBuilder(extra)
	set := func(name, value string) {
		if value != "" {
			b.Set(name, value)
		}
	}
	set(storage.LabelCluster, l.t.opts.Cluster)
	set(storage.LabelNode, l.t.opts.Node)
	set(storage.LabelNamespace, l.id.namespace)
	set(storage.LabelPod, l.id.pod)
	set(storage.LabelUID, l.id.uid)
	set(storage.LabelContainer, l.id.container)
	set(storage.LabelFilename, l.id.filename)
	set(storage.LabelRestart, restart)
	set(storage.LabelStream, outputNames[out])
	all := b.Labels()
	key := streamKey{restart, out}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.streams[key]; s != nil && labels.Equal(s.Labels, all) {
		return s
	}
	s := &storage.Stream{Labels: all}
	l.streams[key] = s
	return s
}

// labels returns those of a restart's streams, without the output. mu is held.
func (l *lane) labels(restart string) labels.Labels {
	s := l.streams[streamKey{restart, unnamed}]
	if s == nil {
		return labels.EmptyLabels()
	}
	return s.Labels
}

// candidates lists the files of the lane, oldest first, and tells whether a
// folder of it is there.
func (l *lane) candidates(places []place) (found []candidate, exists bool) {
	for i := 0; i < len(places); i++ {
		p := places[i]
		entries, err := os.ReadDir(p.dir)
		if err != nil {
			continue // gone
		}
		exists = true
		for _, e := range entries {
			name, ok := p.parse(e.Name())
			if !ok {
				continue
			}
			path := filepath.Join(p.dir, e.Name())
			if e.Type()&os.ModeSymlink != 0 && !name.rotated {
				places = l.follow(places, path)
			}
			if info, err := statPath(path); err == nil && !info.dir {
				found = append(found, candidate{path, name, info})
			}
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(a.name.order, b.name.order) })
	return slices.CompactFunc(found, func(a, b candidate) bool { return a.info.key == b.info.key }), exists
}

// follow adds the place that a symbolic link leads to: with Docker the
// kubelet's file is a link, and rotations lie beside its target.
func (l *lane) follow(places []place, link string) []place {
	target, err := filepath.EvalSymlinks(link)
	if err != nil {
		return places
	}
	p := place{dir: filepath.Dir(target), base: filepath.Base(target)}
	if slices.Contains(places, p) {
		return places
	}
	l.t.watcher.watchDir(p.dir, watchedPlace{kind: laneDir, lane: l})
	return append(places, p)
}

// reconcile compares what is on disk with what is open and opens what is new.
// It runs in the watcher alone.
func (l *lane) reconcile(initial bool) {
	l.mu.Lock()
	places := slices.Clone(l.places)
	l.mu.Unlock()
	found, exists := l.candidates(places)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.gens {
		g.present = false
	}
	for k, f := range l.known {
		f.present = false
		l.known[k] = f
	}
	for _, c := range found {
		l.reconcileFile(c, found, initial)
	}
	for _, g := range l.gens {
		if !g.present && g.parked.Load() {
			g.abandon()
		}
		if !g.present && g.open() {
			if info, err := g.stat(); err == nil {
				if g.deleted = info.links == 0; g.deleted {
					l.t.someDeleted.Store(true)
				}
				g.size.Store(info.size)
			}
		}
	}
	for k, f := range l.known {
		if !f.present {
			delete(l.known, k)
		}
	}
	l.dateStale()
	l.sort()
	// A container's first file may be about to come, a plain file is found by
	// its name again.
	l.gone = !exists || len(found) == 0 && l.id.filename != ""
}

func (l *lane) reconcileFile(c candidate, found []candidate, initial bool) {
	for _, g := range l.gens {
		if g.key == c.info.key && g.holdsFile() {
			if g.name.order != c.name.order {
				l.t.metrics.rotations.Inc()
			}
			g.path, g.name, g.present = c.path, c.name, true
			if !c.name.gzip && !g.parked.Load() {
				g.size.Store(c.info.size)
			}
			if g.parked.Load() {
				g.unpark(c)
			}
			return
		}
	}
	if k, ok := l.known[c.info.key]; ok && k.size == c.info.size && k.mtime == c.info.mtime {
		k.present = true
		l.known[c.info.key] = k
		return
	}
	if c.name.gzip && slices.ContainsFunc(found, func(o candidate) bool { return o.path+".gz" == c.path }) {
		return // it is being written; the uncompressed file is removed after that
	}
	l.open(c, initial)
}

// open opens a new file. mu is held.
func (l *lane) open(c candidate, initial bool) {
	if !l.reserve() {
		return
	}
	src := l.openSource(c)
	if src == nil {
		return
	}
	delete(l.known, c.info.key)
	l.seq++
	g := &generation{
		lane: l, seq: l.seq, path: c.path, name: c.name, key: c.info.key, present: true,
		restart: c.name.restart, gzip: c.name.gzip, src: src, found: time.Now(),
	}
	g.history = initial && l.id.filename != "" && l.t.predates(l.key, c.info.key.Birth)
	g.size.Store(c.info.size)
	l.gens = append(l.gens, g)
}

// reserve takes a descriptor for a file of the lane.
func (l *lane) reserve() bool {
	ok := l.t.files.acquire(l)
	if !ok {
		l.t.metrics.openFailures.WithLabelValues("limit").Inc()
	}
	return ok
}

// openSource opens a file for which a descriptor is reserved, unless it was
// renamed since it was listed. mu is held.
func (l *lane) openSource(c candidate) source {
	f, err := os.Open(c.path)
	if err == nil {
		var info fileInfo
		if info, err = statFile(f); err == nil && info.key == c.info.key {
			return newSource(f, c.name.gzip)
		}
		f.Close()
		l.t.watcher.changed(l)
	}
	l.t.files.release()
	if err != nil && !os.IsNotExist(err) {
		l.t.metrics.openFailures.WithLabelValues("error").Inc()
		l.t.opts.Logger.Warn("log file cannot be opened", "err", err)
	}
	return nil
}

// dateStale orders generations that were renamed and deleted before anybody
// saw their new name: they are older than what was found after them. mu is held.
func (l *lane) dateStale() {
	for _, g := range l.gens {
		if g.present || g.name.rotated {
			continue
		}
		for _, o := range l.gens {
			if o.seq > g.seq && o.present && o.restart == g.restart {
				g.name.order = min(g.name.order, o.name.order)
			}
		}
	}
}

// sort brings generations in the order of their age. mu is held.
func (l *lane) sort() {
	slices.SortStableFunc(l.gens, func(a, b *generation) int {
		return cmp.Or(cmp.Compare(a.name.order, b.name.order), cmp.Compare(a.seq, b.seq))
	})
}

// drop takes a generation out. mu is held.
func (l *lane) drop(g *generation) {
	l.gens = slices.DeleteFunc(l.gens, func(o *generation) bool { return o == g })
}

// remember notes that g's file needs no descriptor unless it changes. mu is held.
func (l *lane) remember(g *generation) {
	if info, err := g.stat(); err == nil && info.links > 0 {
		l.known[g.key] = knownFile{size: info.size, mtime: info.mtime, present: true}
	}
}

// find returns the generation that has the file key, other than g.
func (l *lane) find(key fileKey, g *generation) *generation {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.gens {
		if o != g && o.key == key {
			return o
		}
	}
	return nil
}

// snapshot copies the list of generations to scratch.
func (l *lane) snapshot(scratch []*generation) []*generation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(scratch[:0], l.gens...)
}
