package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many entries are asked of the budget at once.
	batch = 64
	// direntBuffer is read at once of each directory on the way down: with
	// MaxDepth at its default a walk holds at most 2 MiB of them.
	direntBuffer = 8 << 10
	// maxLinks bounds the memory for hard-linked files already counted, about
	// 10 MiB. Beyond, such files may count more than once.
	maxLinks = 1 << 18
	// direntHeader is the offset of the name in a struct linux_dirent64.
	direntHeader = 19
)

// walk measures one directory, depth first. It keeps the directories on its
// way open, since the way back through ".." leads wherever a hostile owner
// moves them to.
type walk struct {
	sys        *system
	call       *call
	metrics    *metrics
	spend      func(ctx context.Context, n int) error
	maxDepth   int
	maxEntries uint64

	root    inode
	stack   []level
	links   map[uint64]struct{}
	usage   Usage
	entries uint64
	skipped bool
}

// level is a directory that is open.
type level struct {
	fd   int
	buf  []byte
	rest []byte // of buf, not looked at yet
}

// run walks path, an absolute path below root, which is nothing for our own.
func (w *walk) run(ctx context.Context, root, path string) (Usage, error) {
	defer w.close()
	fd, err := w.sys.openIn(root, path)
	w.call.alive()
	if err != nil {
		return Usage{}, fmt.Errorf("open directory %s, which must not be a symlink: %w", path, err)
	}
	w.push(fd)
	w.root, err = w.sys.stat(fd, "")
	w.call.alive()
	if err != nil {
		return Usage{}, fmt.Errorf("stat directory %s: %w", path, err)
	}
	w.count(w.root)
	for len(w.stack) > 0 {
		if err := w.step(ctx); err != nil {
			return Usage{}, fmt.Errorf("walk directory %s: %w", path, err)
		}
	}
	w.usage.At = time.Now()
	w.usage.Complete = !w.skipped
	return w.usage, nil
}

func (w *walk) close() {
	for _, l := range w.stack {
		_ = unix.Close(l.fd)
	}
	w.stack = nil
}

// push makes fd the directory to read next. Buffers of levels left before are
// used again.
func (w *walk) push(fd int) {
	n := len(w.stack)
	if n < cap(w.stack) {
		w.stack = w.stack[:n+1]
	} else {
		w.stack = append(w.stack, level{})
	}
	top := &w.stack[n]
	top.fd, top.rest = fd, nil
	if top.buf == nil {
		top.buf = make([]byte, direntBuffer)
	}
}

func (w *walk) pop() {
	n := len(w.stack) - 1
	_ = unix.Close(w.stack[n].fd)
	w.stack = w.stack[:n]
}

// step looks at one entry of the innermost directory, or leaves it.
func (w *walk) step(ctx context.Context) error {
	top := &w.stack[len(w.stack)-1]
	if len(top.rest) == 0 {
		n, err := w.sys.getdents(top.fd, top.buf)
		w.call.alive()
		if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: deleted meanwhile
			w.skip(reasonRead)
		}
		if err != nil || n == 0 {
			w.pop()
			return nil
		}
		top.rest = top.buf[:n]
	}
	var name string
	name, top.rest = nextEntry(top.rest)
	if name == "" || name == "." || name == ".." {
		return nil
	}
	if w.entries%batch == 0 {
		if err := w.call.rest(func() error { return w.spend(ctx, batch) }); err != nil {
			return err
		}
	}
	if w.entries >= w.maxEntries {
		w.skip(reasonEntries)
		w.close()
		return nil
	}
	w.entries++
	w.metrics.entries.Inc()
	w.look(top.fd, name)
	return nil
}

// nextEntry takes one struct linux_dirent64 off buf. What cannot be one ends
// the buffer.
func nextEntry(buf []byte) (name string, rest []byte) {
	if len(buf) < direntHeader {
		return "", nil
	}
	length := int(binary.NativeEndian.Uint16(buf[16:]))
	if length < direntHeader || length > len(buf) {
		return "", nil
	}
	b := buf[direntHeader:length]
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(b), buf[length:]
}

// look counts an entry of dir and goes into it if it is a directory.
func (w *walk) look(dir int, name string) {
	i, err := w.sys.stat(dir, name)
	w.call.alive()
	if err != nil {
		w.skipError(err)
		return
	}
	if i.dev != w.root.dev || i.mount != w.root.mount {
		return
	}
	if !w.count(i) || !i.dir {
		return
	}
	if len(w.stack) > w.maxDepth {
		w.skip(reasonDepth)
		return
	}
	fd, err := w.sys.open(dir, name)
	w.call.alive()
	if err != nil {
		w.skipError(err)
		return
	}
	// Between the two calls the name may have come to mean something else.
	now, err := w.sys.stat(fd, "")
	w.call.alive()
	if err != nil || now.dev != i.dev || now.ino != i.ino || now.mount != i.mount {
		_ = unix.Close(fd)
		w.skip(reasonChanged)
		return
	}
	w.push(fd)
}

// count adds an inode, and reports whether it was new.
func (w *walk) count(i inode) bool {
	if i.links > 1 && !i.dir {
		if _, seen := w.links[i.ino]; seen {
			return false
		}
		if len(w.links) < maxLinks {
			if w.links == nil {
				w.links = map[uint64]struct{}{}
			}
			w.links[i.ino] = struct{}{}
		} else {
			w.skip(reasonLinks)
		}
	}
	w.usage.Inodes++
	w.usage.Bytes += i.blocks * 512
	return true
}

// skipError notes that something could not be looked at, unless it is simply
// not there any more.
func (w *walk) skipError(err error) {
	switch {
	case errors.Is(err, unix.ENOENT):
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		w.skip(reasonPermission)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		w.skip(reasonChanged)
	default:
		w.skip(reasonRead)
	}
}

func (w *walk) skip(reason string) {
	w.skipped = true
	w.metrics.skipped.WithLabelValues(reason).Inc()
}
