package tsdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"

	"github.com/binnacle-obs/binnacle/storage"
)

// Admin is what upstream's HTTP API calls TSDBAdminStats. Its methods return
// ErrNotReady while the folder is being opened, except for WALReplayStatus.
type Admin struct{ db *DB }

// Admin returns the store's administration.
func (db *DB) Admin() Admin { return Admin{db} }

// CleanTombstones rewrites blocks without the samples deleted from them.
func (a Admin) CleanTombstones() error {
	return a.with(func(h *handle) error { return h.CleanTombstones() })
}

// Delete marks the samples of matching series from mint to maxt, in
// milliseconds and both included, as deleted.
func (a Admin) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return a.with(func(h *handle) error { return h.Delete(ctx, mint, maxt, ms...) })
}

// Snapshot makes a copy of the data in dir, mostly by hard links; withHead
// includes what is not yet in a block. The copy is a data folder of its own.
func (a Admin) Snapshot(dir string, withHead bool) error {
	return a.with(func(h *handle) error {
		if err := h.Snapshot(dir, withHead); err != nil {
			return a.db.fullOr(fmt.Errorf("tsdb: snapshot to %s: %w", dir, err))
		}
		return nil
	})
}

// Stats returns the head's cardinality statistics: the top limit entries of
// each list.
func (a Admin) Stats(statsByLabelName string, limit int) (*upstreamtsdb.Stats, error) {
	var out *upstreamtsdb.Stats
	err := a.with(func(h *handle) error {
		out = h.Head().Stats(statsByLabelName, limit)
		return nil
	})
	return out, err
}

// WALReplayStatus returns how far the replay of the log has come, in segments.
func (a Admin) WALReplayStatus() (upstreamtsdb.WALReplayStatus, error) {
	return a.db.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas describes the blocks on disk, oldest first.
func (a Admin) BlockMetas() ([]upstreamtsdb.BlockMeta, error) {
	var out []upstreamtsdb.BlockMeta
	err := a.with(func(h *handle) error {
		out = h.BlockMetas()
		return nil
	})
	return out, err
}

func (a Admin) with(do func(*handle) error) error {
	h, err := a.db.acquire()
	if err != nil {
		return err
	}
	defer h.users.Done()
	return do(h)
}

// State is what the store can do at the moment.
type State struct {
	// Ready says that reads are answered.
	Ready bool
	// Full says that samples are refused because the disk is full.
	Full bool
	// Reason says why reads or writes are refused; "" when neither are.
	Reason string
	// FreeBytes is the free space last seen on the disk, and MinFreeBytes
	// what is needed for ingest.
	FreeBytes, MinFreeBytes int64
	// ReplayedSegments of ReplaySegments files of the log have been read since
	// the folder is being opened.
	ReplayedSegments, ReplaySegments int
}

// State tells what the store can do at the moment.
func (db *DB) State() State {
	db.mu.RLock()
	ready, reason := db.cur != nil, db.unavailable
	if ready {
		reason = db.refusal
	}
	db.mu.RUnlock()
	s := State{Ready: ready, Full: errors.Is(reason, storage.ErrFull)}
	s.FreeBytes, s.MinFreeBytes = db.space.Last()
	if reason != nil {
		s.Reason = reason.Error()
	}
	replay := db.stats.Head.WALReplayStatus.GetWALReplayStatus()
	s.ReplaySegments = replay.Max - replay.Min + 1
	s.ReplayedSegments = replay.Current - replay.Min + 1
	return s
}
