package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// Reasons of metrics and of storage.PartialError.
const (
	reasonMapping     = "mapping"     // the document does not fit the index
	reasonTooLarge    = "too_large"   // the document alone is more than the server takes
	reasonOverload    = "overload"    // 429
	reasonUnavailable = "unavailable" // 5xx
	reasonNetwork     = "network"     // no answer
	reasonForbidden   = "forbidden"   // 401, 403: credentials, read-only indices
	reasonOther       = "other"
)

// Write implements storage.LogSink. Records that the mapping refuses are kept
// as dead letters and count as stored; they are found in the dead letters
// alone.
func (s *Store) Write(ctx context.Context, batch []storage.Record) error {
	if len(batch) == 0 {
		return nil
	}
	if s.closed.Load() {
		return storage.ErrClosed
	}
	st, err := s.ready(ctx)
	if err != nil {
		return err
	}
	pending, err := s.notStored(ctx, batch)
	if err != nil || len(pending) == 0 {
		return err
	}
	w := write{store: s, state: st, batch: batch}
	if err := w.send(ctx, pending); err != nil {
		return err
	}
	w.sendLetters(ctx)
	return w.result()
}

// notStored returns the indexes of the records to send: all but the suspects
// that are found.
func (s *Store) notStored(ctx context.Context, batch []storage.Record) ([]int, error) {
	if sources := s.attempts.unknown(batch); len(sources) > 0 {
		highest, err := s.highestOffsets(ctx, sources)
		if err != nil {
			return nil, fmt.Errorf("ask for what is stored already: %w", err)
		}
		for _, source := range sources {
			offset, ok := highest[source]
			if !ok {
				offset = -1
			}
			s.attempts.learn(source, offset)
		}
	}
	pending := make([]int, 0, len(batch))
	suspects := s.attempts.suspects(batch)
	if len(suspects) == 0 {
		for i := range batch {
			pending = append(pending, i)
		}
		return pending, nil
	}
	ids := make([]string, len(suspects))
	for n, i := range suspects {
		ids[n] = documentID(&batch[i])
	}
	found, err := s.present(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("ask for what is stored already: %w", err)
	}
	for i := range batch {
		if n, suspect := slices.BinarySearch(suspects, i); !suspect || !found[ids[n]] {
			pending = append(pending, i)
		}
	}
	s.metrics.lookedUp.Add(float64(len(ids)))
	s.metrics.repeated.Add(float64(len(batch) - len(pending)))
	return pending, nil
}

// write is one call of Write.
type write struct {
	store *Store
	state *state
	batch []storage.Record

	letters []letter
	partial storage.PartialError
}

// send sends the records of batch named by which in one request.
func (w *write) send(ctx context.Context, which []int) error {
	s := w.store
	b := s.bulks.get()
	defer s.bulks.put(b)
	b.add(w.batch, which)
	s.attempts.begin(w.batch, which)
	answer, err := s.postBulk(ctx, w.state, s.targets[0], b)
	// Whatever came back, records may be there that no search sees yet.
	s.unseen.Store(true)
	if err != nil {
		return w.wholeFailed(which, err)
	}
	failures, err := parseBulk(answer, len(which))
	if err != nil {
		return w.wholeFailed(which, err)
	}
	w.settle(which, failures)
	return nil
}

// wholeFailed decides on a request that failed as a whole.
func (w *write) wholeFailed(which []int, err error) error {
	s := w.store
	reason, certain := reasonOf(statusOf(err))
	if certain {
		for _, i := range which {
			s.attempts.answered(&w.batch[i], false)
		}
	}
	refusal, _ := errors.AsType[*statusError](err)
	if refusal != nil && reason == reasonTooLarge && len(which) == 1 {
		// A smaller batch there is not.
		w.letters = append(w.letters, letter{which[0], failure{status: refusal.status, kind: "content_too_large", reason: refusal.excerpt}})
		return nil
	}
	s.metrics.retried.WithLabelValues(reason).Add(float64(len(which)))
	switch {
	case refusal == nil:
		return err
	case reason == reasonTooLarge:
		return fmt.Errorf("%w: %w", storage.ErrTooLarge, err)
	case refusal.status == http.StatusTooManyRequests, refusal.status/100 == 5:
		return &storage.PartialError{Retry: which, RetryAfter: refusal.retryAfter, First: err}
	case refusal.status == http.StatusNotFound, refusal.status == http.StatusBadRequest:
		s.doubt(refusal.excerpt)
	}
	return err
}

// reasonOf says what a status means and whether nothing is certainly stored.
func reasonOf(status int) (reason string, certain bool) {
	switch {
	case status == 0:
		return reasonNetwork, false
	case status == http.StatusTooManyRequests:
		return reasonOverload, true
	case status == http.StatusRequestEntityTooLarge:
		return reasonTooLarge, true
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return reasonForbidden, true
	case status == http.StatusBadRequest:
		return reasonMapping, true
	case status/100 == 5:
		return reasonUnavailable, false
	default:
		return reasonOther, false
	}
}

// settle goes through the failures of a request that was answered.
func (w *write) settle(which []int, failures []failure) {
	s := w.store
	stored, repeated := len(which), 0
	next := 0
	for n, i := range which {
		r := &w.batch[i]
		if next == len(failures) || failures[next].item != n {
			if r.Source.IsZero() {
				s.attempts.answered(r, true)
			}
			continue
		}
		f := failures[next]
		next++
		stored--
		if f.status == http.StatusConflict {
			repeated++
			s.attempts.answered(r, true)
			continue
		}
		w.failed(i, f)
	}
	s.metrics.stored.Add(float64(stored))
	s.metrics.repeated.Add(float64(repeated))
}

// failed decides on one record.
func (w *write) failed(i int, f failure) {
	s := w.store
	reason, certain := reasonOf(f.status)
	if certain {
		s.attempts.answered(&w.batch[i], false)
	}
	switch reason {
	case reasonMapping, reasonTooLarge:
		s.doubt(f.reason)
		w.letters = append(w.letters, letter{i, f})
	default:
		if f.status == http.StatusNotFound {
			s.doubt(f.reason)
		}
		w.retry(i, reason, f)
	}
}

func (w *write) retry(i int, reason string, cause error) {
	w.store.metrics.retried.WithLabelValues(reason).Inc()
	w.partial.Retry = append(w.partial.Retry, i)
	w.first(cause)
}

func (w *write) refuse(reason string, cause error) {
	w.store.metrics.refused.WithLabelValues(reason).Inc()
	if w.partial.Refused == nil {
		w.partial.Refused = make(map[string]int)
	}
	w.partial.Refused[reason]++
	w.first(cause)
}

func (w *write) first(cause error) {
	if w.partial.First == nil {
		w.partial.First = cause
	}
}

func (w *write) result() error {
	if len(w.partial.Retry) == 0 && len(w.partial.Refused) == 0 {
		w.store.metrics.lastSuccess.Set(float64(time.Now().UnixMilli()) / 1e3)
		return nil
	}
	slices.Sort(w.partial.Retry)
	return &w.partial
}
