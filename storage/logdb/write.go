package logdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// Reasons why a record is refused for good.
const (
	reasonTooOld   = "too_old"
	reasonFuture   = "future"
	reasonTooLarge = "too_large"
)

const (
	// maxAhead is how far ahead of our clock a record may be: a day covers time
	// zones mistaken for UTC. A segment with a record further ahead would
	// outlive the retention by as much.
	maxAhead = 24 * time.Hour
	// maxChunkBytes bounds the text that gets into one frame.
	maxChunkBytes = mib
	maxChunkRows  = 8192
)

// accepted is a record of a chunk that is to be stored.
type accepted struct {
	// index is that in the chunk's batch.
	index  int
	stream uint32
	// source is 0 without one.
	source uint32
}

// offset is that of the record, 0 without a source: then it means nothing.
func (a *accepted) offset(r *storage.Record) int64 {
	if a.source == 0 {
		return 0
	}
	return r.Offset
}

// newSource is a source that the head part does not have yet.
type newSource struct {
	source storage.SourceID
	mark   *mark
}

// undo restores a mark when a chunk could not be written.
type undo struct {
	mark *mark
	old  mark
}

// chunk is a part of a batch on its way into the log and the head. The writer
// uses the same one again and again.
type chunk struct {
	batch      []storage.Record
	rows       []accepted
	newStreams []*stream
	newSources []newSource
	sourceless []sourceless
	undo       []undo
	// known are the batch's streams met so far.
	known map[*storage.Stream]*stream
	// used are their streams, to be given back.
	used       []*stream
	duplicates int
	bytes      int64
}

func (c *chunk) reset(batch []storage.Record) {
	clear(c.newStreams)
	clear(c.used)
	clear(c.known)
	*c = chunk{
		batch: batch, rows: c.rows[:0], newStreams: c.newStreams[:0], newSources: c.newSources[:0],
		sourceless: c.sourceless[:0], undo: c.undo[:0], known: c.known, used: c.used[:0],
	}
}

// refusals collects the records that are refused for good.
type refusals struct {
	counts map[string]int
	first  error
}

func (f *refusals) add(reason string, err error) {
	if f.counts == nil {
		f.counts = make(map[string]int)
		f.first = err
	}
	f.counts[reason]++
}

func (f *refusals) orNil() error {
	if f.counts == nil {
		return nil
	}
	return &storage.PartialError{Refused: f.counts, First: f.first}
}

// Write implements storage.LogSink. Records are durable in the face of the end
// of the process; see Options.SyncInterval for crashes of the machine. Those
// older than the retention, too far in the future or longer than 8 MiB are
// refused. A full disk gives an error that wraps storage.ErrFull.
func (db *DB) Write(ctx context.Context, batch []storage.Record) error {
	var refused refusals
	for len(batch) > 0 {
		n := db.chunkLen(batch)
		if err := db.writeChunk(ctx, batch[:n], &refused); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return refused.orNil()
}

// chunkLen is how many records of batch go into the next frame.
func (db *DB) chunkLen(batch []storage.Record) int {
	bytes := 0
	for i := range batch[:min(len(batch), maxChunkRows)] {
		if bytes += len(batch[i].Line); bytes > db.chunkBytes && i > 0 {
			return i
		}
	}
	return min(len(batch), maxChunkRows)
}

// writeChunk logs the records that are new, puts them into the head and wakes
// the tails.
func (db *DB) writeChunk(ctx context.Context, batch []storage.Record, refused *refusals) error {
	db.writeMu.Lock()
	defer db.writeMu.Unlock()
	if err := db.admit(ctx); err != nil {
		return err
	}
	c := &db.chunk
	c.reset(batch)
	db.classify(c, refused)
	db.metrics.duplicates.Add(float64(c.duplicates))
	if len(c.rows) == 0 {
		db.giveBack(c)
		return nil
	}
	if err := db.wal.append(db.frames.encode(c)); err != nil {
		db.rollBack(c)
		return db.writeFailed(err)
	}
	if db.options.SyncInterval == SyncAlways {
		if err := db.wal.sync(db.wal.size); err != nil {
			// The records are in the log all the same. They get into the head, so
			// that sending them again finds them, and from there into a segment.
			db.commit(c)
			return err
		}
	}
	db.commit(c)
	return nil
}

// admit waits until the head has room. db.writeMu is held, but not while
// waiting.
func (db *DB) admit(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if db.closed {
			return storage.ErrClosed
		}
		if err := db.refusal(); err != nil {
			return err
		}
		if db.active.memory < db.cutBytes {
			return nil
		}
		done, err := db.cutting()
		if err != nil {
			return err
		}
		if done != nil {
			db.writeMu.Unlock()
			select {
			case <-done:
			case <-ctx.Done():
			}
			db.writeMu.Lock()
			continue
		}
		if err := db.rotate(); err != nil {
			return db.writeFailed(err)
		}
	}
}

// writeFailed turns a lack of space into storage.ErrFull and lets the watch
// look at the disk before the next write.
func (db *DB) writeFailed(err error) error {
	db.metrics.writeErrors.Inc()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		_ = db.space.Measure() // For the figures in the text only.
		return fmt.Errorf("%w: %w", db.space.FullError(), err)
	}
	return err
}

