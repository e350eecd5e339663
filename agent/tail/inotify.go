package tail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// dirMask: files and folders that come, go and change their names.
const dirMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// fileMask asks for one event. A file is watched when its end was read and
// not while it is: lines cost no events under load, which a watch of its
// folder would, and fsnotify's with it.
const fileMask = unix.IN_MODIFY | unix.IN_ONESHOT

// placeKind is what a watched folder is.
type placeKind uint8

const (
	rootDir placeKind = iota // its entries are pods, links or containers
	podDir                   // its entries are containers
	laneDir                  // its entries are log files
	globDir                  // its entries may match a glob
)

type watchedPlace struct {
	kind placeKind
	path string
	lane *lane
}

// inotify watches folders for names, and files for their next write.
type inotify struct {
	fd   int
	file *os.File // of fd, so that reading waits in the runtime's poller

	mu     sync.Mutex // guards what follows, and fd while closed is false
	closed bool
	dirs   map[int32]watchedPlace
	wds    map[string]int32 // of dirs
	files  map[int32]*generation
}

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	return &inotify{
		fd: fd, file: os.NewFile(uintptr(fd), "inotify"),
		dirs: make(map[int32]watchedPlace), wds: make(map[string]int32), files: make(map[int32]*generation),
	}, nil
}

// close ends everything. fd may belong to somebody else after that.
func (n *inotify) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.file.Close()
}

// addDir watches a folder. One that does not exist is no error.
func (n *inotify) addDir(p watchedPlace) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.wds[p.path]; ok || n.closed {
		return nil
	}
	wd, err := unix.InotifyAddWatch(n.fd, p.path, dirMask)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", p.path, err)
	}
	if old, ok := n.dirs[int32(wd)]; ok {
		delete(n.wds, old.path)
	}
	n.dirs[int32(wd)], n.wds[p.path] = p, int32(wd)
	return nil
}

// removeDir ends the watch of a folder, if there is one.
func (n *inotify) removeDir(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wd, ok := n.wds[path]
	if !ok || n.closed {
		return
	}
	delete(n.wds, path)
	delete(n.dirs, wd)
	_, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) // the kernel drops it with the folder
}

// addFile has the next write to an open file reported, whatever its name is.
func (n *inotify) addFile(g *generation, f *os.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errClosed
	}
	wd, err := unix.InotifyAddWatch(n.fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), fileMask)
	if err != nil {
		return fmt.Errorf("watch %s: %w", f.Name(), err)
	}
	g.grew.Store(false)
	g.armed.Store(true)
	g.wd = int32(wd)
	n.files[g.wd] = g
	return nil
}

// removeFile ends the watch of a file, if there is one.
func (n *inotify) removeFile(g *generation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.files[g.wd] != g {
		return
	}
	delete(n.files, g.wd)
	_, _ = unix.InotifyRmWatch(n.fd, uint32(g.wd))
}

// written returns the generation that a file's watch was for, and forgets it.
func (n *inotify) written(wd int32) *generation {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.files[wd]
	delete(n.files, wd)
	return g
}

// place returns the folder that a watch is for; one that the kernel has ended
// is forgotten.
func (n *inotify) place(wd int32, ended bool) (watchedPlace, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.dirs[wd]
	if ok && ended {
		delete(n.dirs, wd)
		delete(n.wds, p.path)
	}
	return p, ok
}

// inotifyEvent is one event of the kernel.
type inotifyEvent struct {
	wd   int32
	mask uint32
	name string
}

// parseEvents calls f for the events in b.
func parseEvents(b []byte, f func(inotifyEvent)) {
	for len(b) >= unix.SizeofInotifyEvent {
		e := inotifyEvent{wd: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:])}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if end > len(b) {
			return
		}
		if end > unix.SizeofInotifyEvent {
			e.name = strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
		}
		b = b[end:]
		f(e)
	}
}
