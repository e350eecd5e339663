package tail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// fileKey identifies a file while it exists. An inode is used again after
// that, its time of birth is not (0 where the file system does not know it).
type fileKey struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds since the Unix epoch
}

// fileInfo is what is asked of files.
type fileInfo struct {
	key   fileKey
	size  int64
	mtime int64 // nanoseconds since the Unix epoch
	links uint32
	dir   bool
}

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

func statPath(path string) (fileInfo, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, statMask, &st); err != nil {
		return fileInfo{}, fmt.Errorf("statx %s: %w", path, err)
	}
	return infoOf(&st), nil
}

func statFile(f *os.File) (fileInfo, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, statMask, &st); err != nil {
		return fileInfo{}, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Statx_t) fileInfo {
	info := fileInfo{
		key:   fileKey{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino},
		size:  int64(st.Size),
		mtime: nanos(st.Mtime),
		links: st.Nlink,
		dir:   st.Mode&unix.S_IFMT == unix.S_IFDIR,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.key.Birth = nanos(st.Btime)
	}
	return info
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// source reads one log file by uncompressed offsets. It is not for concurrent
// use.
type source interface {
	// readAt fills p from off on. Less than len(p) means that there is no more
	// for now.
	readAt(p []byte, off int64) (int, error)
	// complete tells that the file ends for good where readAt ended.
	complete() bool
	file() *os.File
}

// rawSource is a file as it is.
type rawSource struct{ f *os.File }

func (s rawSource) readAt(p []byte, off int64) (int, error) {
	n, err := s.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (s rawSource) complete() bool { return false }
func (s rawSource) file() *os.File { return s.f }

// gzipSource is a compressed file. Whoever compresses may still be at it:
// gzip writes to its final name from the start. What is there is read, and
// the file is opened anew when it has grown.
type gzipSource struct {
	f     *os.File
	zr    *gzip.Reader // nil before the first read, after an error and at the end
	start int64        // offset of ahead[0]
	ahead []byte       // decompressed, not yet consumed
	ended bool         // the checksum at the end was read and is right
	// failedAt is the file's size when decompression could not go on.
	failedAt int64
	failure  error
}

func (s *gzipSource) complete() bool { return s.ended }
func (s *gzipSource) file() *os.File { return s.f }

func (s *gzipSource) readAt(p []byte, off int64) (int, error) {
	if s.failure != nil {
		info, err := statFile(s.f)
		if err != nil || info.size == s.failedAt && off >= s.start+int64(len(s.ahead)) {
			return 0, err
		}
		s.reset()
	}
	if off < s.start {
		s.reset()
	}
	if err := s.fill(off, len(p)); err != nil {
		return 0, err
	}
	if skip := off - s.start; skip < int64(len(s.ahead)) {
		return copy(p, s.ahead[skip:]), nil
	}
	return 0, nil
}

// reset begins again at the file's start.
func (s *gzipSource) reset() {
	s.zr, s.start, s.ahead, s.ended, s.failure = nil, 0, nil, false, nil
}

// fill decompresses until ahead has size bytes from off on, dropping those
// before off.
func (s *gzipSource) fill(off int64, size int) error {
	for !s.ended && s.failure == nil {
		drop := min(off-s.start, int64(len(s.ahead)))
		s.ahead = s.ahead[:copy(s.ahead, s.ahead[drop:])]
		s.start += drop
		if s.start == off && len(s.ahead) >= size {
			return nil
		}
		if s.zr == nil {
			if err := s.open(); err != nil {
				return s.fail(err)
			}
		}
		have := len(s.ahead)
		if cap(s.ahead) < size {
			s.ahead = append(make([]byte, 0, size), s.ahead...)
		}
		n, err := s.zr.Read(s.ahead[have:cap(s.ahead)])
		s.ahead = s.ahead[:have+n]
		switch {
		case errors.Is(err, io.EOF):
			s.ended, s.zr = true, nil
		case err != nil:
			return s.fail(err)
		}
	}
	return nil
}

func (s *gzipSource) open() error {
	zr, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(s.f, 0, 1<<62)))
	s.zr = zr
	return err
}

// fail remembers an error of the format. Those of reading are returned.
func (s *gzipSource) fail(err error) error {
	info, statErr := statFile(s.f)
	if statErr != nil {
		return statErr
	}
	s.failedAt, s.failure, s.zr = info.size, err, nil
	return nil
}

// uncompressedSize is what the end of a complete file says, modulo 2^32.
func (s *gzipSource) uncompressedSize() (uint32, bool) {
	info, err := statFile(s.f)
	if err != nil || info.size < 18 {
		return 0, false
	}
	var b [4]byte
	if _, err := s.f.ReadAt(b[:], info.size-4); err != nil {
		return 0, false
	}
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24, true
}
