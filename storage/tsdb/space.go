package tsdb

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
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

// space watches the free bytes of the disk that holds dir.
type space struct {
	dir string
	// configured is Options.MinFreeBytes.
	configured int64

	mu sync.Mutex
	// free and min are as of the last measurement.
	free, min int64
	reserved  bool
}

func newSpace(dir string, minFree int64) *space {
	return &space{dir: dir, configured: minFree}
}

// minFree is Options.MinFreeBytes or what stands for 0 on a disk of total bytes.
func (s *space) minFree(total int64) int64 {
	if s.configured > 0 {
		return s.configured
	}
	return min(max(total/100, 64*mib), 1024*mib, total/10)
}

// measure asks the kernel, and takes or releases the reserve accordingly.
func (s *space) measure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.statfs(); err != nil {
		return err
	}
	size := min(s.min/4, maxReserveBytes)
	switch {
	case !s.reserved && s.free >= s.min+2*size:
		if s.reserve(size) {
			return s.statfs()
		}
	case s.free < size:
		s.remove()
		return s.statfs()
	}
	return nil
}

func (s *space) statfs() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return fmt.Errorf("tsdb: ask for free space of %s: %w", s.dir, err)
	}
	s.free = int64(fs.Bavail) * fs.Bsize
	s.min = s.minFree(int64(fs.Blocks) * fs.Bsize)
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

// last returns what was last measured.
func (s *space) last() (free, minFree int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free, s.min
}

// full tells whether too little is free. Once it was, an eighth more is
// needed, so that ingest does not go on and off with every file.
func (s *space) full(wasFull bool) bool {
	free, minFree := s.last()
	if wasFull {
		minFree += minFree / 8
	}
	return free < minFree
}

// fullError says what to do about a full disk.
func (s *space) fullError() error {
	free, minFree := s.last()
	return fmt.Errorf("%w: the disk of %s has %.1f MiB free and %.1f MiB are needed; delete other files there, "+
		"enlarge the disk, or keep less (shorter retention or a smaller retention size); ingest then goes on by itself",
		storage.ErrFull, s.dir, float64(free)/mib, float64(minFree)/mib)
}
