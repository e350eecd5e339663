package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// tailPatience is how long a live tail bears a server that does not answer.
const tailPatience = time.Minute

// Tail implements storage.LogStore. The server numbers the operations on each
// shard and tells up to which number all of them are done. So a poll is: ask
// for these numbers, refresh, and read what lies between those of the poll
// before and these. That leaves nothing out and returns nothing twice, whoever
// wrote it and however late it came.
func (s *Store) Tail(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	st, err := s.readyToRead(ctx)
	if err != nil {
		return nil, err
	}
	done, err := s.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	q.MaxBytes = 0
	q.End = math.MaxInt64
	t := &tail{store: s, ctx: ctx, q: q, size: firstPage, done: done, early: make(map[string]bool)}
	t.follow = planOf(storage.LogQuery{Matchers: q.Matchers, Levels: q.Levels, Lines: q.Lines, End: q.End}, st.caps)
	stored := q
	stored.Order = storage.Ascending
	if q.Limit > 0 {
		stored.Order = storage.Descending
	}
	t.stored = &selection{store: s, ctx: ctx, q: stored, plan: planOf(stored, st.caps), size: firstPage, accept: t.isStored}
	return t, nil
}

// shard is one of an index.
type shard struct {
	index  string
	number string
}

// checkpoints returns up to which number the operations on each shard are
// done, on all of its copies.
func (s *Store) checkpoints(ctx context.Context) (map[shard]int64, error) {
	answer, err := s.client.call(ctx, http.MethodGet, "/"+s.options.Index+"/_stats/docs", url.Values{
		"level":       {"shards"},
		"filter_path": {"indices.*.shards.*.seq_no.global_checkpoint,indices.*.shards.*.routing.primary"},
	}, nil)
	if statusOf(err) == http.StatusNotFound {
		return map[shard]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	var stats struct {
		Indices map[string]struct {
			Shards map[string][]struct {
				SeqNo *struct {
					GlobalCheckpoint int64 `json:"global_checkpoint"`
				} `json:"seq_no"`
				Routing struct{ Primary bool }
			}
		}
	}
	if err := json.Unmarshal(answer, &stats); err != nil {
		return nil, fmt.Errorf("elasticsearch: the statistics of the shards: %w", err)
	}
	found := make(map[shard]int64)
	for index, of := range stats.Indices {
		for number, copies := range of.Shards {
			for _, c := range copies {
				if c.Routing.Primary && c.SeqNo != nil {
					found[shard{index, number}] = c.SeqNo.GlobalCheckpoint
				}
			}
		}
	}
	return found, nil
}

// tail is a live tail.
type tail struct {
	store *Store
	ctx   context.Context
	q     storage.LogQuery

	// stored returns what was there at the start; nil when that is done.
	stored *selection
	follow plan
	// done is the number up to which the operations on each shard have been
	// returned.
	done map[shard]int64
	// early are records that stored returned although they may be beyond
	// done: of an index of several shards, a document does not tell its own.
	early map[string]bool

	size         int // of a page
	failingSince time.Time
	page         []storage.Record
	stats        storage.LogStats
}

// isStored tells whether a hit belongs to what was stored at the start. What
// came after it is left to the polls.
func (t *tail) isStored(h *hit) bool {
	lowest, highest := int64(math.MaxInt64), int64(-1)
	for s, done := range t.done {
		if s.index == h.index {
			lowest, highest = min(lowest, done), max(highest, done)
		}
	}
	if h.seqNo > highest {
		return false
	}
	if h.seqNo > lowest && matchesRecord(&t.q, &h.record) {
		t.early[h.index+"/"+h.id] = true
	}
	return true
}

// Next implements storage.LogIterator.
func (t *tail) Next() ([]storage.Record, error) {
	for t.ctx.Err() == nil {
		records, err := t.next()
		switch {
		case len(records) > 0:
			t.failingSince = time.Time{}
			return records, nil
		case t.ctx.Err() != nil:
			return nil, io.EOF
		case err != nil:
			if err = t.bear(err); err != nil {
				return nil, err
			}
		default:
			t.failingSince = time.Time{}
		}
		if t.stored != nil {
			continue
		}
		select {
		case <-t.ctx.Done():
		case <-time.After(t.store.options.Poll):
		}
	}
	return nil, io.EOF
}

// bear returns nil for a failure that may pass.
func (t *tail) bear(err error) error {
	status := statusOf(err)
	if t.stored != nil || status != 0 && status != http.StatusTooManyRequests && status/100 != 5 {
		return err
	}
	if t.failingSince.IsZero() {
		t.failingSince = time.Now()
	}
	if time.Since(t.failingSince) > tailPatience {
		return err
	}
	return nil
}

// next returns nothing when there is nothing new.
func (t *tail) next() ([]storage.Record, error) {
	if t.stored != nil {
		return t.nextStored()
	}
	done, err := t.store.checkpoints(t.ctx)
	if err != nil {
		return nil, err
	}
	if !t.isBehind(done) {
		return nil, nil
	}
	if err := t.store.refresh(t.ctx); err != nil {
		return nil, err
	}
	t.page = t.page[:0]
	for len(t.page) == 0 && t.isBehind(done) && err == nil {
		for s, checkpoint := range done {
			if checkpoint > t.done[s] && err == nil {
				err = t.read(s, checkpoint)
			}
		}
	}
	if len(t.page) > 0 {
		err = nil // comes again, if it stays
	}
	slices.SortStableFunc(t.page, compareTimes)
	return t.page, err
}

// isBehind compares with new checkpoints, after it has noticed new indices and
// those that were deleted.
func (t *tail) isBehind(done map[shard]int64) bool {
	for s := range t.done {
		if _, ok := done[s]; !ok {
			delete(t.done, s)
		}
	}
	behind := false
	for s, checkpoint := range done {
		if _, ok := t.done[s]; !ok {
			t.done[s] = -1
		}
		behind = behind || checkpoint > t.done[s]
	}
	return behind
}

// compareTimes leaves records of the same time in the order of their arrival.
func compareTimes(a, b storage.Record) int {
	switch {
	case a.Time < b.Time:
		return -1
	case a.Time > b.Time:
		return 1
	}
	return 0
}

// nextStored returns what was there at the start, ascending: all of it page by
// page, or the last records in one.
func (t *tail) nextStored() ([]storage.Record, error) {
	var last []storage.Record
	for {
		records, err := t.stored.Next()
		t.stats = t.stored.Stats()
		switch {
		case errors.Is(err, io.EOF):
			t.stored = nil
			slices.Reverse(last)
			return last, nil
		case err != nil:
			return nil, err
		case t.q.Limit == 0:
			return records, nil
		}
		last = append(last, records...)
	}
}

// read appends a page of a shard's records up to a checkpoint to t.page.
func (t *tail) read(s shard, checkpoint int64) error {
	c := clauses{filter: slices.Clone(t.follow.clauses.filter), mustNot: t.follow.clauses.mustNot}
	c.must(map[string]any{"range": map[string]any{"_seq_no": map[string]any{"gt": t.done[s], "lte": checkpoint}}})
	answer, err := t.store.client.call(t.ctx, http.MethodPost, "/"+s.index+"/_search", url.Values{
		"preference": {"_shards:" + s.number}, "allow_partial_search_results": {"false"},
	}, map[string]any{
		"query": c.query(), "sort": []any{map[string]any{"_seq_no": "asc"}}, "size": t.size,
		"seq_no_primary_term": true, "track_total_hits": false,
	})
	switch {
	case errors.Is(err, errAnswerTooLarge) && t.size > 1:
		t.size = max(1, t.size/8)
		return nil
	case statusOf(err) == http.StatusNotFound:
		t.done[s] = checkpoint // past its retention
		return nil
	case err != nil:
		return err
	}
	n, err := t.store.streams.parseHits(answer, func(h hit) error {
		t.done[s] = h.seqNo
		t.take(h)
		return nil
	})
	if err != nil {
		return err
	}
	if n < t.size {
		t.done[s] = checkpoint
	}
	t.size = nextPage(n, len(answer), t.size)
	return nil
}

func (t *tail) take(h hit) {
	if len(t.early) > 0 {
		if key := h.index + "/" + h.id; t.early[key] {
			delete(t.early, key)
			return
		}
	}
	r := h.record
	t.stats.Lines++
	t.stats.Bytes += int64(r.Size)
	if !matchesRecord(&t.q, &r) {
		return
	}
	if t.q.NoLine {
		r.Line = nil
	}
	t.page = append(t.page, r)
}

// Stats implements storage.LogIterator.
func (t *tail) Stats() storage.LogStats { return t.stats }

// Close implements storage.LogIterator.
func (t *tail) Close() error {
	t.stored, t.page = nil, nil
	return nil
}
