package proc

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// dirBatch is how many names of a descriptor directory are held at once.
const dirBatch = 256

// OpenFiles returns the number of descriptors a process has open: the size of
// /proc/PID/fd on kernels since 6.2, a count of its entries before. Beyond a
// million entries it returns what it counted and ErrTooMany.
func (f *FS) OpenFiles(pid int) (uint64, error) {
	if !f.fdSize {
		return f.countFD(pid, func(int, string) bool { return true })
	}
	st, err := os.Stat(f.path(pid, "fd"))
	if err != nil {
		return 0, f.fail(pid, f.path(pid, "fd"), err)
	}
	return uint64(st.Size()), nil
}

// Sockets returns the number of descriptors of a process that are sockets of
// any family. It looks at every descriptor, about 1 µs each; beyond a million
// it returns what it counted and ErrTooMany.
func (f *FS) Sockets(pid int) (uint64, error) {
	const prefix = "socket:["
	return f.countFD(pid, func(dir int, name string) bool {
		var buf [len(prefix)]byte
		n, err := unix.Readlinkat(dir, name, buf[:])
		// One that was closed since the directory was read is not an error.
		return err == nil && string(buf[:n]) == prefix
	})
}

// countFD counts the entries of /proc/PID/fd that match.
func (f *FS) countFD(pid int, match func(dir int, name string) bool) (uint64, error) {
	d, err := os.Open(f.path(pid, "fd"))
	if err != nil {
		return 0, f.fail(pid, f.path(pid, "fd"), err)
	}
	defer d.Close()
	var seen, count uint64
	for {
		names, err := d.Readdirnames(dirBatch)
		for _, name := range names {
			if match(int(d.Fd()), name) {
				count++
			}
		}
		seen += uint64(len(names))
		switch {
		case errors.Is(err, io.EOF):
			return count, nil
		case err != nil:
			return 0, f.fail(pid, f.path(pid, "fd"), err)
		case seen >= f.maxEntries:
			return count, f.fail(pid, f.path(pid, "fd"), ErrTooMany)
		}
	}
}
