package ship

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxRetryAfter bounds what a sink can ask for.
	maxRetryAfter = 10 * time.Minute
	// leastShare of the configured batch is how small batches get because the
	// sink refuses larger ones. Larger single records are tried all the same.
	leastShare = 16
	// growth is by which part of the configured batch they grow again with
	// each that is taken.
	growth = 256
	// logInterval is how often the same kind of trouble is logged.
	logInterval = time.Minute
)

// Reasons of retries and refusals that a sink's error does not name itself.
const (
	reasonTooLarge = "too_large"
	reasonFull     = "full"
	reasonTimeout  = "timeout"
	reasonNetwork  = "network"
	reasonOther    = "error"
)

// write makes one attempt with the records of the batch, or the first of them,
// and returns how long to wait before the next.
func (l *lane) write(ctx context.Context) time.Duration {
	n := len(l.batch.records)
	if l.split > 0 {
		n = min(n, l.split)
	}
	if n == 0 { // a delivery without records
		l.finish()
		return 0
	}
	l.shipper.metrics.batches.Inc()
	err := l.shipper.sink.Write(ctx, l.batch.records[:n])
	if err != nil && ctx.Err() != nil {
		if _, partial := errors.AsType[*storage.PartialError](err); !partial {
			return 0 // stopped: what became of the batch is not known
		}
	}
	pause := l.settle(n, err)
	if len(l.batch.records) == 0 {
		l.again, l.split = false, 0
	}
	l.finish()
	return pause
}

// settle draws the consequences of a Write of the first n records.
func (l *lane) settle(n int, err error) time.Duration {
	if err == nil {
		l.again = false
		l.stored(n, nil, 0)
		return 0
	}
	if partial, ok := errors.AsType[*storage.PartialError](err); ok && validRetry(partial.Retry, n) {
		return l.settlePartly(n, partial)
	}
	if errors.Is(err, storage.ErrTooLarge) {
		return l.tooLarge(n, err)
	}
	l.again = true
	return l.retry(n, err, 0)
}

// settlePartly keeps the records that are worth another attempt; those that
// come next may go with them.
func (l *lane) settlePartly(n int, partial *storage.PartialError) time.Duration {
	refused := 0
	for reason, count := range partial.Refused {
		l.shipper.metrics.refused.WithLabelValues(reason).Add(float64(count))
		refused += count
	}
	if refused > 0 {
		l.shipper.trouble.refused(refused, n, partial)
	}
	kept := len(partial.Retry)
	l.again = kept == n
	if kept < n {
		l.stored(n, partial.Retry, refused)
	}
	if kept == 0 {
		return 0
	}
	return l.retry(kept, partial.First, partial.RetryAfter)
}

// validRetry tells whether indexes are what storage.PartialError promises.
func validRetry(indexes []int, n int) bool {
	last := -1
	for _, i := range indexes {
		if i <= last || i >= n {
			return false
		}
		last = i
	}
	return true
}

// stored settles the first n records but those to keep.
func (l *lane) stored(n int, keep []int, refused int) {
	records, bytes := l.batch.settle(n, keep)
	m := l.shipper.metrics
	m.records.Add(float64(records - refused))
	// The bytes of refused records are not known: their share is taken.
	m.bytes.Add(float64(bytes) * float64(records-refused) / float64(max(1, records)))
	l.failures = 0
	l.maxBytes = min(l.maxBytes+l.shipper.batchBytes/growth, l.shipper.batchBytes)
	if records > refused {
		m.lastSuccess.SetToCurrentTime()
		l.shipper.trouble.over()
	}
}

// tooLarge has the batch written in halves from now on, and refuses a single
// record that is too large.
func (l *lane) tooLarge(n int, err error) time.Duration {
	m := l.shipper.metrics
	if n == 1 {
		m.refused.WithLabelValues(reasonTooLarge).Inc()
		l.shipper.trouble.refused(1, 1, err)
		l.batch.settle(1, nil)
		return 0
	}
	m.retried.WithLabelValues(reasonTooLarge).Add(float64(n))
	l.split = n / 2
	bytes := 0
	for i := range l.split {
		bytes += sizeOf(&l.batch.records[i])
	}
	l.maxBytes = min(l.maxBytes, max(bytes, l.shipper.batchBytes/leastShare))
	return 0
}

// retry counts a failed attempt and returns the pause before the next: twice as
// long each time, at least as long as the sink asks for. A random half of it
// keeps many agents from coming back at the same moment.
func (l *lane) retry(n int, err error, after time.Duration) time.Duration {
	s := l.shipper
	s.metrics.retried.WithLabelValues(reasonOf(err)).Add(float64(n))
	s.trouble.retried(n, err)
	d := min(s.minBackoff<<min(l.failures, 20), s.maxBackoff)
	l.failures++
	return max(d/2+rand.N(d/2+1), min(after, maxRetryAfter))
}

// reasonOf is the value of a reason label: what the error says by a method
// Reason, else its kind.
func reasonOf(err error) string {
	var named interface{ Reason() string }
	var network net.Error
	switch {
	case errors.As(err, &named):
		return named.Reason()
	case errors.Is(err, storage.ErrFull):
		return reasonFull
	case errors.Is(err, storage.ErrTooLarge):
		return reasonTooLarge
	case errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	case errors.As(err, &network):
		return reasonNetwork
	}
	return reasonOther
}

// trouble logs what goes wrong, each kind once a minute.
type trouble struct {
	logger *slog.Logger

	mu            sync.Mutex // guards the rest
	loggedRetry   time.Time
	loggedRefusal time.Time
	retrying      bool
}

func (t *trouble) retried(n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retrying = true
	if time.Since(t.loggedRetry) < logInterval {
		return
	}
	t.loggedRetry = time.Now()
	t.logger.Warn("Sending logs failed, they are sent again", "records", n, "err", err)
}

func (t *trouble) refused(n, of int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.loggedRefusal) < logInterval {
		return
	}
	t.loggedRefusal = time.Now()
	t.logger.Error("The sink refused logs for good", "refused", n, "of", of, "err", err)
}

func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retrying {
		t.retrying = false
		t.logger.Info("The sink takes logs again")
	}
}