// classify finds the records that are new and gives them their places in the
// dictionaries of the head part.
func (db *DB) classify(c *chunk, refused *refusals) {
	now := time.Now()
	newest := now.Add(maxAhead).UnixNano()
	db.marks.chunk++
	var last *storage.Stream
	var s *stream
	for i := range c.batch {
		r := &c.batch[i]
		if r.Stream != last {
			if s = c.known[r.Stream]; s == nil {
				s = db.streamOf(c, r.Stream)
			}
			last = r.Stream
		}
		if reason, err := db.refuse(r, s, now, newest); err != nil {
			db.metrics.refused.WithLabelValues(reason).Inc()
			refused.add(reason, err)
			continue
		}
		a := accepted{index: i}
		if !db.accept(c, r, s, &a) {
			c.duplicates++
			continue
		}
		if s.headSeq != db.active.seq {
			s.headSeq, s.headRef = db.active.seq, uint32(len(db.active.streams)+len(c.newStreams))
			c.newStreams = append(c.newStreams, s)
		}
		a.stream = s.headRef
		c.bytes += int64(len(r.Line))
		c.rows = append(c.rows, a)
	}
}

// streamOf finds or makes the stream of a record, for use until giveBack.
func (db *DB) streamOf(c *chunk, of *storage.Stream) *stream {
	s := db.streams.acquire(of.Labels)
	c.known[of] = s
	return s
}

// refuse says why a record cannot be stored.
func (db *DB) refuse(r *storage.Record, s *stream, now time.Time, newest int64) (reason string, err error) {
	switch {
	case r.Time > newest:
		return reasonFuture, fmt.Errorf("record of %v is more than %v ahead of the clock here: %s", utc(r.Time), maxAhead, s.Labels)
	case len(r.Line) > maxLineBytes:
		return reasonTooLarge, fmt.Errorf("line of %d bytes, at most %d are stored: %s", len(r.Line), maxLineBytes, s.Labels)
	case r.Time < now.Add(-db.options.retentionOf(s.namespace)).UnixNano():
		return reasonTooOld, fmt.Errorf("record of %v is older than the retention of %v: %s",
			utc(r.Time), db.options.retentionOf(s.namespace), s.Labels)
	}
	return "", nil
}

func utc(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// accept tells whether a record is new, and notes it.
func (db *DB) accept(c *chunk, r *storage.Record, s *stream, a *accepted) bool {
	if r.Source.IsZero() {
		return db.acceptSourceless(c, r, s)
	}
	k := db.marks.bySource[r.Source]
	if k == nil {
		db.marks.raise(sourceMark{source: r.Source, offset: r.Offset - 1, time: r.Time})
		k = db.marks.bySource[r.Source]
	}
	if r.Offset <= k.offset {
		return false
	}
	if k.used != db.marks.chunk {
		c.undo = append(c.undo, undo{k, *k})
	}
	if k.headSeq != db.active.seq {
		k.headSeq, k.headRef = db.active.seq, uint32(len(db.active.sources)+len(c.newSources))
		c.newSources = append(c.newSources, newSource{r.Source, k})
	}
	k.used, k.offset, k.time = db.marks.chunk, r.Offset, max(k.time, r.Time)
	a.source = k.headRef
	return true
}

// acceptSourceless drops a record that is in the head already: who pushes the
// same batch again sends the same records.
func (db *DB) acceptSourceless(c *chunk, r *storage.Record, s *stream) bool {
	id := sourceless{s, r.Time, hashRecord(r, db.digest)}
	if _, ok := db.active.sourceless[id]; ok {
		return false
	}
	if db.previous != nil {
		if _, ok := db.previous[id]; ok {
			return false
		}
	}
	db.active.sourceless[id] = struct{}{}
	c.sourceless = append(c.sourceless, id)
	return true
}

// rollBack undoes what classify noted: the records are not stored.
func (db *DB) rollBack(c *chunk) {
	for _, u := range slices.Backward(c.undo) {
		*u.mark = u.old
	}
	for _, id := range c.sourceless {
		delete(db.active.sourceless, id)
	}
	for _, s := range c.newStreams {
		s.headSeq = 0
	}
	db.giveBack(c)
}

// commit puts the chunk into the head and tells those who wait for records.
func (db *DB) commit(c *chunk) {
	p := db.active
	db.mu.Lock()
	if p.rows == 0 {
		p.firstWrite = time.Now().UnixNano()
	}
	p.streams = append(p.streams, c.newStreams...)
	for _, s := range c.newSources {
		p.sources = append(p.sources, s.source)
	}
	p.memory += int64(len(c.newStreams)*streamBytes + len(c.newSources)*sourceBytes + len(c.sourceless)*sourcelessKey)
	for i := range c.rows {
		p.add(&c.rows[i], &c.batch[c.rows[i].index])
	}
	db.mu.Unlock()
	db.streams.share(c.newStreams)
	db.giveBack(c)
	db.metrics.records.Add(float64(len(c.rows)))
	db.metrics.bytes.Add(float64(c.bytes))
	db.tails.wake()
}

// giveBack ends the use that streamOf began.
func (db *DB) giveBack(c *chunk) {
	for _, s := range c.known {
		c.used = append(c.used, s)
	}
	db.streams.release(c.used)
}
