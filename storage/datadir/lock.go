package datadir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockName is the file that Prometheus locks as well, so that it and we keep
// out of each other's folders.
const lockName = "lock"

// Held is a folder that this process has taken.
type Held struct{ file *os.File }

// Close gives the folder back. It unlocks before it closes: a child process
// that is being started at this moment has a copy of the descriptor, which
// would keep the lock a little longer.
func (h *Held) Close() error {
	return errors.Join(unix.Flock(int(h.file.Fd()), unix.LOCK_UN), h.file.Close())
}

// Lock takes the folder for this process until Close. The lock is the
// kernel's and ends with the process, however that ends.
func Lock(dir string) (*Held, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("data folder %s is in use by another process%s; stop it or choose another folder: %w",
			dir, lockOwner(f), err)
	}
	// Who holds the lock is only a hint for the error above: a disk too full
	// to write it must not keep us from starting.
	if f.Truncate(0) == nil {
		_, _ = f.WriteString(strconv.Itoa(os.Getpid()))
	}
	return &Held{f}, nil
}

func lockOwner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil || len(text) == 0 {
		return ""
	}
	return " (process " + strings.TrimSpace(string(text)) + ")"
}
