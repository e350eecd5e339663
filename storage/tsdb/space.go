package tsdb

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage/datadir"
)

const (
	mib = 1 << 20
	// reserveName is a file that only takes up room. Upstream writes head
	// chunks once a minute and panics when it cannot; when others have filled
	// the disk, deleting this file gives those chunks a place.
	reserveName = "binnacle-reserve"
	// maxReserveBytes is the head chunks of some 100,000 series.
	maxReserveBytes = 16 * mib
)

// space watches the free bytes of the disk that holds dir, and keeps the
// reserve there.
type space struct {
	*datadir.Space
	dir string

	mu       sync.Mutex
	reserved bool
}

func newSpace(dir string, minFree int64) *space {
	return &space{Space: datadir.NewSpace(dir, minFree), dir: dir}
}

// measure asks the kernel, and takes or releases the reserve accordingly.
func (s *space) measure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ask(); err != nil {
		return err
	}
	free, minFree := s.Last()
	size := min(minFree/4, maxReserveBytes)
	switch {
	case !s.reserved && free >= minFree+2*size:
		if s.reserve(size) {
			return s.ask()
		}
	case free < size:
		s.remove()
		return s.ask()
	}
	return nil
}

func (s *space) ask() error {
	if err := s.Measure(); err != nil {
		return fmt.Errorf("tsdb: %w", err)
	}
	return nil
}

// reserve makes the reserve file. File systems that cannot allocate without
// writing do without.
func (s *space) reserve(size int64) bool {
	f, err := os.OpenFile(s.reservePath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return false
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		s.remove()
		return false
	}
	s.reserved = true
	return true
}

// release gives the reserve's room to whoever writes next.
func (s *space) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove()
}

func (s *space) remove() {
	_ = os.Remove(s.reservePath()) // Nothing depends on it being gone, and it may not be there.
	s.reserved = false
}

func (s *space) reservePath() string { return filepath.Join(s.dir, reserveName) }
