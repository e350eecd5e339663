package cgroup

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a Tree. The zero value is right for a host's own cgroups.
type Options struct {
	// Root is where cgroups are mounted; /sys/fs/cgroup when empty.
	Root string
	// ProcRoot is where proc is mounted; /proc when empty. Only
	// self/mountinfo is read there.
	ProcRoot string
	// MaxDescriptors bounds the descriptors kept open. 0 means 80 % of the
	// process's limit, which is raised to what the system allows, and at most
	// 65,536: each costs the kernel some 5 KiB.
	MaxDescriptors int
	// RescanInterval is how often everything is walked although inotify tells
	// what changes; 1 min when 0.
	RescanInterval time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

const (
	defaultRescan  = time.Minute
	maxDescriptors = 65536
	// maxWatches bounds the inotify watches; each pins about 1 KiB of kernel
	// memory. Two hierarchies of 10,000 groups fit.
	maxWatches = 20480
)

// Handler is told what happens to groups, by the goroutine of Tree.Run, one
// call at a time. It should return quickly: while it works, nobody notices
// that other groups empty. It must not call Run or Close.
type Handler interface {
	// Added is called once for each group, parents first.
	Added(*Group)
	// Emptied is called when the last process of the group and of those below
	// it has gone. Its files can still be read during the call, usually for
	// not much longer. A group that is filled again may empty again.
	Emptied(*Group)
	// Removed is called once for each group that was added; it cannot be read
	// any more.
	Removed(*Group)
}

// Tree is the groups of a host. Run keeps it up to date. Its methods are safe
// for concurrent use.
type Tree struct {
	layout     *layout
	sources    []source
	huge       atomic.Pointer[[]hugeSource]
	parser     *parser
	budget     budget
	counts     counts
	want       atomic.Uint32 // the last Set that was asked for
	rescan     time.Duration
	maxWatches int
	log        *slog.Logger

	// mu guards byID and sorted, which only the owner of loop changes.
	// Group.mu may be taken while it is held.
	mu     sync.Mutex
	byID   map[string]*Group
	sorted []*Group

	// running is held by Run, and by Close when Run has ended. It comes
	// before mu. loop belongs to whoever holds it.
	running sync.Mutex
	loop    *loop
	closed  bool
}

// Open finds the layout of the cgroups at Options.Root and walks them once.
// The error names a root or hierarchy that cannot be read.
func Open(o Options) (*Tree, error) {
	root, proc := cmp.Or(o.Root, "/sys/fs/cgroup"), cmp.Or(o.ProcRoot, "/proc")
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("cgroup: root %s: %w", o.Root, err)
	}
	l, err := detect(root, proc)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		layout: l, sources: buildSources(l), parser: newParser(), rescan: cmp.Or(o.RescanInterval, defaultRescan),
		maxWatches: maxWatches, log: o.Logger, byID: make(map[string]*Group),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.budget.max = int64(cmp.Or(o.MaxDescriptors, defaultDescriptors()))
	t.counts.emptied, t.counts.parse = make(map[string]uint64), make(map[string]uint64)
	if t.loop, err = newLoop(t); err != nil {
		return nil, err
	}
	t.loop.walk()
	return t, nil
}

// defaultDescriptors raises the soft limit of descriptors to the hard one and
// leaves a fifth of it to the rest of the process.
func defaultDescriptors() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 800 // of the 1,024 that every system allows
	}
	if r.Cur < r.Max {
		raised := unix.Rlimit{Cur: r.Max, Max: r.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err == nil {
			r = raised
		}
	}
	return int(min(r.Cur/5*4, maxDescriptors))
}

// Version tells what kind of host this is.
func (t *Tree) Version() Version { return t.layout.version }

// Groups appends the groups that are present, the root first, then by ID.
func (t *Tree) Groups(dst []*Group) []*Group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(dst, t.sorted...)
}

// wanted is what readings ask for, the default before the first one.
func (t *Tree) wanted() Set { return Set(cmp.Or(t.want.Load(), uint32(SetDefault))) }

// get returns a present group or nil.
func (t *Tree) get(id string) *Group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// below returns the present groups below a path, the deepest of each branch
// first.
func (t *Tree) below(id string) []*Group {
	t.mu.Lock()
	defer t.mu.Unlock()
	prefix := strings.TrimSuffix(id, "/") + "/"
	i, _ := slices.BinarySearchFunc(t.sorted, prefix, compareID)
	var out []*Group
	for ; i < len(t.sorted) && strings.HasPrefix(t.sorted[i].id, prefix); i++ {
		if t.sorted[i].id != prefix { // the root is not below itself
			out = append(out, t.sorted[i])
		}
	}
	slices.Reverse(out)
	return out
}

// insert makes a group present.
func (t *Tree) insert(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[g.id] = g
	i, _ := slices.BinarySearchFunc(t.sorted, g.id, compareID)
	t.sorted = slices.Insert(t.sorted, i, g)
}

// remove takes a group away.
func (t *Tree) remove(g *Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, g.id)
	if i, ok := slices.BinarySearchFunc(t.sorted, g.id, compareID); ok {
		t.sorted = slices.Delete(t.sorted, i, i+1)
	}
}

// compareID orders "/" before everything, which is a prefix of all others.
func compareID(g *Group, id string) int { return strings.Compare(g.id, id) }

// Close ends Run and gives every descriptor back. Readings afterwards find
// their groups gone.
func (t *Tree) Close() error {
	t.loop.stop()
	t.running.Lock()
	defer t.running.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	for _, g := range t.Groups(nil) {
		g.close()
		t.loop.unwatchGroup(g)
	}
	return t.loop.close()
}
