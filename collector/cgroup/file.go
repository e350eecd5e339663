package cgroup

import (
	"errors"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileState is what is known of one file of one group.
type fileState uint8

const (
	fileUnknown fileState = iota // not tried yet, or to be tried again
	fileKept                     // fd is open
	fileLoose                    // exists; opened for each reading
	fileAbsent                   // did not exist when last tried
)

// file is one file of one group. Guarded by Group.mu.
type file struct {
	fd    int32
	state fileState
	// last: the latest reading of the group read it; again: so did the one before.
	last, again bool
}

// Outcomes of reading a file, beside success and errGone. They are values of
// the reading, never shown to callers.
var (
	errAbsent = errors.New("file does not exist")
	errNoFile = errors.New("no descriptor or memory left")
	errParse  = errors.New("not in the expected form")
)

const (
	// firstBuffer holds every file of a group but those of big machines.
	firstBuffer = 4096
	// maxFile bounds what is read of one file; io.stat with thousands of
	// devices has a few hundred KiB.
	maxFile = 4 << 20
	// pageTail: seq_file hands out lists such as cgroup.procs a page at a
	// time, so less than a page, by one entry at most, is all there is.
	pageTail = 4096 - 64
)

// budget bounds the descriptors of a Tree. Safe for concurrent use.
type budget struct {
	used atomic.Int64
	max  int64
}

// take reserves a descriptor. Files leave an eighth of the bound to the
// descriptors that tell when a group empties, which are worth more.
func (b *budget) take(forFile bool) bool {
	bound := b.max
	if forFile {
		bound -= bound / 8
	}
	if b.used.Add(1) > bound {
		b.used.Add(-1)
		return false
	}
	return true
}

func (b *budget) give() { b.used.Add(-1) }

// readAll reads a whole file from its start into s.buf, growing it when
// needed. list says that the kernel may hand it out in pieces.
func readAll(fd int, s *Stats, list bool) ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, firstBuffer)
	}
	total := 0
	for {
		n, err := unix.Pread(fd, s.buf[total:], int64(total))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		total += n
		if n == 0 || total < len(s.buf) && (!list || total < pageTail) {
			return s.buf[:total], nil
		}
		if total == len(s.buf) {
			if total >= maxFile {
				return nil, unix.EFBIG
			}
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
	}
}

// openPath opens dir/id/name for reading. The path is put together in
// s.path, so that nothing is allocated.
func openPath(s *Stats, dir, id, name string) (int, error) {
	s.path = append(s.path[:0], dir...)
	if id != "/" {
		s.path = append(s.path, id...)
	}
	s.path = append(s.path, '/')
	s.path = append(s.path, name...)
	s.path = append(s.path, 0)
	for {
		at := unix.AT_FDCWD
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&s.path[0])),
			unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return -1, errno
		}
		return int(fd), nil
	}
}

// classify turns an error of opening or reading into what it means for the
// group. opening: a path that is not there says nothing about the group.
func classify(err error, opening bool) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENODEV:
		return ErrGone
	case unix.ENOENT:
		if opening {
			return errAbsent
		}
		return ErrGone
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return errNoFile
	case unix.EFBIG:
		return err
	}
	// EOPNOTSUPP (PSI switched off), EACCES, EINVAL and the like: there is
	// no value to be had from this file.
	return errAbsent
}
