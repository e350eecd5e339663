package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// entry is one request body read from the buffer.
type entry struct {
	frameHeader
	pos  position
	next int64  // offset after it
	body []byte // valid until the reader reads the next one
}

// reader reads the entries of the buffer in order, for one endpoint. It is used
// by one goroutine.
type reader struct {
	buffer *buffer
	cursor *cursor
	// onDamage is told about what could not be read; points is the number of
	// samples in it as far as it is known.
	onDamage func(points int, err error)

	file *os.File // of segment id, nil before the first entry
	id   uint64
	body []byte
}

// next waits for the entry at the cursor and returns it. The cursor stays until
// advance is called. The only error is that of ctx.
func (r *reader) next(ctx context.Context) (entry, error) {
	for {
		if err := ctx.Err(); err != nil {
			return entry{}, err
		}
		pos, limit, ok := r.buffer.locate(r.cursor)
		if !ok {
			select {
			case <-ctx.Done():
			case <-r.cursor.wake:
			}
			continue
		}
		e, err := r.read(pos, limit)
		if err == nil {
			if r.buffer.hold(r.cursor, pos, e.next) {
				return e, nil
			}
			continue // shed meanwhile
		}
		if r.buffer.advance(r.cursor, pos, e.next) {
			r.onDamage(e.points(), err)
		}
	}
}

// read returns the entry at pos. After an error next is still set: where to go
// on.
func (r *reader) read(pos position, limit int64) (entry, error) {
	e := entry{pos: pos, next: limit}
	if err := r.open(pos.segment); err != nil {
		return e, err
	}
	s := segmentReader{r: r.file, limit: limit}
	var err error
	if e.frameHeader, err = s.header(pos.offset); err != nil {
		if !errors.Is(err, errNoFrame) {
			return e, err
		}
		next, resyncErr := s.resync(pos.offset)
		if resyncErr != nil {
			return e, resyncErr
		}
		e.next = next
		return e, fmt.Errorf("%w in %d bytes at offset %d of segment %d", err, next-pos.offset, pos.offset, pos.segment)
	}
	r.body, err = s.body(pos.offset, e.frameHeader, r.body)
	if err == nil || errors.Is(err, errBody) {
		e.next = pos.offset + e.size()
	}
	e.body = r.body
	return e, err
}

// open makes r.file the file of a segment.
func (r *reader) open(id uint64) error {
	if r.file != nil && r.id == id {
		return nil
	}
	r.close()
	f, err := os.Open(r.buffer.path(id))
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	r.file, r.id = f, id
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // only read
		r.file = nil
	}
}

// locate returns the position of a cursor and the end of the segment there, or
// false when there is nothing to read.
func (b *buffer) locate(c *cursor) (position, int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.segments {
		if s.id != c.pos.segment {
			continue
		}
		if c.pos.offset < s.size {
			b.dropSent()
			return c.pos, s.size, true
		}
		if i+1 < len(b.segments) {
			c.pos = position{segment: b.segments[i+1].id, offset: segmentHeaderSize}
		}
	}
	b.dropSent()
	return position{}, 0, false
}

// hold notes that the sender has the entry at pos in memory, unless it was shed.
func (b *buffer) hold(c *cursor, pos position, end int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.pos != pos {
		return false
	}
	c.held = end
	return true
}

// kept tells whether the held entry is still in the buffer.
func (b *buffer) kept(c *cursor, pos position) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.pos == pos
}

// advance moves a cursor from pos past the entry there, and tells whether the
// entry was still in the buffer.
func (b *buffer) advance(c *cursor, pos position, next int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.held = 0
	if c.pos != pos {
		return false
	}
	b.move(c, position{segment: pos.segment, offset: next})
	return true
}

// release ends hold without moving the cursor.
func (b *buffer) release(c *cursor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.held = 0
}
