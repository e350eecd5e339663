package tsdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// checkInterval is how often the disk is looked at. At 1 s a writer would
	// have to log 64 MiB/s, some ten million samples/s, to get past the reserve.
	checkInterval = time.Second
	// maxReopenBackoff bounds the time between attempts to open the folder
	// again after a failed write.
	maxReopenBackoff = time.Minute
)

// watch stops and starts ingest as the disk fills and empties, and opens the
// folder again after a failed write.
func (db *DB) watch(ctx context.Context) {
	defer close(db.done)
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	var retry backoff
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-db.check:
		}
		if full := db.checkSpace(); full || !db.mustReopen() || !retry.due(time.Now()) {
			continue
		}
		if err := db.reopen(ctx); err != nil && ctx.Err() == nil {
			db.logger.Error("Cannot open the metrics store again, will try once more", "dir", db.opts.Dir, "err", err)
		}
		retry.attempted(time.Now())
	}
}

// backoff spaces attempts to open the folder again, whether they succeed or
// not: when every write fails, each attempt replays the log for nothing.
type backoff struct {
	last time.Time
	wait time.Duration
}

func (b *backoff) due(now time.Time) bool { return now.Sub(b.last) >= b.wait }

func (b *backoff) attempted(now time.Time) {
	if now.Sub(b.last) > 2*maxReopenBackoff {
		b.wait = 0
	}
	b.last, b.wait = now, min(max(2*b.wait, checkInterval), maxReopenBackoff)
}

// checkSpace measures the disk and sets whether writes are refused.
func (db *DB) checkSpace() (full bool) {
	err := db.space.measure()
	if err != nil {
		db.logger.Warn("Cannot tell how much of the disk is free", "err", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	wasFull := errors.Is(db.refusal, storage.ErrFull)
	full = db.space.Full(wasFull)
	switch {
	case full:
		db.refusal = db.space.FullError()
	case db.broken != nil:
		db.refusal = db.broken
	default:
		db.refusal = nil
	}
	db.metrics.full.Set(0)
	if errors.Is(db.refusal, storage.ErrFull) {
		db.metrics.full.Set(1)
	}
	switch {
	case full && !wasFull:
		db.logger.Error("Metrics ingest stopped: disk full", "dir", db.opts.Dir, "err", db.refusal)
	case wasFull && db.refusal == nil:
		free, _ := db.space.Last()
		db.logger.Info("Metrics ingest goes on: there is room again", "dir", db.opts.Dir, "free_bytes", free)
	}
	return full
}

// mustReopen tells whether a write failed or the last attempt to open did.
func (db *DB) mustReopen() bool {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.cur == nil || db.broken != nil
}

// reopen replaces the handle after a failed write: the log may end in half a
// record, which a later record would make unreadable, and upstream may hold
// series in memory that never got into the log, whose samples a restart would
// lose. Replaying the log brings both back to what was acknowledged.
func (db *DB) reopen(ctx context.Context) error {
	db.mu.RLock()
	cause := db.broken
	db.mu.RUnlock()
	if h := db.detach(fmt.Errorf("%w again after a failed write", ErrNotReady)); h != nil {
		db.logger.Warn("Opening the metrics store again after a failed write", "dir", db.opts.Dir, "cause", cause)
		if err := h.drain(ctx); err != nil {
			db.install(h) // So that Close finds it.
			return err
		}
		if err := h.closeUpstream(); err != nil {
			db.logger.Warn("Closing the metrics store failed, its log will be replayed", "dir", db.opts.Dir, "err", err)
		}
	}
	h, err := db.recoverAndOpen()
	if err != nil {
		db.metrics.reopened.WithLabelValues("failed").Inc()
		err = db.fullOr(err)
		db.mu.Lock()
		db.unavailable = fmt.Errorf("%w again, the last attempt failed: %w", ErrNotReady, err)
		db.mu.Unlock()
		return err
	}
	db.install(h)
	db.metrics.reopened.WithLabelValues("ok").Inc()
	db.checkSpace()
	db.logger.Info("The metrics store is open again", "dir", db.opts.Dir)
	return nil
}
