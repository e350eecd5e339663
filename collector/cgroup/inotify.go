package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// place is a directory of a hierarchy.
type place struct {
	hier int
	id   string
}

// watchMask: directories that come and go, and writes of user space: to
// cgroup.procs when a process is put into the group, to limits. Writers that
// open with O_TRUNC cause IN_MODIFY before they have written.
const watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MODIFY |
	unix.IN_CLOSE_WRITE | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// inotify watches directories. It is used raw because the events are then
// read by the same goroutine, from the same epoll, as the pidfds that must
// not wait, and because a name costs nothing unless it matters.
// It belongs to the loop.
type inotify struct {
	fd   int // -1 when inotify is not to be had
	max  int
	byWD map[int32]place
	wds  map[place]int32
	buf  [8192]byte // about 170 events, so that a pidfd never waits for more
	full bool       // a watch was refused
}

func newInotify(limit int) (*inotify, error) {
	n := &inotify{fd: -1, max: limit, byWD: make(map[int32]place), wds: make(map[place]int32)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		n.full = true
		return n, fmt.Errorf("inotify_init1: %w", err)
	}
	n.fd = fd
	return n, nil
}

// add watches a directory. False when there is no watch to be had; a
// directory that is gone is no refusal.
func (n *inotify) add(p place, dir string) bool {
	if n.fd < 0 || len(n.byWD) >= n.max && n.wds[p] == 0 {
		n.full = true
		return false
	}
	wd, err := unix.InotifyAddWatch(n.fd, dir, watchMask)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return true
		}
		n.full = true
		return false
	}
	// After a rename the kernel still has the watch of the old name.
	if old, ok := n.byWD[int32(wd)]; ok && old != p {
		delete(n.wds, old)
	}
	n.byWD[int32(wd)], n.wds[p] = p, int32(wd)
	return true
}

// remove ends the watch of a directory, if there is one.
func (n *inotify) remove(p place) {
	wd, ok := n.wds[p]
	if !ok {
		return
	}
	delete(n.wds, p)
	delete(n.byWD, wd)
	_, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) // the kernel may have dropped it with the directory
}

// ignored forgets a watch that the kernel has ended.
func (n *inotify) ignored(wd int32) {
	if p, ok := n.byWD[wd]; ok {
		delete(n.byWD, wd)
		if n.wds[p] == wd {
			delete(n.wds, p)
		}
	}
}

// event is one inotify event. name is only valid during the call.
type event struct {
	wd   int32
	mask uint32
	name []byte
}

// read calls f for the events of one read. It returns at once without any.
func (n *inotify) read(f func(event)) {
	size, err := unix.Read(n.fd, n.buf[:])
	if err != nil || size <= 0 {
		return
	}
	for b := n.buf[:size]; len(b) >= unix.SizeofInotifyEvent; {
		e := event{
			wd:   int32(binary.NativeEndian.Uint32(b)),
			mask: binary.NativeEndian.Uint32(b[4:]),
		}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if end > len(b) {
			return
		}
		e.name, _, _ = bytes.Cut(b[unix.SizeofInotifyEvent:end], []byte{0})
		b = b[end:]
		f(e)
	}
}
