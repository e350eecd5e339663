package logdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// quarantineName is the folder for segments that cannot be read.
const quarantineName = "quarantine"

// recover opens the segments, and reads the logs of what is not in a segment
// yet back into the head.
func (db *DB) recover() error {
	segments, wals, err := db.listFiles()
	if err != nil {
		return err
	}
	covered, err := db.openSegments(segments)
	if err != nil {
		return err
	}
	for _, seq := range wals {
		if seq > covered {
			if err := db.replay(seq); err != nil {
				return err
			}
			continue
		}
		if err := os.Remove(walPath(db.options.Dir, seq)); err != nil {
			return fmt.Errorf("logdb: remove a log that is in a segment: %w", err)
		}
	}
	if db.wal == nil {
		return db.newPart()
	}
	return nil
}

// listFiles returns the sequence numbers of segments and logs, ascending, and
// removes what was left half written.
func (db *DB) listFiles() (segments, wals []uint64, err error) {
	entries, err := os.ReadDir(db.options.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("logdb: read data folder: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, tmpSuffix) {
			if err := os.Remove(filepath.Join(db.options.Dir, name)); err != nil {
				return nil, nil, fmt.Errorf("logdb: remove unfinished file: %w", err)
			}
			continue
		}
		if seq, ok := parseSeq(name, segmentSuffix); ok {
			segments = append(segments, seq)
		} else if seq, ok = parseSeq(name, walSuffix); ok {
			wals = append(wals, seq)
		} else {
			continue
		}
	}
	slices.Sort(segments)
	slices.Sort(wals)
	for _, seqs := range [][]uint64{segments, wals} {
		if len(seqs) > 0 {
			db.lastSeq.Store(max(db.lastSeq.Load(), seqs[len(seqs)-1]))
		}
	}
	return segments, wals, nil
}

// openSegments opens those that were not merged into others, and returns the
// newest log that is in one of them.
func (db *DB) openSegments(seqs []uint64) (covered uint64, err error) {
	replaced := make(map[uint64]bool)
	opened := make(map[uint64]*segment)
	feet := make(map[uint64]*footer)
	for _, seq := range seqs {
		s, foot, err := openSegment(db.options.Dir, seq, db.codec)
		switch {
		case errors.Is(err, errFormat) || errors.Is(err, io.ErrUnexpectedEOF):
			if err := db.setAside(seq, err); err != nil {
				return 0, err
			}
			continue
		case err != nil:
			return 0, err
		}
		covered = max(covered, s.wal)
		opened[seq], feet[seq] = s, foot
		for _, r := range s.replaces {
			replaced[r] = true
		}
	}
	for _, seq := range seqs {
		s := opened[seq]
		if s == nil {
			continue
		}
		if replaced[seq] {
			s.obsolete.Store(true)
			if err := s.release(); err != nil {
				return 0, fmt.Errorf("logdb: remove merged segment: %w", err)
			}
			continue
		}
		s.attach(db.streams, feet[seq])
		db.segments = append(db.segments, s)
	}
	// The newest first: if there are too many sources, the old ones are left out.
	for _, s := range slices.Backward(db.segments) {
		db.raiseMarks(s.sources)
		s.sources = nil
	}
	return covered, nil
}

// raiseMarks takes over marks of a segment as far as there is room.
func (db *DB) raiseMarks(sources []sourceMark) {
	for _, m := range sources {
		if db.marks.bySource[m.source] == nil && len(db.marks.bySource) >= db.marks.max {
			continue
		}
		db.marks.raise(m)
	}
}

// setAside moves a damaged segment out of the way.
func (db *DB) setAside(seq uint64, reason error) error {
	db.metrics.corrupt.WithLabelValues("segment").Inc()
	dir := filepath.Join(db.options.Dir, quarantineName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("logdb: make quarantine: %w", err)
	}
	path := segmentPath(db.options.Dir, seq)
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("logdb: set damaged segment aside: %w", err)
	}
	db.logger.Error("A damaged segment was set aside; its records are not found any more", "segment", to, "err", reason)
	return nil
}

