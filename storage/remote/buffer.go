package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	segmentPrefix  = "segment-"
	maxSegmentSize = 16 << 20
	minSegmentSize = 64 << 10
	// segmentsPerBudget is how many segments the byte budget holds at least: a
	// segment is what is shed at once.
	segmentsPerBudget = 16
)

// Reasons why samples were shed.
const (
	reasonBudget   = "budget"
	reasonDiskFull = "disk_full"
	reasonDamaged  = "damaged"
)

// segment is one file of the buffer.
type segment struct {
	id   uint64
	size int64 // bytes in use, header included
}

// buffer holds frames in segment files and the cursors of their readers.
// Writers and readers may work at the same time.
type buffer struct {
	dir         string
	budget      int64
	segmentSize int64
	logger      *slog.Logger
	// onShed is told about samples that the endpoint with this index never gets.
	onShed func(index, points int, reason string)
	// writeAt is (*os.File).WriteAt; tests let it fail.
	writeAt func(f *os.File, b []byte, off int64) (int, error)

	mu       sync.Mutex
	segments []segment // in order; the last one is written to
	active   *os.File
	total    int64 // bytes of all segments
	cursors  []*cursor
}

// append writes one frame. It sheds the oldest segments when the budget or the
// disk is used up, and returns storage.ErrFull when that does not help.
func (b *buffer) append(frame []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active == nil {
		return storage.ErrClosed
	}
	need := int64(len(frame))
	if need+segmentHeaderSize > b.budget {
		return fmt.Errorf("request of %d bytes does not fit into the buffer of %d bytes: %w", need, b.budget, storage.ErrFull)
	}
	for {
		err := b.appendActive(frame, need)
		if err == nil {
			break
		}
		if !isDiskFull(err) {
			return err
		}
		if len(b.segments) < 2 {
			return fmt.Errorf("write to %s: %w: %w", b.dir, storage.ErrFull, err)
		}
		b.shedOldest(reasonDiskFull)
	}
	for _, c := range b.cursors {
		c.notify()
	}
	return nil
}

// appendActive writes the frame to the active segment, or to a new one.
func (b *buffer) appendActive(frame []byte, need int64) error {
	last := &b.segments[len(b.segments)-1]
	if last.size > segmentHeaderSize && (last.size+need > b.segmentSize || b.total+need > b.budget && len(b.segments) == 1) {
		if err := b.rotate(); err != nil {
			return err
		}
		last = &b.segments[len(b.segments)-1]
	}
	for b.total+need > b.budget && len(b.segments) > 1 {
		b.shedOldest(reasonBudget)
		last = &b.segments[len(b.segments)-1]
	}
	if _, err := b.writeAt(b.active, frame, last.size); err != nil {
		// Whatever was written is past the end and overwritten next time.
		_ = b.active.Truncate(last.size)
		return fmt.Errorf("write segment: %w", err)
	}
	last.size += need
	b.total += need
	return nil
}

// isDiskFull tells whether room can help.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// rotate starts a new segment.
func (b *buffer) rotate() error {
	next := b.segments[len(b.segments)-1].id + 1
	if err := b.create(next); err != nil {
		return err
	}
	b.dropSent()
	return nil
}

// create makes segment id the active one.
func (b *buffer) create(id uint64) error {
	f, err := os.OpenFile(b.path(id), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	if _, err := b.writeAt(f, newSegmentHeader(), 0); err != nil {
		return errors.Join(fmt.Errorf("write segment header: %w", err), f.Close(), os.Remove(b.path(id)))
	}
	if b.active != nil {
		if err := b.active.Close(); err != nil {
			b.logger.Warn("Closing a finished segment of the remote write buffer failed", "err", err)
		}
	}
	b.active = f
	b.segments = append(b.segments, segment{id: id, size: segmentHeaderSize})
	b.total += segmentHeaderSize
	return nil
}

func (b *buffer) path(id uint64) string {
	return filepath.Join(b.dir, fmt.Sprintf("%s%016x", segmentPrefix, id))
}

// shedOldest removes the oldest segment, which must not be the only one, and
// moves the cursors in it to the next.
func (b *buffer) shedOldest(reason string) {
	oldest, next := b.segments[0], b.segments[1]
	for _, c := range b.cursors {
		if c.pos.segment != oldest.id {
			continue
		}
		from := c.pos.offset
		if c.held > 0 {
			from = c.held // the sender counts the frame that it has
		}
		if n := b.countPoints(oldest, from); n > 0 {
			b.onShed(c.index, n, reason)
		}
		c.held = 0
		b.move(c, position{segment: next.id, offset: segmentHeaderSize})
	}
	b.remove(oldest)
}

// move sets a cursor. When that cannot be saved, entries may be sent again
// after a restart, which does no harm.
func (b *buffer) move(c *cursor, pos position) {
	c.pos = pos
	if err := c.save(); err != nil {
		b.logger.Warn("The position in the remote write buffer was not saved", "err", err)
	}
}

// countPoints adds up the samples of a segment from an offset on.
func (b *buffer) countPoints(s segment, off int64) int {
	f, err := os.Open(b.path(s.id))
	if err != nil {
		return 0
	}
	defer f.Close()
	n := 0
	r := segmentReader{r: f, limit: s.size}
	for off < s.size {
		h, err := r.header(off)
		if err == nil {
			n += h.points()
			off += h.size()
			continue
		}
		if off, err = r.resync(off); err != nil {
			break
		}
	}
	return n
}

// remove deletes the oldest segment.
func (b *buffer) remove(s segment) {
	if err := os.Remove(b.path(s.id)); err != nil {
		b.logger.Warn("A segment of the remote write buffer was not removed", "err", err)
	}
	b.segments = slices.Delete(b.segments, 0, 1)
	b.total -= s.size
}

// dropSent removes the segments that every cursor is past of.
func (b *buffer) dropSent() {
	for len(b.segments) > 1 {
		for _, c := range b.cursors {
			if c.pos.segment <= b.segments[0].id {
				return
			}
		}
		b.remove(b.segments[0])
	}
}

// bytes is the size of all segments.
func (b *buffer) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// pending is how many bytes are left to read at a cursor.
func (b *buffer) pending(c *cursor) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := int64(0)
	for _, s := range b.segments {
		switch {
		case s.id == c.pos.segment:
			n += max(0, s.size-c.pos.offset)
		case s.id > c.pos.segment:
			n += s.size - segmentHeaderSize
		}
	}
	return n
}

// close closes all files. Appends fail afterwards.
func (b *buffer) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active == nil {
		return nil
	}
	errs := []error{b.active.Close()}
	b.active = nil
	for _, c := range b.cursors {
		errs = append(errs, c.file.Close())
	}
	return errors.Join(errs...)
}
