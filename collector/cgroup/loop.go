package cgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// degradedRescan is how often everything is walked while some directory has
// no watch.
const degradedRescan = time.Second

// loop keeps a Tree up to date. It belongs to whoever holds Tree.running.
type loop struct {
	t       *Tree
	epoll   int
	in      *inotify
	fds     map[int32]*Group // pidfds and cgroup.events in epoll
	young   []youngGroup
	scratch Stats
	handler Handler // nil unless running

	lastRescan time.Time
	stopped    atomic.Bool

	// wakeMu guards wake, an eventfd that ends a wait, -1 when closed: a
	// context may end after everything else.
	wakeMu sync.Mutex
	wake   int
}

func newLoop(t *Tree) (*loop, error) {
	l := &loop{t: t, fds: make(map[int32]*Group)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cgroup: epoll_create1: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("cgroup: eventfd: %w", err), unix.Close(l.epoll))
	}
	if l.in, err = newInotify(t.maxWatches); err != nil {
		t.log.Warn("without inotify new cgroups are found by walking only; fs.inotify.max_user_instances may be too low",
			"err", err, "interval", degradedRescan)
	}
	for _, fd := range []int{l.wake, l.in.fd} {
		if fd < 0 {
			continue
		}
		if err := l.addFD(fd, unix.EPOLLIN); err != nil {
			return nil, errors.Join(fmt.Errorf("cgroup: epoll_ctl: %w", err), l.close())
		}
	}
	return l, nil
}

func (l *loop) addFD(fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// stop makes run return, now or when it is called.
func (l *loop) stop() {
	l.stopped.Store(true)
	l.wakeUp()
}

// wakeUp ends a wait. Writing can only fail when it is already ended.
func (l *loop) wakeUp() {
	l.wakeMu.Lock()
	defer l.wakeMu.Unlock()
	if l.wake < 0 {
		return
	}
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (l *loop) close() error {
	l.wakeMu.Lock()
	defer l.wakeMu.Unlock()
	err := errors.Join(unix.Close(l.epoll), unix.Close(l.wake))
	l.wake = -1
	if l.in.fd >= 0 {
		err = errors.Join(err, unix.Close(l.in.fd))
	}
	return err
}

// Run keeps the tree up to date and tells h what happens, until ctx ends or
// the tree is closed; both are no error. First it calls Added for every group
// that is present. Only one Run can be active, others wait for it. It binds its
// goroutine to a thread, see hurry: call it in a goroutine of its own.
func (t *Tree) Run(ctx context.Context, h Handler) error {
	t.running.Lock()
	defer t.running.Unlock()
	if t.closed {
		return errors.New("cgroup: the tree is closed")
	}
	defer context.AfterFunc(ctx, t.loop.wakeUp)()
	return t.loop.run(ctx, h)
}

func (l *loop) run(ctx context.Context, h Handler) error {
	l.handler = h
	defer func() { l.handler = nil }()
	hurry(l.t.log)
	for _, g := range l.t.Groups(nil) {
		h.Added(g)
		l.check(g, "check")
	}
	l.lastRescan = time.Now()
	events := make([]unix.EpollEvent, 64)
	for ctx.Err() == nil && !l.stopped.Load() {
		n, err := unix.EpollWait(l.epoll, events, l.timeout())
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("cgroup: epoll_wait: %w", err)
		}
		l.dispatch(events[:max(n, 0)])
		now := time.Now()
		l.checkYoung(now)
		if !now.Before(l.nextRescan()) {
			l.rescanAll("interval")
		}
	}
	return nil
}

// dispatch handles what happened. Groups that empty come first, because
// their directories may be removed at any moment.
func (l *loop) dispatch(events []unix.EpollEvent) {
	changed := false
	for _, e := range events {
		switch int(e.Fd) {
		case l.wake:
			var b [8]byte
			_, _ = unix.Read(l.wake, b[:]) // resets it; nothing to learn
		case l.in.fd:
			changed = true
		default:
			if g := l.fds[e.Fd]; g != nil {
				l.signalled(g, int(e.Fd))
			}
		}
	}
	if changed {
		lost := false
		l.in.read(func(e event) { lost = l.notified(e) || lost })
		if lost {
			l.t.counts.overflows.Add(1)
			l.rescanAll("inotify events were lost")
		}
	}
}

// notified handles one inotify event; true when events were lost.
func (l *loop) notified(e event) bool {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		return true
	}
	if e.mask&unix.IN_IGNORED != 0 {
		l.in.ignored(e.wd)
		return false
	}
	p, ok := l.in.byWD[e.wd]
	if !ok || len(e.name) == 0 {
		return false
	}
	if e.mask&unix.IN_ISDIR == 0 {
		if e.mask&(unix.IN_MODIFY|unix.IN_CLOSE_WRITE) != 0 {
			l.written(p.id, string(e.name), e.mask&unix.IN_CLOSE_WRITE != 0)
		}
		return false
	}
	id := p.id + "/" + string(e.name)
	if p.id == "/" {
		id = "/" + string(e.name)
	}
	switch {
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		l.discover(p.hier, id)
	case e.mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		l.gone(p.hier, id)
	}
	return false
}

// written handles that a file of a group is written to, or was.
func (l *loop) written(id, name string, done bool) {
	g := l.t.get(id)
	if g == nil {
		return
	}
	switch name {
	case procsFile, "tasks", "cgroup.threads":
		l.joined(g, done)
	case eventsFile:
		l.check(g, "events")
	default:
		g.stale.Store(true)
	}
}

// nextRescan is when everything is walked again.
func (l *loop) nextRescan() time.Time {
	if l.in.full {
		return l.lastRescan.Add(min(l.t.rescan, degradedRescan))
	}
	return l.lastRescan.Add(l.t.rescan)
}

// timeout is how long to wait for events, in milliseconds, rounded up.
func (l *loop) timeout() int {
	due := l.nextRescan()
	for _, y := range l.young {
		if y.due.Before(due) {
			due = y.due
		}
	}
	return max(0, int((time.Until(due)+time.Millisecond-1)/time.Millisecond))
}
