package cgroup

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Counters tell how a Tree is doing. All but the first four only grow.
type Counters struct {
	Groups         int // present now
	Watches        int // inotify watches
	Descriptors    int // kept open: files, and what tells when a group empties
	MaxDescriptors int // the bound of Descriptors

	// UnkeptReads are readings of files that had to be opened and closed
	// again because Descriptors was at its bound.
	UnkeptReads uint64
	// NoDescriptor are files that could not be read because the process or
	// the system had no descriptor or memory left.
	NoDescriptor uint64
	// Rescans are full walks after the first one, for whatever reason.
	Rescans uint64
	// Overflows are losses of inotify events, each answered by a rescan.
	Overflows uint64
	// WatchesRefused are directories that inotify has no watch for, because of
	// the bound or the user's limit; rescans find what changes below them.
	WatchesRefused uint64
	// Vanished are readings that ended with ErrGone.
	Vanished uint64
	// Missed are directories that were announced but gone when looked at.
	Missed uint64
	// RemovedUnread are groups that had processes and were removed without a
	// successful reading after the last one had gone.
	RemovedUnread uint64
	// RemovedUnseen are groups removed without ever having been seen with a
	// process, in them or below.
	RemovedUnseen uint64
	// PidfdFailed are groups whose emptying only a rescan notices, because no
	// pidfd could be had (kernel before 5.3, other pid namespace, descriptors).
	PidfdFailed uint64

	// Emptied by what told it: "events" (cgroup.events), "pidfd", "check"
	// (cgroup.procs read after a write to it, for a young group, or by a
	// rescan), "child" (the last populated group below emptied), "rmdir" (the
	// directory was removed from one hierarchy and is still in another).
	Emptied map[string]uint64
	// ParseErrors by file name.
	ParseErrors map[string]uint64
}

// counts are the live counters.
type counts struct {
	unkept, noDescriptor, rescans, overflows, refused       atomic.Uint64
	vanished, missed, removedUnread, removedUnseen, noPidfd atomic.Uint64
	watches                                                 atomic.Int64

	mu      sync.Mutex // guards the maps
	emptied map[string]uint64
	parse   map[string]uint64
}

func (c *counts) parseError(file string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parse[file]++
}

func (c *counts) emptiedBy(source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emptied[source]++
}

// Counters returns the present counts.
func (t *Tree) Counters() Counters {
	c := &t.counts
	out := Counters{
		Watches: int(c.watches.Load()), Descriptors: int(t.budget.used.Load()), MaxDescriptors: int(t.budget.max),
		UnkeptReads: c.unkept.Load(), NoDescriptor: c.noDescriptor.Load(), Rescans: c.rescans.Load(),
		Overflows: c.overflows.Load(), WatchesRefused: c.refused.Load(), Vanished: c.vanished.Load(),
		Missed: c.missed.Load(), RemovedUnread: c.removedUnread.Load(), RemovedUnseen: c.removedUnseen.Load(),
		PidfdFailed: c.noPidfd.Load(),
	}
	t.mu.Lock()
	out.Groups = len(t.sorted)
	t.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Emptied, out.ParseErrors = maps.Clone(c.emptied), maps.Clone(c.parse)
	return out
}
