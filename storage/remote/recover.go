package remote

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// openBuffer opens or makes the buffer in dir. names are the cursor files of
// the endpoints; those of other endpoints are deleted. A new cursor starts at
// the oldest entry that is kept. onShed is told about the samples that the
// endpoint of the i-th name never gets.
func openBuffer(dir string, budget int64, names []string, onShed func(i, points int, reason string), logger *slog.Logger) (*buffer, error) {
	b := &buffer{
		dir:         dir,
		budget:      budget,
		segmentSize: min(max(budget/segmentsPerBudget, minSegmentSize), maxSegmentSize),
		logger:      logger,
		onShed:      onShed,
		writeAt:     (*os.File).WriteAt,
	}
	if err := b.open(names); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *buffer) open(names []string) error {
	if err := b.findSegments(); err != nil {
		return err
	}
	for i, name := range names {
		c, err := openCursor(b.dir, name)
		if err != nil {
			return err
		}
		c.index = i
		b.cursors = append(b.cursors, c)
	}
	if err := b.dropCursors(names); err != nil {
		return err
	}
	if err := b.openActive(); err != nil {
		return err
	}
	for _, c := range b.cursors {
		b.place(c)
	}
	b.dropSent()
	for b.total > b.budget && len(b.segments) > 1 {
		b.shedOldest(reasonBudget)
	}
	return nil
}

// findSegments lists the segment files and checks that they can be read.
func (b *buffer) findSegments() error {
	paths, err := filepath.Glob(filepath.Join(b.dir, segmentPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, path := range paths {
		id, err := strconv.ParseUint(strings.TrimPrefix(filepath.Base(path), segmentPrefix), 16, 64)
		if err != nil {
			return fmt.Errorf("%s is not a segment of the remote write buffer: %w", path, err)
		}
		s, err := b.inspect(path)
		if err != nil {
			return fmt.Errorf("segment %s: %w", path, err)
		}
		s.id = id
		b.segments = append(b.segments, s)
		b.total += s.size
	}
	slices.SortFunc(b.segments, func(x, y segment) int { return cmp.Compare(x.id, y.id) })
	return nil
}

func (b *buffer) inspect(path string) (segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return segment{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return segment{}, err
	}
	return segment{size: info.Size()}, checkSegmentHeader(f)
}

// dropCursors deletes the cursors of endpoints that are no longer configured.
func (b *buffer) dropCursors(names []string) error {
	paths, err := filepath.Glob(filepath.Join(b.dir, cursorPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list cursors: %w", err)
	}
	for _, path := range paths {
		if slices.Contains(names, filepath.Base(path)) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the cursor of an endpoint that is no longer configured: %w", err)
		}
		b.logger.Info("Dropped the position of a remote write endpoint that is no longer configured", "file", path)
	}
	return nil
}

// openActive goes on with the newest segment, whose torn end it cuts off, or
// starts the first one.
func (b *buffer) openActive() error {
	if len(b.segments) == 0 {
		first := uint64(1)
		for _, c := range b.cursors {
			first = max(first, c.pos.segment+1)
		}
		return b.create(first)
	}
	last := &b.segments[len(b.segments)-1]
	f, err := os.OpenFile(b.path(last.id), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	b.active = f
	end, err := segmentReader{r: f, limit: last.size}.lastValid()
	if err != nil {
		return fmt.Errorf("segment %s: %w", f.Name(), err)
	}
	if end == last.size {
		return nil
	}
	b.logger.Warn("Cut off the torn end of the remote write buffer", "file", f.Name(), "bytes", last.size-end)
	if err := f.Truncate(end); err != nil {
		return fmt.Errorf("cut off the torn end: %w", err)
	}
	b.total += end - last.size
	last.size = end
	if last.size == segmentHeaderSize {
		if _, err := f.WriteAt(newSegmentHeader(), 0); err != nil {
			return fmt.Errorf("write segment header: %w", err)
		}
	}
	return nil
}

// place makes the position of a cursor one that exists. It may lie in a segment
// that was removed, or past the end of what survived a power failure.
func (b *buffer) place(c *cursor) {
	for _, s := range b.segments {
		if s.id < c.pos.segment {
			continue
		}
		if s.id > c.pos.segment {
			c.pos = position{segment: s.id, offset: segmentHeaderSize}
		}
		c.pos.offset = min(max(c.pos.offset, segmentHeaderSize), s.size)
		return
	}
	last := b.segments[len(b.segments)-1]
	c.pos = position{segment: last.id, offset: last.size}
}
