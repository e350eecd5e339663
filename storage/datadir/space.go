// Package datadir holds what every store does with its data folder: keep other
// processes out of it, and watch the disk that it is on.
package datadir

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
)

const mib = 1 << 20

// Space watches the free bytes of the disk that holds a folder. It is safe for
// concurrent use.
type Space struct {
	dir        string
	configured int64

	mu sync.Mutex
	// free and min are as of the last measurement.
	free, min int64
}

// NewSpace watches the disk of dir, on which minFree bytes are to be kept free.
// 0 stands for 1 % of the disk, at least 64 MiB and at most 1 GiB, but never
// more than a tenth of the disk.
func NewSpace(dir string, minFree int64) *Space {
	return &Space{dir: dir, configured: minFree}
}

// MinFree is what is to be kept free on a disk of total bytes.
func (s *Space) MinFree(total int64) int64 {
	if s.configured > 0 {
		return s.configured
	}
	return min(max(total/100, 64*mib), 1024*mib, total/10)
}

// Measure asks the kernel.
func (s *Space) Measure() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return fmt.Errorf("ask for free space of %s: %w", s.dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = int64(fs.Bavail) * fs.Bsize
	s.min = s.MinFree(int64(fs.Blocks) * fs.Bsize)
	return nil
}

// Last returns what was last measured: the bytes that are free and those that
// are to be kept free.
func (s *Space) Last() (free, minFree int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free, s.min
}

// Full tells whether too little is free. Once it was, an eighth more is
// needed, so that ingest does not go on and off with every file.
func (s *Space) Full(wasFull bool) bool {
	free, minFree := s.Last()
	if wasFull {
		minFree += minFree / 8
	}
	return free < minFree
}

// FullError wraps storage.ErrFull and says what to do about a full disk.
func (s *Space) FullError() error {
	free, minFree := s.Last()
	return fmt.Errorf("%w: the disk of %s has %.1f MiB free and %.1f MiB are needed; delete other files there, "+
		"enlarge the disk, or keep less (shorter retention or a smaller retention size); ingest then goes on by itself",
		storage.ErrFull, s.dir, float64(free)/mib, float64(minFree)/mib)
}