// replay reads a log into the head. The first frame that is damaged ends it:
// what follows was never acknowledged, or is lost with it.
func (db *DB) replay(seq uint64) error {
	path := walPath(db.options.Dir, seq)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("logdb: read write-ahead log: %w", err)
	}
	if err := checkHeader(b, walMagic); err != nil {
		if errors.Is(err, errNewerFormat) {
			return fmt.Errorf("logdb: %s: %w", path, err)
		}
		// The file was being made when the process ended.
		db.truncated(path, 0, len(b), err)
		b = nil
	}
	if err := db.sealReplayed(); err != nil {
		return err
	}
	p := newPart(seq)
	db.active = p
	size := 0
	if len(b) >= headerSize {
		size = headerSize
	}
	var raw []byte
	for size > 0 && size < len(b) {
		var n int
		var frame *frameRows
		raw, n, err = nextFrame(raw[:0], b[size:])
		if err == nil {
			frame, err = parseFrame(raw)
		}
		if err == nil {
			err = db.apply(p, frame)
		}
		if err != nil {
			db.truncated(path, size, len(b), err)
			break
		}
		size += n
	}
	return db.adoptWAL(path, seq, int64(size))
}

// truncated reports what is cut off a log.
func (db *DB) truncated(path string, at, size int, reason error) {
	db.metrics.walDamage.Add(float64(size - at))
	db.logger.Warn("The write-ahead log ends in a torn record; what follows is cut off",
		"path", path, "offset", at, "bytes", size-at, "err", reason)
}

// adoptWAL goes on with a log behind its last whole frame.
func (db *DB) adoptWAL(path string, seq uint64, size int64) error {
	if size == 0 {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("logdb: remove empty write-ahead log: %w", err)
		}
		w, err := createWAL(db.options.Dir, seq)
		db.wal = w
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("logdb: open write-ahead log: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return fmt.Errorf("logdb: cut write-ahead log: %w", err)
	}
	db.wal = &walFile{seq: seq, path: path, f: f, size: size}
	return nil
}

// sealReplayed makes room for the next log: the part of the log before it was
// being written when the process ended. It is written again in the background.
func (db *DB) sealReplayed() error {
	if db.wal == nil {
		return nil
	}
	if db.active.rows == 0 {
		db.streams.release(db.active.streams)
		db.wal.f.Close()
		if err := os.Remove(db.wal.path); err != nil {
			return fmt.Errorf("logdb: remove empty write-ahead log: %w", err)
		}
		db.wal, db.active = nil, nil
		return nil
	}
	if db.sealed != nil {
		v := db.sealed.view()
		if err := db.cutPart(db.sealed, &v); err != nil {
			return err
		}
	}
	db.previous = db.active.sourceless
	db.sealed, db.sealedWAL, db.cutDone = db.active, db.wal, make(chan struct{})
	db.wal, db.active = nil, nil
	return nil
}

// apply puts the records of a frame into the head.
func (db *DB) apply(p *part, f *frameRows) error {
	streams, sources := len(p.streams)+len(f.streams), len(p.sources)+len(f.sources)
	for i := range f.rows {
		if int(f.rows[i].stream) >= streams || int(f.rows[i].source) >= sources {
			return fmt.Errorf("%w: record of an unknown stream or source", errFormat)
		}
	}
	for _, l := range f.streams {
		s := db.streams.acquire(l)
		s.headSeq, s.headRef = p.seq, uint32(len(p.streams))
		p.streams = append(p.streams, s)
	}
	p.sources = append(p.sources, f.sources...)
	p.memory += int64(len(f.streams)*streamBytes + len(f.sources)*sourceBytes)
	if p.rows == 0 {
		p.firstWrite = time.Now().UnixNano()
	}
	for i := range f.rows {
		row := &f.rows[i]
		r := &row.record
		r.Stream = &p.streams[row.stream].Stream
		p.add(&accepted{stream: row.stream, source: row.source}, r)
		if r.Source = p.sources[row.source]; r.Source == (storage.SourceID{}) {
			p.sourceless[sourceless{p.streams[row.stream], r.Time, hashRecord(r, db.digest)}] = struct{}{}
			continue
		}
		db.marks.raise(sourceMark{r.Source, r.Offset, r.Time})
		k := db.marks.bySource[r.Source]
		k.headSeq, k.headRef = p.seq, row.source
	}
	db.metrics.replayed.Add(float64(len(f.rows)))
	return nil
}
