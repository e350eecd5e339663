package loki

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// storeTime is how long a request waits for the store to take what it
	// could not take at once. Shippers give up after 10 s.
	storeTime = 8 * time.Second
	// retryWait is the first pause between two attempts; it doubles.
	retryWait = 50 * time.Millisecond
)

// stored is the outcome of storing a batch.
type stored struct {
	// code is 0 unless something was not stored that the client should send
	// again; text says why.
	code int
	text string
	// full tells that the store has no room.
	full bool
	// refused records are not stored and not worth sending again.
	refused int
	// refusal says why, "" when there are none.
	refusal string
}

// store writes records. Those that the store asks to be sent again are tried
// again here: a pushed record has no identity, and a client that sends its
// batch again would store the others twice.
func (h *Handler) store(ctx context.Context, protocol string, records []storage.Record) stored {
	var res stored
	begin := time.Now()
	for wait := retryWait; len(records) > 0; wait *= 2 {
		err := h.opts.Store.Write(ctx, records)
		var partial *storage.PartialError
		if !errors.As(err, &partial) {
			h.count(protocol, records, err)
			res.explain(err)
			break
		}
		records = h.afterPartial(protocol, records, partial, &res)
		if len(records) == 0 {
			break
		}
		wait = max(wait, partial.RetryAfter)
		if time.Since(begin)+wait > storeTime || !sleep(ctx, wait) {
			res.explain(partial)
			res.code = http.StatusServiceUnavailable
			break
		}
		h.metrics.retried.Add(float64(len(records)))
	}
	if res.full {
		h.opts.Endpoints.Rejected(guard.ReasonFull)
	}
	return res
}

// count counts records as accepted unless there was an error.
func (h *Handler) count(protocol string, records []storage.Record, err error) {
	if err != nil {
		return
	}
	bytes := 0
	for i := range records {
		bytes += len(records[i].Line)
	}
	h.metrics.accepted.WithLabelValues(protocol).Add(float64(len(records)))
	h.metrics.bytes.WithLabelValues(protocol).Add(float64(bytes))
}

// afterPartial counts what was stored and refused, and returns the records to
// try again.
func (h *Handler) afterPartial(protocol string, records []storage.Record, partial *storage.PartialError, res *stored) []storage.Record {
	for reason, n := range partial.Refused {
		h.metrics.rejected.WithLabelValues(reason).Add(float64(n))
		res.refused += n
	}
	if len(partial.Refused) > 0 && res.refusal == "" {
		res.refusal = partial.Error()
	}
	again := make([]storage.Record, 0, len(partial.Retry))
	left := 0
	for _, i := range partial.Retry {
		again = append(again, records[i])
		left += len(records[i].Line)
	}
	// Which records were refused is not told, only how many: the bytes of
	// those count as accepted.
	bytes := -left
	for i := range records {
		bytes += len(records[i].Line)
	}
	refused := 0
	for _, n := range partial.Refused {
		refused += n
	}
	h.metrics.accepted.WithLabelValues(protocol).Add(float64(max(0, len(records)-len(again)-refused)))
	h.metrics.bytes.WithLabelValues(protocol).Add(float64(max(0, bytes)))
	return again
}

// explain sets code and text for an error after which the batch may be sent
// again.
func (s *stored) explain(err error) {
	switch {
	case err == nil:
	case errors.Is(err, storage.ErrTooLarge):
		s.code, s.text = http.StatusRequestEntityTooLarge, err.Error()
	case errors.Is(err, storage.ErrFull):
		s.full = true
		s.code, s.text = http.StatusServiceUnavailable, fmt.Sprintf("the store has no room, try again later: %v", err)
	case errors.Is(err, storage.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		s.code, s.text = http.StatusServiceUnavailable, fmt.Sprintf("not stored, try again later: %v", err)
	default:
		s.code, s.text = http.StatusInternalServerError, fmt.Sprintf("not stored: %v", err)
	}
}

// sleep waits, and returns false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// notStored answers a request whose records should be sent again.
func (h *Handler) notStored(w http.ResponseWriter, res stored) {
	if res.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	if res.code == http.StatusInternalServerError {
		h.opts.Logger.Error("Log records cannot be stored.", "err", res.text)
	}
	writeError(w, res.code, res.text)
}
