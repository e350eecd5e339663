package remote

import (
	"errors"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// writer writes one batch of points to the buffer. Queue.mu is held while it
// is in use.
type writer struct {
	queue    *Queue
	now      time.Time
	rejected storage.RejectedError
}

func (q *Queue) newWriter() *writer {
	w := &writer{queue: q, now: time.Now()}
	q.encoder.cache.shrink(w.now.Unix())
	q.encoder.begin()
	return w
}

// add encodes a point, and writes the request to the buffer when it is full.
// Errors concern the buffer; points refused for good are counted.
func (w *writer) add(p *point) error {
	e := w.queue.encoder
	s, err := e.cache.lookup(p.series, w.now.Unix())
	if err == nil {
		err = e.add(s, p)
	}
	if err != nil {
		reason := storage.ReasonInvalid
		if errors.Is(err, errTooLong) {
			reason = storage.ReasonLimit
		}
		w.rejected.Add(reason, &seriesError{labels: p.series.Labels.String(), err: err})
		return nil
	}
	if p.stale() {
		e.cache.drop(p.series)
	}
	if e.full() {
		return w.flush()
	}
	return nil
}

// flush writes the request and starts the next one.
func (w *writer) flush() error {
	q := w.queue
	points := q.encoder.counts.points()
	if points == 0 {
		return nil
	}
	err := q.buffer.append(q.encoder.finish(w.now))
	if err == nil {
		q.metrics.appended.Add(float64(points))
	} else if !errors.Is(err, storage.ErrClosed) {
		q.metrics.refused.WithLabelValues("buffer").Add(float64(points))
		if time.Since(q.loggedAt) > logInterval {
			q.loggedAt = time.Now()
			q.logger.Error("Samples were not taken into the remote write buffer", "samples", points, "err", err)
		}
	}
	q.encoder.begin()
	return err
}

// finish writes what is left, and returns what was refused.
func (w *writer) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	for reason, n := range w.rejected.Reasons {
		w.queue.metrics.refused.WithLabelValues(reason).Add(float64(n))
	}
	return w.rejected.OrNil()
}

// seriesError names the series that an error concerns.
type seriesError struct {
	labels string
	err    error
}

// Error cuts labels that may be as long as the reason for refusing them.
func (e *seriesError) Error() string {
	const longest = 512
	if len(e.labels) > longest {
		return e.labels[:longest] + "...: " + e.err.Error()
	}
	return e.labels + ": " + e.err.Error()
}

// Unwrap returns the reason.
func (e *seriesError) Unwrap() error { return e.err }
