package tsdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/metadata"
	upstream "github.com/prometheus/prometheus/storage"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxFuture is how far ahead of our clock a sample may be, as in upstream's
// scraper. One sample from next year would make everybody else's too old.
const maxFuture = 10 * time.Minute

// A Series.Ref is the low bits of the handle's number above upstream's
// reference. A reference that does not fit is not kept, only looked up again.
const (
	refBits = 40
	refMask = 1<<refBits - 1
)

// Append stores batch as one transaction; see storage.Appender. When it
// returns nil or a *storage.RejectedError, the samples have been handed to the
// kernel and survive the end of the process. The error wraps storage.ErrFull
// while the disk is full and ErrNotReady while the folder is being opened.
//
// Within one batch upstream checks a series' samples only against those stored
// before: of two different values for one timestamp the first is kept.
func (db *DB) Append(ctx context.Context, batch []storage.Sample) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h, err := db.acquireForWrite()
	if err != nil {
		db.metrics.failed.WithLabelValues(failure(err)).Inc()
		return err
	}
	defer h.users.Done()
	if len(batch) == 0 {
		return nil
	}
	var rejected storage.RejectedError
	if err := db.appendTo(ctx, h, batch, &rejected); err != nil {
		db.metrics.failed.WithLabelValues(failure(err)).Inc()
		return err
	}
	for reason, n := range rejected.Reasons {
		db.metrics.rejected.WithLabelValues(reason).Add(float64(n))
	}
	return rejected.OrNil()
}

// appendTo appends batch and commits, or rolls back and returns an error.
func (db *DB) appendTo(ctx context.Context, h *handle, batch []storage.Sample, rejected *storage.RejectedError) error {
	oooFailures := h.oooFailures.value()
	app := h.AppenderV2(ctx)
	newest := time.Now().Add(maxFuture).UnixMilli()
	owner := h.id << refBits
	for i := range batch {
		s := &batch[i]
		if s.T > newest {
			rejected.Add(storage.ReasonInvalid, futureError(s))
			continue
		}
		var ref upstream.SeriesRef
		if s.Series.Ref&^refMask == owner {
			ref = upstream.SeriesRef(s.Series.Ref & refMask)
		}
		got, err := app.Append(ref, s.Series.Labels, 0, s.T, s.V, nil, nil, upstream.AOptions{})
		if err != nil {
			reason, ok := rejection(err)
			if !ok {
				return errors.Join(fmt.Errorf("tsdb: append to series %s: %w", brief(s.Series.Labels), err), db.rollback(h, app))
			}
			rejected.Add(reason, fmt.Errorf("series %s at %d: %w", brief(s.Series.Labels), s.T, err))
			continue
		}
		if got != ref {
			db.remember(s.Series, got, owner)
		}
	}
	return db.commit(h, app, oooFailures)
}

// remember keeps upstream's reference in the series, and its family.
func (db *DB) remember(s *storage.Series, ref upstream.SeriesRef, owner uint64) {
	if ref <= refMask {
		s.Ref = owner | uint64(ref)
	}
	if f := s.Family; f != nil {
		db.families.learn(f.Name, metadata.Metadata{Type: f.Type, Help: f.Help, Unit: f.Unit})
	}
}

// commit writes a transaction to the logs. oooFailures is the handle's count
// from before the transaction began.
func (db *DB) commit(h *handle, app upstream.AppenderTransaction, oooFailures float64) error {
	if err := app.Commit(); err != nil {
		return db.commitFailed(h, err)
	}
	// Upstream only logs a message when late samples could not be written to
	// their log: they would be gone after a crash.
	if h.oooFailures.value() != oooFailures {
		return db.commitFailed(h, errLateSamplesNotLogged)
	}
	return nil
}

// rollback drops a transaction. The series it made stay and are logged now.
func (db *DB) rollback(h *handle, app upstream.AppenderTransaction) error {
	if err := app.Rollback(); err != nil {
		return db.commitFailed(h, err)
	}
	return nil
}

var errLateSamplesNotLogged = errors.New("writing out-of-order samples to the log (wbl) failed")

func futureError(s *storage.Sample) error {
	return fmt.Errorf("series %s: timestamp %v is more than %v in the future; check the sender's clock",
		brief(s.Series.Labels), time.UnixMilli(s.T).UTC(), maxFuture)
}

// rejection tells errors that condemn one sample from those that end a batch.
func rejection(err error) (reason string, ok bool) {
	var refused *refusedSeries
	switch {
	case errors.As(err, &refused):
		return refused.reason, true
	case errors.Is(err, upstream.ErrDuplicateSampleForTimestamp):
		return storage.ReasonDuplicate, true
	case errors.Is(err, upstream.ErrOutOfOrderSample):
		return storage.ReasonOutOfOrder, true
	case errors.Is(err, upstream.ErrTooOldSample), errors.Is(err, upstream.ErrOutOfBounds):
		return storage.ReasonTooOld, true
	case errors.Is(err, upstreamtsdb.ErrInvalidSample):
		return storage.ReasonInvalid, true
	}
	return "", false
}

// failure is the reason label of an error that ends a batch.
func failure(err error) string {
	switch {
	case errors.Is(err, storage.ErrFull):
		return "full"
	case errors.Is(err, storage.ErrClosed):
		return "closed"
	case errors.Is(err, ErrNotReady):
		return "not_ready"
	}
	return "write"
}
