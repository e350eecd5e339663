package logdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// watchInterval is how often free space is looked at, and how soon a cut
	// that failed is tried again.
	watchInterval = time.Second
	// maxPartAge bounds how long records stay in the head of a quiet store, so
	// that retention reaches them and a start has little to read.
	maxPartAge = 2 * time.Hour
	// compactInterval is how often retention is looked at.
	compactInterval = time.Minute
)

// newPart starts an empty head part with a log of its own. Either writeMu is
// held or nobody else knows the DB yet.
func (db *DB) newPart() error {
	seq := db.lastSeq.Add(1)
	w, err := createWAL(db.options.Dir, seq)
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.wal, db.active = w, newPart(seq)
	return nil
}

// rotate seals the active part and starts another. writeMu is held, and no
// other part is sealed.
func (db *DB) rotate() error {
	wal, p := db.wal, db.active
	seq := db.lastSeq.Add(1)
	w, err := createWAL(db.options.Dir, seq)
	if err != nil {
		return err
	}
	db.previous, p.sourceless = p.sourceless, nil
	db.mu.Lock()
	db.sealed, db.sealedWAL, db.cutDone = p, wal, make(chan struct{})
	db.wal, db.active = w, newPart(seq)
	db.mu.Unlock()
	request(db.cutWanted)
	return nil
}

// request asks a loop for work, at most once at a time.
func request(wanted chan struct{}) {
	select {
	case wanted <- struct{}{}:
	default:
	}
}

// syncLoop puts the log on the disk every SyncInterval.
func (db *DB) syncLoop(ctx context.Context) {
	if db.options.SyncInterval == SyncAlways {
		return
	}
	tick := time.NewTicker(db.options.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			db.syncWAL()
		}
	}
}

// syncWAL syncs the active log. A log that cannot be synced may have lost what
// was written, which is still in memory: it goes into a segment at once.
func (db *DB) syncWAL() {
	db.writeMu.Lock()
	w, size := db.wal, db.wal.size
	db.writeMu.Unlock()
	err := w.sync(size)
	if err == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	db.metrics.writeErrors.Inc()
	db.logger.Error("The write-ahead log cannot be synced; its records are written to a segment", "err", err)
	db.writeMu.Lock()
	defer db.writeMu.Unlock()
	if db.wal == w && !db.isCutting() && db.active.rows > 0 {
		if err := db.rotate(); err != nil {
			db.logger.Error("No new write-ahead log", "err", err)
		}
	}
}

// watch looks at the disk, tries failed cuts again and seals old parts.
func (db *DB) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			db.watchSpace()
			if db.isCutting() {
				request(db.cutWanted)
			}
			db.sealOld()
		}
	}
}

// watchSpace stops and resumes writing with the free space of the disk.
func (db *DB) watchSpace() {
	err := db.space.Measure()
	db.mu.Lock()
	defer db.mu.Unlock()
	was := db.refused
	switch {
	case err != nil:
		db.logger.Warn("Free space of the disk is unknown", "err", err)
		return
	case db.space.Full(was != nil):
		db.refused = db.space.FullError()
	default:
		db.refused = nil
	}
	if (was == nil) == (db.refused == nil) {
		return
	}
	if db.refused != nil {
		db.metrics.full.Set(1)
		db.logger.Error("Logs are not taken any more: disk full", "err", db.refused)
		return
	}
	db.metrics.full.Set(0)
	free, _ := db.space.Last()
	db.logger.Info("Logs are taken again", "free_bytes", free)
}

// sealOld starts writing a part to a segment that is not full but old.
func (db *DB) sealOld() {
	db.writeMu.Lock()
	defer db.writeMu.Unlock()
	if db.active.rows == 0 || time.Since(time.Unix(0, db.active.firstWrite)) < maxPartAge || db.isCutting() || db.refusal() != nil {
		return
	}
	if err := db.rotate(); err != nil {
		db.logger.Warn("No new write-ahead log; the old one goes on", "err", err)
	}
}

// cutLoop writes sealed parts to segments.
func (db *DB) cutLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-db.cutWanted:
			if db.isCutting() {
				db.cut()
			}
		}
	}
}

// cut writes the sealed part to a segment. If that fails the part and its log
// stay, writers are told as soon as the head is full, and watch asks again.
func (db *DB) cut() {
	db.mu.RLock()
	p, v := db.sealed, db.sealed.view()
	db.mu.RUnlock()
	err := db.cutPart(p, &v)
	if err == nil {
		db.metrics.cuts.WithLabelValues("ok").Inc()
		request(db.compactWanted)
		return
	}
	db.metrics.cuts.WithLabelValues("failed").Inc()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.cutErr == nil {
		db.logger.Error("Records cannot be written to a segment; they stay in the log, and it is tried again every second", "err", err)
	}
	db.cutErr = err
	close(db.cutDone)
	db.cutDone = make(chan struct{})
}

func (db *DB) cutPart(p *part, v *partView) error {
	if err := db.writePart(v); err != nil {
		return err
	}
	s, foot, err := openSegment(db.options.Dir, v.seq, db.codec)
	if err != nil {
		return err
	}
	s.sources = nil
	s.attach(db.streams, foot)
	// From here on nothing gets into the part: tails that are not through with
	// it take what they have not seen.
	db.leave(v)
	db.mu.Lock()
	db.segments = append(slices.Clone(db.segments), s)
	wal := db.sealedWAL
	failed := db.cutErr
	db.sealed, db.sealedWAL, db.cutErr = nil, nil, nil
	close(db.cutDone)
	db.mu.Unlock()
	if failed != nil {
		db.logger.Info("Records are written to segments again")
	}
	db.streams.release(p.streams)
	wal.f.Close()
	if err := os.Remove(wal.path); err != nil {
		db.logger.Warn("A write-ahead log that is in a segment stays; the next start removes it", "err", err)
	}
	return nil
}

// walBytes is the size of the logs. db.mu is held.
func (db *DB) walBytes() int64 {
	total := int64(0)
	for _, w := range []*walFile{db.wal, db.sealedWAL} {
		if w == nil {
			continue
		}
		if info, err := w.f.Stat(); err == nil {
			total += info.Size()
		}
	}
	return total
}
