package ledger

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Rotate does what the kubelet does when a log has reached its size: it
// deletes the oldest generations so that at most keep files are there, the
// present one included, compresses the others, and renames the present one,
// which stays uncompressed until the next rotation. As in containerd, the
// container writes on into the renamed file until the runtime has reopened
// the log. With within, the rotation falls between the parts of a long line.
//
// Source: pkg/kubelet/logs/container_log_manager.go of Kubernetes.
func (l *Log) Rotate(keep int, within bool) error {
	rotated, err := l.rotated()
	if err != nil {
		return err
	}
	for len(rotated) > max(keep-2, 0) {
		if err := os.Remove(rotated[0]); err != nil {
			return err
		}
		rotated = rotated[1:]
	}
	for _, path := range rotated {
		if strings.HasSuffix(path, ".gz") {
			continue
		}
		if err := compress(path); err != nil {
			return err
		}
	}
	return l.rename(within)
}

// rotated lists the generations before the present one, oldest first.
func (l *Log) rotated() ([]string, error) {
	paths, err := filepath.Glob(l.path + ".*")
	slices.Sort(paths) // by the time in their names
	return paths, err
}

// compress replaces a file by path.gz: through a temporary file, so that a
// crash never leaves half of it under the final name.
func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	temporary := path + ".tmp"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, in)
	if err := errors.Join(err, z.Close(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}

// rename moves the present file away and begins a new one.
func (l *Log) rename(within bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for within && !l.longIsNext() {
		if err := l.writeLines(l.next()); err != nil {
			return err
		}
	}
	before, after := l.next(), [][]byte(nil)
	if within {
		before, after = before[:1], before[1:]
	}
	// The names have a resolution of a second; tests rotate more often, so
	// that each rotation counts as one.
	stamp := time.Unix(1_700_000_000+int64(l.rotation), 0).UTC().Format("20060102-150405")
	l.rotation++
	if err := os.Rename(l.path, fmt.Sprintf("%s.%s", l.path, stamp)); err != nil {
		return err
	}
	if err := l.writeLines(before); err != nil {
		return err
	}
	if err := l.reopen(); err != nil {
		return err
	}
	return l.writeLines(after)
}

func (l *Log) longIsNext() bool {
	e := Entry{Number: *l.number(l.turn())}
	return e.shape() == long
}

func (l *Log) writeLines(lines [][]byte) error {
	for _, line := range lines {
		if _, err := l.file.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// CopyTruncate does what logrotate's copytruncate does: it copies the file to
// path.1, older copies moving up, and truncates it. Lines that come between
// the two steps are lost, therefore it lets none come.
func (l *Log) CopyTruncate(keep int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := keep; i > 0; i-- {
		from, to := fmt.Sprintf("%s.%d", l.path, i), fmt.Sprintf("%s.%d", l.path, i+1)
		if i == keep {
			if err := os.Remove(from); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	content, err := os.ReadFile(l.path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path+".1", content, 0o640); err != nil {
		return err
	}
	return os.Truncate(l.path, 0)
}
