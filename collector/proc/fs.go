// Package proc reads the files of /proc that belong to a process: network
// counters, namespaces, descriptors, limits, sockets and mounts. It knows
// nothing of metrics or containers.
//
// Only NetDev is read every cycle for every pod, so only it keeps its
// descriptor and reads without allocation; everything else opens, reads and
// closes.
package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrGone is wrapped by every error that says the process has ended, whether
// it was reaped already or is still a zombie. It is a normal event.
var ErrGone = errors.New("process has gone")

// ErrTooMany is wrapped when a file or directory holds more entries than this
// package is willing to look at for one process. What was counted so far is
// returned with it and is a lower bound.
var ErrTooMany = errors.New("too many entries")

// maxEntries bounds the descriptors and sockets looked at in one call. A
// million sockets is beyond any table seen in practice, and reading them
// takes the kernel about a second.
const maxEntries = 1 << 20

// maxLine bounds a line of kernel text. The longest known are overlay mounts
// with hundreds of lower directories.
const maxLine = 1 << 20

// FS is a proc file system mounted anywhere. It is safe for concurrent use.
type FS struct {
	root string
	// fdSize tells that the size of /proc/PID/fd is the number of descriptors.
	fdSize bool
	// maxEntries is the constant of the same name; tests lower it.
	maxEntries uint64
	lines      sync.Pool // *[]byte, first buffers of line scanners
}

// Open checks that root (usually /proc, or wherever the host's is mounted)
// is a directory that can be read.
func Open(root string) (*FS, error) {
	d, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("open proc root, which must be a mounted proc file system: %w", err)
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err != nil {
		return nil, fmt.Errorf("read proc root %s, which must be a mounted proc file system: %w", root, err)
	}
	f := &FS{root: root, maxEntries: maxEntries}
	f.lines.New = func() any { b := make([]byte, 32<<10); return &b }
	f.fdSize = fdSizeCounts(d)
	return f, nil
}

// fdSizeCounts asks the kernel itself (it is so since 6.2): while d is open,
// our own fd directory cannot have the size 0. Directories of any other file
// system have sizes that mean something else.
func fdSizeCounts(d *os.File) bool {
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &sfs); err != nil || sfs.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
	st, err := os.Stat(filepath.Join(d.Name(), "self", "fd"))
	return err == nil && st.Size() > 0
}

// path is root/pid/name.
func (f *FS) path(pid int, name string) string {
	return f.root + "/" + strconv.Itoa(pid) + "/" + name
}

// fail names the file in err (unless it is a *fs.PathError, which does so
// itself) and adds ErrGone when the process has ended.
func (f *FS) fail(pid int, path string, err error) error {
	if err == nil {
		return nil
	}
	if _, named := errors.AsType[*fs.PathError](err); !named {
		err = fmt.Errorf("%s: %w", path, err)
	}
	// A zombie has no mounts any more: EINVAL.
	maybe := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL)
	if errors.Is(err, unix.ESRCH) || (maybe && f.ended(pid)) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// ended reports whether pid has no directory any more or is a zombie: a file
// may be missing for other reasons, such as a kernel built without it.
func (f *FS) ended(pid int) bool {
	b, err := os.ReadFile(f.path(pid, "stat"))
	if err != nil {
		_, err = os.Lstat(f.root + "/" + strconv.Itoa(pid))
		return errors.Is(err, fs.ErrNotExist)
	}
	_, rest, ok := cutStat(b)
	return ok && (rest[0] == 'Z' || rest[0] == 'X')
}

// cutStat splits /proc/PID/stat after the command, which may itself contain
// parentheses, spaces and newlines. rest begins with the state.
func cutStat(b []byte) (command, rest []byte, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open || len(b) < end+3 || b[end+1] != ' ' {
		return nil, nil, false
	}
	return b[open+1 : end], b[end+2:], true
}

// eachLine calls line for every line of a process's file, without its
// newline, until it returns an error. The slice is valid during the call.
func (f *FS) eachLine(pid int, name string, line func([]byte) error) error {
	return f.scan(pid, f.path(pid, name), line)
}

func (f *FS) scan(pid int, path string, line func([]byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return f.fail(pid, path, err)
	}
	defer file.Close()
	buf := f.lines.Get().(*[]byte)
	defer f.lines.Put(buf)
	s := bufio.NewScanner(file)
	s.Buffer(*buf, maxLine)
	for s.Scan() {
		if err := line(s.Bytes()); err != nil {
			return f.fail(pid, path, err)
		}
	}
	return f.fail(pid, path, s.Err())
}
