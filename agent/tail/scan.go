package tail

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// scanEntry looks at an entry of a folder of logs.
func (w *watcher) scanEntry(path string, initial bool) {
	name := filepath.Base(path)
	if _, ok := parsePodDir(name); ok && !strings.HasSuffix(name, ".log") {
		w.scanPod(path, initial)
		return
	}
	if strings.HasSuffix(name, ".log") {
		w.scanLink(path, initial)
		return
	}
	if len(name) == dockerIDLen {
		w.scanDocker(path, identity{}, initial)
	}
}

// scanPod looks at the folder of a pod: its entries are containers.
func (w *watcher) scanPod(path string, initial bool) {
	id, ok := parsePodDir(filepath.Base(path))
	if !ok {
		return
	}
	w.watchDir(path, watchedPlace{kind: podDir})
	entries, err := os.ReadDir(path)
	if err != nil {
		return // it is gone
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		id.container = e.Name()
		dir := filepath.Join(path, e.Name())
		w.add(dir, id, place{dir: dir}, initial)
	}
}

// scanLink looks at a link as in /var/log/containers. It leads to a file of a
// pod's container, or of Docker.
func (w *watcher) scanLink(path string, initial bool) {
	target, err := os.Readlink(path)
	if err != nil {
		return // gone, or no link
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	dir := filepath.Dir(target)
	if id, ok := parsePodDir(filepath.Base(filepath.Dir(dir))); ok {
		id.container = filepath.Base(dir)
		w.add(dir, id, place{dir: dir}, initial)
		return
	}
	if id, ok := parseLinkName(filepath.Base(path)); ok && len(filepath.Base(dir)) == dockerIDLen {
		w.scanDocker(dir, id, initial)
	}
}

// dockerIDLen is the length of a container's id.
const dockerIDLen = 64

// scanDocker looks at the folder that Docker has for a container. id is what
// is known from elsewhere.
func (w *watcher) scanDocker(dir string, id identity, initial bool) {
	id.containerID = filepath.Base(dir)
	if id.container == "" {
		id = readDockerIdentity(dir, id)
	}
	w.add(dir, id, place{dir: dir, base: id.containerID + "-json.log"}, initial)
}

// scanGlobs looks for plain files, and watches the folders where they may come.
func (w *watcher) scanGlobs(initial bool) {
	for _, pattern := range w.t.opts.Globs {
		dirs, err := filepath.Glob(filepath.Dir(pattern))
		if err != nil {
			continue // the pattern was checked; a folder that cannot be read has no files for us
		}
		for _, dir := range dirs {
			w.watchDir(dir, watchedPlace{kind: globDir})
			matches, _ := filepath.Glob(filepath.Join(escapeGlob(dir), filepath.Base(pattern)))
			for _, path := range matches {
				w.addPlain(path, initial)
			}
		}
	}
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(dir string) string { return globEscaper.Replace(dir) }

func (w *watcher) addPlain(path string, initial bool) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, ".tmp") {
		return
	}
	p := plainLane(path)
	if _, ok := p.parse(filepath.Base(path)); !ok {
		return
	}
	key := filepath.Join(p.dir, p.base)
	w.add(key, identity{filename: key}, p, initial)
}

// add makes a lane unless there is one, and has it looked at. The folder is
// watched first, so that nothing comes between the two.
func (w *watcher) add(key string, id identity, p place, initial bool) {
	l, isNew := w.t.lane(key, id, p)
	if id.filename == "" {
		w.watchDir(p.dir, watchedPlace{kind: laneDir, lane: l})
	}
	if isNew || id.filename != "" {
		l.reconcile(initial)
		l.worker.wake(l)
	}
}

