package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	firstPage = 500
	maxPage   = 5000
	// pageBytes is the size of an answer that pages are made for.
	pageBytes = 4 << 20
	// maxTerms bounds the streams named in a query.
	maxTerms = 10_000
)

// Select implements storage.LogStore. Records that this process wrote are seen
// at once, those of others after the refresh interval of their index.
func (s *Store) Select(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	st, err := s.readyToRead(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, q, st)
	if err != nil {
		return nil, err
	}
	if q.Order == storage.Unordered {
		q.Limit = 0
	}
	return &selection{store: s, ctx: ctx, q: q, plan: p, size: firstPage, ended: p.none}, nil
}

// readyToRead also makes what was written visible.
func (s *Store) readyToRead(ctx context.Context) (*state, error) {
	if s.closed.Load() {
		return nil, storage.ErrClosed
	}
	st, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	s.refreshMu.Lock()
	defer s.refreshMu.Unlock()
	if s.unseen.Swap(false) {
		if err := s.refresh(ctx); err != nil {
			s.unseen.Store(true)
			return nil, err
		}
	}
	return st, nil
}

// plan is planOf with the matchers that the index cannot decide turned into a
// list of streams, if they are not too many.
func (s *Store) plan(ctx context.Context, q storage.LogQuery, st *state) (plan, error) {
	p := planOf(q, st.caps)
	if p.none || !p.byStream {
		return p, nil
	}
	infos, err := s.streamsIn(ctx, st, q.Matchers, q.Start, q.End)
	if err != nil || len(infos) > maxTerms {
		return p, err
	}
	hashes := make([]string, len(infos))
	for i, info := range infos {
		hashes[i] = streamHash(info.Labels)
	}
	p.none = len(hashes) == 0
	p.clauses.must(terms(fieldStream, hashes))
	p.byStream = false
	return p, nil
}

// selection pages through the records of a query by search_after. Their order
// is total, so pages neither overlap nor leave a gap, and documents never
// change: a point in time would add nothing.
type selection struct {
	store *Store
	ctx   context.Context
	q     storage.LogQuery
	plan  plan

	size  int
	after json.RawMessage
	ended bool
	err   error // for the next call of Next
	// accept, where set, decides on hits before all else.
	accept func(*hit) bool

	page     []storage.Record
	returned int
	stats    storage.LogStats
}

// sortOf is the order of storage.Ascending or its reverse. Records without a
// source come before all others and are told apart by their hash.
func sortOf(order storage.Order) []any {
	direction := "asc"
	if order == storage.Descending {
		direction = "desc"
	}
	var sort []any
	for _, field := range []string{fieldTime, fieldSource, fieldOffset} {
		sort = append(sort, map[string]any{field: direction})
	}
	return sort
}

// Next implements storage.LogIterator.
func (it *selection) Next() ([]storage.Record, error) {
	for {
		switch {
		case it.err != nil:
			return nil, it.err
		case it.ended, it.q.Limit > 0 && it.returned >= it.q.Limit:
			return nil, io.EOF
		}
		it.page = it.page[:0]
		if err := it.fetch(); err != nil {
			it.err = err
		}
		if len(it.page) > 0 {
			it.returned += len(it.page)
			return it.page, nil
		}
	}
}

// fetch reads one page into it.page.
func (it *selection) fetch() error {
	size := it.size
	if it.q.Limit > 0 && len(it.q.Lines) == 0 && !it.plan.byStream && it.accept == nil {
		size = min(size, it.q.Limit-it.returned)
	}
	answer, err := it.store.search(it.ctx, it.body(size))
	if errors.Is(err, errAnswerTooLarge) && size > 1 {
		it.size = max(1, size/8)
		return nil
	}
	if err != nil {
		return err
	}
	n, err := it.store.streams.parseHits(answer, it.take)
	if err != nil {
		return err
	}
	it.ended = n < size
	it.size = nextPage(n, len(answer), it.size)
	return nil
}

// nextPage is the number of hits to ask for after n that took so many bytes.
func nextPage(n, bytes, size int) int {
	if n == 0 {
		return size
	}
	return max(1, min(maxPage, pageBytes*n/bytes))
}

func (it *selection) body(size int) map[string]any {
	body := map[string]any{
		"query": it.plan.clauses.query(), "sort": sortOf(it.q.Order), "size": size,
		"track_total_hits": false,
	}
	if it.after != nil {
		body["search_after"] = it.after
	}
	if it.accept != nil {
		body["seq_no_primary_term"] = true
	}
	if it.q.NoLine && len(it.q.Lines) == 0 {
		body["_source"] = map[string]any{"excludes": []string{fieldMessage}}
	}
	return body
}

// take looks at one hit.
func (it *selection) take(h hit) error {
	it.after = h.sort
	if it.q.Limit > 0 && it.returned+len(it.page) >= it.q.Limit {
		return nil
	}
	if it.accept != nil && !it.accept(&h) {
		return nil
	}
	r := h.record
	if !it.q.NoLine || len(it.q.Lines) > 0 {
		if it.q.MaxBytes > 0 && it.stats.Bytes+int64(r.Size) > it.q.MaxBytes {
			return fmt.Errorf("%w: more than %d bytes of text had to be read", storage.ErrQueryLimit, it.q.MaxBytes)
		}
		it.stats.Bytes += int64(r.Size)
	}
	it.stats.Lines++
	if !matchesRecord(&it.q, &r) {
		return nil
	}
	if it.q.NoLine {
		r.Line = nil
	}
	it.page = append(it.page, r)
	return nil
}

// matchesRecord decides to the letter, whatever the index found.
func matchesRecord(q *storage.LogQuery, r *storage.Record) bool {
	if q.Levels != 0 && q.Levels&(1<<r.Level) == 0 || !matchesAll(q.Matchers, r.Stream.Labels) {
		return false
	}
	for _, m := range q.Lines {
		if !m.Match(r.Line) {
			return false
		}
	}
	return true
}

// Stats implements storage.LogIterator.
func (it *selection) Stats() storage.LogStats { return it.stats }

// Close implements storage.LogIterator.
func (it *selection) Close() error {
	it.ended, it.page = true, nil
	return nil
}
