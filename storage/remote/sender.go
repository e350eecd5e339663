package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 30 * time.Second
	// probeAgain is how long a receiver that only knows version 1.0 is
	// remembered.
	probeAgain = time.Hour
	// logInterval is how often the same kind of trouble is logged.
	logInterval = time.Minute
)

// errTranscode means that an entry is not the request that it should be.
var errTranscode = errors.New("convert to remote write 1.0")

// sender delivers the entries of the buffer to one endpoint, one at a time and
// in order.
type sender struct {
	client  *client
	reader  *reader
	metrics *endpointMetrics
	logger  *slog.Logger
	backoff time.Duration // the shortest wait before a retry

	// oldest is when the entry being sent was written, in milliseconds since
	// the epoch; 0 when everything is sent.
	oldest atomic.Int64

	knowsV2 bool      // the receiver has answered as version 2.0 demands
	v1Until time.Time // only 1.0 until then
	v1      transcoder
	v1Body  []byte // the current entry transcoded, or nil

	loggedRetry  time.Time
	loggedReject time.Time
	retrying     bool
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) {
	defer s.reader.close()
	defer s.reader.buffer.release(s.reader.cursor)
	for {
		e, err := s.waitEntry(ctx)
		if err != nil {
			return
		}
		s.v1Body = nil
		s.deliver(ctx, e)
	}
}

// waitEntry is reader.next that keeps the age of the oldest entry up to date.
func (s *sender) waitEntry(ctx context.Context) (entry, error) {
	if _, _, ok := s.reader.buffer.locate(s.reader.cursor); !ok {
		s.oldest.Store(0)
	}
	e, err := s.reader.next(ctx)
	if err == nil {
		s.oldest.Store(e.created)
	}
	return e, err
}

// deliver tries to send one entry until it is stored, refused for good or shed,
// or ctx ends.
func (s *sender) deliver(ctx context.Context, e entry) {
	for attempt := 0; ; attempt++ {
		r, v2, err := s.send(ctx, e, attempt)
		if err == nil && !retryable(r.status) {
			s.reader.buffer.advance(s.reader.cursor, e.pos, e.next)
			s.settle(e, r, v2)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errTranscode) {
			s.reader.buffer.advance(s.reader.cursor, e.pos, e.next)
			s.onDamage(e.points(), err)
			return
		}
		s.metrics.retried.WithLabelValues(retryReason(r, err)).Add(float64(e.points()))
		s.logRetry(e, r, err)
		if !sleep(ctx, s.pause(attempt, r)) {
			return
		}
		if !s.reader.buffer.kept(s.reader.cursor, e.pos) {
			s.metrics.shed.WithLabelValues(reasonBudget).Add(float64(e.points()))
			return
		}
	}
}

// retryable tells whether a later attempt can succeed. Redirections, a missing
// path and a refused credential are trouble of the address, not of the samples:
// they wait in the buffer until somebody mends it.
func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusUnauthorized,
		http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return true
	}
	return status/100 != 2 && status/100 != 4
}

func retryReason(r reply, err error) string {
	if err != nil {
		return "network"
	}
	return "http_" + strconv.Itoa(r.status)
}

// pause is how long to wait after a failed attempt: twice as long each time,
// and at least as long as the receiver asks for. A random half of it keeps many
// agents from coming back at the same moment.
func (s *sender) pause(attempt int, r reply) time.Duration {
	d := min(s.backoff<<min(attempt, 20), maxBackoff)
	return max(d/2+rand.N(d/2+1), r.retryAfter)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// send makes one attempt, with version 2.0 unless the receiver is known not to
// understand it, and with 1.0 if that turns out now.
func (s *sender) send(ctx context.Context, e entry, attempt int) (r reply, v2 bool, err error) {
	if time.Now().After(s.v1Until) {
		r, err = s.client.post(ctx, e.body, true, attempt)
		if err != nil {
			return r, true, err
		}
		if r.written.Confirmed {
			s.knowsV2 = true
		}
		if !s.onlyV1(e, r) {
			return r, true, nil
		}
	}
	if s.v1Body == nil {
		if s.v1Body, err = s.v1.transcode(e.body); err != nil {
			return reply{}, false, fmt.Errorf("%w: %w", errTranscode, err)
		}
	}
	asked := r.status
	if r, err = s.client.post(ctx, s.v1Body, false, attempt); err != nil {
		return r, false, err
	}
	if asked != 0 && (r.status/100 == 2 || asked != http.StatusBadRequest) {
		s.rememberV1()
	}
	return r, false, nil
}

// onlyV1 tells whether an answer to a 2.0 request means that the receiver
// understands only 1.0: it says so (415), it read an empty 1.0 request and so
// does not confirm anything, or it may be an old one that refuses what it
// cannot decode.
func (s *sender) onlyV1(e entry, r reply) bool {
	switch {
	case r.status == http.StatusUnsupportedMediaType:
		return true
	case r.written.Confirmed:
		return false
	case r.status/100 == 2:
		return e.counts != counts{}
	default:
		return r.status == http.StatusBadRequest && !s.knowsV2
	}
}

func (s *sender) rememberV1() {
	s.knowsV2 = false
	s.v1Until = time.Now().Add(probeAgain/2 + rand.N(probeAgain))
	s.metrics.version.Set(1)
	s.logger.Info("The receiver understands only remote write 1.0", "asked_again", s.v1Until.Format(time.RFC3339))
}

// settle counts what became of an entry that needs no other attempt.
func (s *sender) settle(e entry, r reply, v2 bool) {
	if v2 {
		s.metrics.version.Set(2)
	}
	stored := e.points()
	reason := "not_written"
	if r.status/100 != 2 {
		stored = 0
		reason = "http_" + strconv.Itoa(r.status)
	}
	if r.written.Confirmed {
		stored = min(max(r.written.AllSamples(), 0), e.points())
	}
	s.metrics.sent.Add(float64(stored))
	if stored > 0 || r.status/100 == 2 {
		s.metrics.lastSuccess.SetToCurrentTime()
	}
	if s.retrying {
		s.retrying = false
		s.logger.Info("The receiver answers again")
	}
	if lost := e.points() - stored; lost > 0 {
		s.metrics.rejected.WithLabelValues(reason).Add(float64(lost))
		s.logReject(lost, e, r)
	}
	if r.written.Confirmed && int(e.exemplars) > r.written.Exemplars {
		s.metrics.rejectedExemplars.Add(float64(int(e.exemplars) - r.written.Exemplars))
	}
}

func (s *sender) logRetry(e entry, r reply, err error) {
	s.retrying = true
	if time.Since(s.loggedRetry) < logInterval {
		return
	}
	s.loggedRetry = time.Now()
	attrs := []any{"samples", e.points(), "oldest", time.UnixMilli(e.created).UTC().Format(time.RFC3339)}
	switch {
	case err != nil:
		attrs = append(attrs, "err", err)
	case r.target != "":
		attrs = append(attrs, "status", r.status, "target", r.target, "hint", "redirections are not followed: configure the final address")
	default:
		attrs = append(attrs, "status", r.status, "answer", r.excerpt)
	}
	s.logger.Warn("Sending samples failed, they are kept and sent again", attrs...)
}

func (s *sender) logReject(lost int, e entry, r reply) {
	if time.Since(s.loggedReject) < logInterval {
		return
	}
	s.loggedReject = time.Now()
	s.logger.Error("The receiver refused samples for good", "refused", lost, "of", e.points(), "status", r.status, "answer", r.excerpt)
}
