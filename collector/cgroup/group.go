package cgroup

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone is returned for a group whose directory has been removed.
var ErrGone = errors.New("cgroup: the group is gone")

const (
	// seldomEvery is how often configuration is looked at without a sign that
	// it changed. Of the hierarchies that have no watch, such as a separate
	// cpu, there is no sign.
	seldomEvery = time.Minute
	// probeEvery is how often absent files are tried again.
	probeEvery = 5 * time.Minute
	// youngFor is how long after its discovery a group may still be under
	// construction: other hierarchies follow, v2 controllers get enabled, limits
	// are set. Every reading looks at everything as long.
	youngFor = 5 * time.Second
)

// Group is one cgroup, on v1 in all hierarchies where its path exists. Its
// methods are safe for concurrent use.
type Group struct {
	tree     *Tree
	id       string
	identity Identity
	created  time.Time

	// stale: configuration was written to, or the next reading may be the
	// last one.
	stale atomic.Bool
	// procsHier is the hierarchy where processes were seen last.
	procsHier atomic.Int32
	// read counts successful readings, for telling whether one came after
	// the last process had gone.
	read atomic.Uint64

	// mu guards what follows. It may be taken while Tree.mu is held, never
	// the other way round.
	mu       sync.Mutex
	files    []file      // by source
	huge     []hugeFiles // by Tree.hugeSources
	gone     bool
	seldom   seldomValues
	kept     keptValues
	seldomAt time.Time // when configuration is looked at again
	found    time.Time
	probeAt  time.Time // when absent files are tried again
	bfq      bool

	// What follows belongs to the goroutine of Tree.Run.
	watch groupWatch
}

// seldomValues are kept from one looking at the configuration to the next.
type seldomValues struct {
	have    Set // sets whose files were looked at
	read    Set // of these, those that could be read
	spec    Spec
	cpuset  Cpuset
	pidsMax uint64
}

// keptValues are of files that are read again only when they may have changed.
type keptValues struct {
	// cpu has user and system as they were when Usage was what it says.
	cpu      CPU
	cpuKnown bool
	// failCount is None until it was read.
	failCount uint64
	// peak and kills are of the memory controller, underOOM goes with kills.
	peak, kills valueAt
	underOOM    uint64
	// usage is the CPU time at the last reading. What settles is kept once
	// that was the same at two readings.
	usage  uint64
	kernel valueAt
	ioAt   valueAt // without a value, that is in io
	io     []DeviceIO
	psiAt  valueAt // as well, in psi
	psi    PSI
}

// valueAt is a value read when the group had used so much CPU time. The zero
// value is of no use, and so is one read without the CPU time.
type valueAt struct{ cpu, value uint64 }

// idle tells whether the group has not run since the value was read: the CPU
// time is read before it.
func (v valueAt) idle(s *Stats) bool {
	return v.cpu != 0 && v.cpu != None && v.cpu == s.CPU.Usage
}

func newGroup(t *Tree, id string, now time.Time) *Group {
	g := &Group{tree: t, id: id, identity: identify(id), created: now, found: now}
	g.files = make([]file, len(t.sources))
	g.seldom.pidsMax, g.kept.failCount = None, None
	g.seldom.spec, g.seldom.cpuset = noSpec, noCpuset
	g.procsHier.Store(-1)
	g.watch.init(len(t.layout.hiers))
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	// Groups found together do this at different ticks.
	part := time.Duration(h.Sum32() % 1024)
	g.seldomAt = now.Add(seldomEvery * part / 1024)
	g.probeAt = now.Add(youngFor + probeEvery*part/1024)
	return g
}

// ID is the path of the group below the root of its hierarchy, as cAdvisor
// and the kubelet show it: "/" or "/kubepods/burstable/pod<uid>/<id>".
func (g *Group) ID() string { return g.id }

// Identity is what the path tells about the group.
func (g *Group) Identity() Identity { return g.identity }

// CreatedAt is when the group was made, by the oldest time stamp of its
// directories, or when it was noticed if that is older.
func (g *Group) CreatedAt() time.Time { return g.created }

// Pids appends the processes in this very group that have a pid in the pid
// namespace of the reader.
func (g *Group) Pids(dst []int) ([]int, error) {
	s := Stats{path: make([]byte, 0, 256)}
	b, err := g.readProcs(&s)
	if err != nil {
		return dst, err
	}
	return appendPids(dst, b), nil
}

// readProcs reads cgroup.procs anew, from the first hierarchy that has
// processes.
func (g *Group) readProcs(s *Stats) ([]byte, error) {
	last := ErrGone
	for _, h := range g.tree.layout.primary {
		b, err := g.readProcsOf(s, h)
		switch {
		case len(b) > 0:
			g.procsHier.Store(int32(h))
			return b, nil
		case err == nil:
			last = nil
		case errors.Is(classify(err, true), errNoFile):
			// Whether there are processes is not known.
			return nil, fmt.Errorf("cgroup: %s of %s: %w: %w", procsFile, g.id, errNoFile, err)
		}
	}
	return nil, last
}

// readProcsOf reads cgroup.procs anew from one hierarchy.
func (g *Group) readProcsOf(s *Stats, h int) ([]byte, error) {
	fd, err := openPath(s, g.tree.layout.hiers[h].dir, g.id, procsFile)
	if err != nil {
		return nil, err
	}
	b, err := readAll(fd, s, true)
	_ = unix.Close(fd) // nothing was written
	return b, err
}

// close gives the descriptors back; every later reading finds the group gone.
func (g *Group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	for i := range g.files {
		g.drop(&g.files[i])
	}
	for i := range g.huge {
		g.huge[i].each(g.drop)
	}
}

// drop closes a kept descriptor. g.mu is held.
func (g *Group) drop(f *file) {
	if f.state == fileKept {
		_ = unix.Close(int(f.fd)) // nothing was written
		g.tree.budget.give()
	}
	f.state = fileUnknown
}

// oldest returns the earlier of t and the modification time of a file.
func oldest(t time.Time, path string) time.Time {
	if fi, err := os.Lstat(path); err == nil && fi.ModTime().Before(t) {
		return fi.ModTime()
	}
	return t
}
