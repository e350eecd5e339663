package cgroup

import (
	"errors"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// groupWatch is how a Tree follows the processes of a group. It belongs to
// the loop.
type groupWatch struct {
	ino      []uint64 // by hierarchy: the directory, 0 where it is not known to exist
	alive    bool     // has processes, in it or below
	ever     bool     // was alive
	readAt   uint64   // Group.read when it emptied last
	self     bool     // cgroup.procs has a process
	events   bool     // cgroup.events says populated
	told     bool     // cgroup.events could be read last time
	frozen   uint64   // cgroup.events
	usage    uint64   // CPU time when it emptied last, 0 before
	kids     int      // alive children
	counted  *Group   // the parent in whose kids this group is counted
	pidfd    int      // of one of its processes, -1 without
	eventsFD int      // of cgroup.events, -1 without
	queued   bool     // in loop.young
	noPidfd  bool     // counted in Counters.PidfdFailed
}

func (w *groupWatch) init(hiers int) {
	w.ino = make([]uint64, hiers)
	w.pidfd, w.eventsFD = -1, -1
}

// present tells whether the group exists in any hierarchy.
func (w *groupWatch) present() bool {
	for _, ino := range w.ino {
		if ino != 0 {
			return true
		}
	}
	return false
}

// youngGroup is a group without a process so far, to be looked at again.
type youngGroup struct {
	g    *Group
	due  time.Time
	wait time.Duration
}

const (
	// A young group is looked at after 1, 2, 4, … ms, for about a second.
	firstYoungWait = time.Millisecond
	lastYoungWait  = 512 * time.Millisecond
	// maxYoung bounds how many are looked at; beyond, a write to cgroup.procs
	// or the next rescan tells.
	maxYoung = 1024
)

// watchYoung queues a group that has no process yet. With cgroup.events the
// kernel tells when it gets one.
func (l *loop) watchYoung(g *Group) {
	w := &g.watch
	if w.alive || w.ever || w.queued || w.eventsFD >= 0 && l.t.layout.version == V2 || g.id == "/" || len(l.young) >= maxYoung {
		return
	}
	w.queued = true
	l.young = append(l.young, youngGroup{g: g, due: time.Now().Add(firstYoungWait), wait: firstYoungWait})
}

// checkYoung looks at the young groups that are due.
func (l *loop) checkYoung(now time.Time) {
	left := l.young[:0]
	for _, y := range l.young {
		if !y.due.After(now) {
			if y.g.watch.present() && !y.g.watch.ever {
				l.check(y.g, "check")
			}
			y.wait *= 2
			y.due = now.Add(y.wait)
		}
		if y.wait > lastYoungWait || y.g.watch.ever || !y.g.watch.present() {
			y.g.watch.queued = false
			continue
		}
		left = append(left, y)
	}
	clear(l.young[len(left):])
	l.young = left
}

// check looks at the processes of a group. The root is never empty.
func (l *loop) check(g *Group, source string) {
	if g.id == "/" {
		return
	}
	w := &g.watch
	l.readEvents(g)
	// Pure v2 needs no pids: cgroup.events tells of the descendants too.
	w.self = (l.t.layout.version != V2 || !w.told) && l.lookForProcs(g)
	l.settle(g, w.self || w.events || w.kids > 0, source)
}

// joined handles that a process is put into a group, or was when done: then
// it may have ended before it was looked for.
func (l *loop) joined(g *Group, done bool) {
	if g.id == "/" {
		return
	}
	was := g.watch.alive
	l.check(g, "check")
	if done && !was && !g.watch.alive {
		l.bounced(g, "check")
	}
}

// bounced handles that a group which was empty is so again. The news may be
// about processes whose end has been told already, for instance when they
// were put into the group in several hierarchies, or about a write that was
// refused; CPU time shows whether there is something new to read.
func (l *loop) bounced(g *Group, source string) {
	u := l.usage(g)
	if u == g.watch.usage || u == None && g.watch.ever {
		return
	}
	l.emptied(g, source)
	if p := l.t.get(path.Dir(g.id)); p != nil && p.id != "/" && !p.watch.alive {
		l.bounced(p, "child")
	}
}

// usage reads the CPU time of a group, None where there is none.
func (l *loop) usage(g *Group) uint64 {
	_ = g.collect(&l.scratch, SetCPU) // a group that is gone has None
	return l.scratch.CPU.Usage
}

// signalled handles that a descriptor in epoll has something to tell.
func (l *loop) signalled(g *Group, fd int) {
	w := &g.watch
	if fd == w.pidfd {
		l.dropPidfd(g)
		l.check(g, "pidfd")
		return
	}
	// Another event of the same wait may have made us read the file already.
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	if n, err := unix.Poll(p, 0); err == nil && n == 0 {
		return
	}
	populated, frozen := w.events, w.frozen
	if !l.readEvents(g) {
		l.gone(l.t.layout.find(ctrlUnified), g.id)
		return
	}
	// On a hybrid host the pids of v1 may have gone with it.
	w.self = w.self && (w.events || l.lookForProcs(g))
	was := w.alive
	l.settle(g, w.self || w.events || w.kids > 0, "events")
	if !was && !populated && !w.events && w.frozen == frozen {
		l.bounced(g, "events") // populated and empty again since the last look
	}
}

// settle takes note of whether a group has processes.
func (l *loop) settle(g *Group, alive bool, source string) {
	w := &g.watch
	if w.alive == alive {
		return
	}
	w.alive = alive
	if !alive {
		l.emptied(g, source)
		l.childEmptied(g)
		return
	}
	w.ever = true
	if p := l.t.get(path.Dir(g.id)); p != nil && p.id != "/" {
		p.watch.kids++
		w.counted = p
		l.settle(p, true, "child")
	}
	// Now that there is something to lose the files are opened, so that the
	// last reading only has to read.
	_ = g.collect(&l.scratch, l.t.wanted())
}

// emptied tells that the last process has gone.
func (l *loop) emptied(g *Group, source string) {
	w := &g.watch
	w.ever = true
	w.readAt = g.read.Load()
	l.dropPidfd(g)
	g.stale.Store(true) // look at everything: this may be the last reading
	l.t.counts.emptiedBy(source)
	if l.handler != nil {
		l.handler.Emptied(g)
	}
	w.usage = l.usage(g)
}

// childEmptied takes a group that has emptied out of its parent's count.
func (l *loop) childEmptied(g *Group) {
	p := g.watch.counted
	if p == nil {
		return
	}
	g.watch.counted = nil
	w := &p.watch
	w.kids--
	if w.present() && w.kids == 0 && !w.self && !w.events {
		l.settle(p, false, "child")
	}
}

// lookForProcs tells whether cgroup.procs has a process, and watches one of
// them by a pidfd unless cgroup.events does that.
func (l *loop) lookForProcs(g *Group) bool {
	w := &g.watch
	// A process can end between the listing and pidfd_open; a few attempts
	// find one that lives or an empty list.
	for range 4 {
		b, err := g.readProcs(&l.scratch)
		if errors.Is(err, errNoFile) {
			return w.self // as far as is known
		}
		if err != nil || len(b) == 0 {
			return false
		}
		if w.pidfd >= 0 || w.events && w.eventsFD >= 0 || l.openPidfd(g, b) {
			return true
		}
	}
	if !w.noPidfd {
		w.noPidfd = true
		l.t.counts.noPidfd.Add(1)
	}
	return true
}

// openPidfd watches the first process of the list that still lives.
func (l *loop) openPidfd(g *Group, procs []byte) bool {
	for len(procs) > 0 {
		var line []byte
		line, procs = nextLine(procs)
		pid, n := leadingUint(line)
		if n == 0 || pid == 0 || pid > 1<<31-1 {
			continue
		}
		if !l.t.budget.take(false) {
			return false
		}
		fd, err := unix.PidfdOpen(int(pid), 0)
		if err == nil {
			err = l.addFD(fd, unix.EPOLLIN)
			if err == nil {
				g.watch.pidfd = fd
				l.fds[int32(fd)] = g
				return true
			}
			_ = unix.Close(fd) // nothing was written
		}
		l.t.budget.give()
		if !errors.Is(err, unix.ESRCH) {
			return false
		}
	}
	return false
}

// readEvents reads cgroup.events of a group that exists on cgroup2, and keeps
// it open to be told of changes. False when it was open and is gone.
func (l *loop) readEvents(g *Group) bool {
	w := &g.watch
	w.told = false
	h := l.t.layout.find(ctrlUnified)
	if h < 0 || w.ino[h] == 0 {
		w.events = false
		return true
	}
	fd := w.eventsFD
	if fd < 0 {
		var err error
		if fd, err = openPath(&l.scratch, l.t.layout.hiers[h].dir, g.id, eventsFile); err != nil {
			w.events = w.events && errors.Is(classify(err, true), errNoFile)
			return true
		}
	}
	b, err := readAll(fd, &l.scratch, false)
	if err == nil {
		v := [2]uint64{0, 0}
		if l.t.parser.events.parse(b, v[:]) {
			w.told, w.events, w.frozen = true, v[0] != 0, v[1]
		} else {
			l.t.counts.parseError(eventsFile)
		}
	}
	if w.eventsFD >= 0 {
		if err != nil {
			w.events = false
			l.dropEvents(g)
		}
		return err == nil
	}
	// A recorded tree has plain files, which epoll refuses.
	if err == nil && l.t.budget.take(false) {
		if l.addFD(fd, unix.EPOLLPRI) == nil {
			w.eventsFD = fd
			l.fds[int32(fd)] = g
			return true
		}
		l.t.budget.give()
	}
	_ = unix.Close(fd) // nothing was written
	return true
}

// dropPidfd closes the pidfd of a group, if it has one.
func (l *loop) dropPidfd(g *Group) { l.dropFD(&g.watch.pidfd) }

// dropEvents closes cgroup.events of a group, if it is open.
func (l *loop) dropEvents(g *Group) { l.dropFD(&g.watch.eventsFD) }

// dropFD closes a descriptor, which takes it out of epoll too.
func (l *loop) dropFD(fd *int) {
	if *fd >= 0 {
		delete(l.fds, int32(*fd))
		_ = unix.Close(*fd) // nothing was written
		l.t.budget.give()
		*fd = -1
	}
}

// unwatchGroup gives back what following a group takes.
func (l *loop) unwatchGroup(g *Group) {
	l.dropPidfd(g)
	l.dropEvents(g)
}