// lane returns the lane with a key, made if there is none.
func (t *Tailer) lane(key string, id identity, p place) (l *lane, isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[key]; l != nil {
		return l, false
	}
	number := uint32(xxhash.Sum64String(key))
	l = &lane{
		t: t, key: key, number: number, id: id, worker: t.workers[number%uint32(len(t.workers))],
		limit: newBucket(t.opts.RateLimit, t.opts.Burst), places: []place{p},
		streams: make(map[streamKey]*storage.Stream), known: make(map[fileKey]knownFile),
	}
	for _, p := range t.keeper.of(key) {
		if p.Done {
			l.known[p.File] = knownFile{size: p.Size, mtime: p.Modified}
		}
	}
	t.lanes[key] = l
	return l, true
}

// allLanes returns the lanes as they are now.
func (t *Tailer) allLanes() []*lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*lane, 0, len(t.lanes))
	for _, l := range t.lanes {
		all = append(all, l)
	}
	return all
}

// forget drops a lane whose files are gone and delivered.
func (t *Tailer) forget(l *lane) {
	l.mu.Lock()
	gone := l.gone && len(l.gens) == 0
	places := l.places
	l.mu.Unlock()
	if !gone {
		return
	}
	if l.id.filename == "" && t.watcher.in != nil {
		for _, p := range places {
			t.watcher.in.removeDir(p.dir)
		}
	}
	t.metrics.forgetShed(l)
	t.mu.Lock()
	delete(t.lanes, l.key)
	t.mu.Unlock()
}

// forgetPositions drops the positions of files that are gone.
func (t *Tailer) forgetPositions() {
	for _, p := range t.keeper.unclaimed() {
		t.mu.Lock()
		l := t.lanes[p.lane]
		t.mu.Unlock()
		waiting := l != nil && l.waitsFor(p.file) || t.rootMissing(p.lane)
		if !t.keeper.missed(p.position, waiting) || p.done {
			continue
		}
		if p.unread > 0 {
			t.lost(p.path, "gone", p.unread)
			continue
		}
		t.opts.Logger.Info("log file was deleted while it was not watched; lines that came after the last known may be missing",
			"file", p.path)
	}
}

// rootMissing tells whether a lane lies in a folder of logs that is not there
// at all: it may not be mounted yet.
func (t *Tailer) rootMissing(lane string) bool {
	for _, root := range t.opts.PodLogs {
		if strings.HasPrefix(lane, filepath.Clean(root)+"/") {
			_, err := os.Stat(root)
			return err != nil
		}
	}
	return false
}

// waitsFor tells whether a file of the lane has, or may turn out to have, the
// position of the file with a key.
func (l *lane) waitsFor(key fileKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[key]; ok {
		return true
	}
	for _, g := range l.gens {
		if g.key == key || g.kind.Load() == 0 {
			return true
		}
	}
	return false
}

// boundDeleted gives up the largest deleted files while they hold more than
// they may.
func (t *Tailer) boundDeleted() {
	for t.someDeleted.Swap(false) {
		var held int64
		var largest *generation
		for _, l := range t.allLanes() {
			l.mu.Lock()
			for _, g := range l.gens {
				if !g.deleted || g.giveUp.Load() || !g.open() {
					continue
				}
				t.someDeleted.Store(true)
				held += g.size.Load()
				if largest == nil || g.size.Load() > largest.size.Load() {
					largest = g
				}
			}
			l.mu.Unlock()
		}
		t.deletedBytes.Store(held)
		if held <= t.opts.MaxDeletedBytes {
			return
		}
		largest.giveUp.Store(true)
		largest.closeSource()
		largest.lane.worker.wake(largest.lane)
	}
}

// lost reports content that will never be delivered.
func (t *Tailer) lost(path, reason string, bytes int64) {
	t.metrics.lostBytes.WithLabelValues(reason).Add(float64(bytes))
	t.opts.Logger.Error("log lines are lost", "file", path, "reason", reason, "bytes", bytes)
}

// File describes a file that is being read, for a status page.
type File struct {
	Path   string
	Format string // "unknown" before the first line
	// Size is in bytes; Offset is how far it was read, and Acknowledged how far
	// all records are durable. Of compressed files Size is as far as it is known.
	Size, Offset, Acknowledged int64
	// Deleted files are held open until they are delivered.
	Deleted bool
	Lane    uint32
	Labels  labels.Labels
}
