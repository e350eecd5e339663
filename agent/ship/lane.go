package ship

import (
	"context"
	"sync"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// recordBytes is about what a record takes besides its line, in memory and in
// a request.
const recordBytes = 64

// lane writes the deliveries of some files, one batch at a time: that keeps the
// records of a source out of two Writes at once. While a Write is under way the
// next deliveries gather in the queue.
type lane struct {
	shipper *Shipper
	share   *share
	// wake has a token when the queue has got its first delivery or enough for
	// a batch.
	wake chan struct{}

	mu     sync.Mutex // guards the next three
	queue  []*pending
	queued int // bytes of the deliveries in queue
	closed bool

	// What follows belongs to run.

	// open are the deliveries taken from the queue and not done, in order. Only
	// the last may have records that are not in the batch yet.
	open  []*pending
	batch batch
	// started is when the last batch of new records was put together.
	started time.Time
	// maxBytes is how large a batch may be: smaller than configured for a while
	// after the sink has refused one as too large.
	maxBytes int
	// again means that the batch is to be sent again as it is, and whole; split
	// that only so many of its records go into one Write, 0 that all do.
	again bool
	split int
	// failures counts the Writes since the last that stored something.
	failures int
}

// pending is a delivery that is not done.
type pending struct {
	storage.Delivery
	pushed time.Time
	taken  int // records that are in the batch or settled
	left   int // records that are not settled
}

// push queues a delivery whose bytes have been acquired, or returns false when
// the lane is closed.
func (l *lane) push(d storage.Delivery) bool {
	p := &pending{Delivery: d, pushed: time.Now(), left: len(d.Records)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	enough := l.queued >= l.shipper.batchBytes
	l.queue = append(l.queue, p)
	l.queued += d.Bytes
	if len(l.queue) == 1 || !enough && l.queued >= l.shipper.batchBytes {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// pop takes the next delivery from the queue.
func (l *lane) pop() *pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	p := l.queue[0]
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil // lets go of the array
	}
	l.queued -= p.Bytes
	return p
}

// close gives back what the deliveries hold that will not be written.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, p := range append(l.open, l.queue...) {
		l.share.release(p.Bytes)
	}
	l.open, l.queue, l.queued, l.batch = nil, nil, 0, batch{}
}

// run writes until ctx ends; writes is the context of the Writes.
func (l *lane) run(ctx, writes context.Context) {
	for l.fill(ctx) {
		if pause := l.write(writes); !sleep(ctx, pause) {
			return
		}
	}
}

// fill completes the batch, and waits for the first record if it is empty. It
// returns false when ctx ended.
func (l *lane) fill(ctx context.Context) bool {
	if len(l.batch.records) == 0 && !l.unfinished() {
		if !l.wait(ctx) {
			return false
		}
		l.started = time.Now()
	}
	for !l.again && l.split == 0 && l.batch.bytes < l.maxBytes {
		if !l.unfinished() {
			p := l.pop()
			if p == nil {
				break
			}
			l.shipper.metrics.queued.Observe(time.Since(p.pushed).Seconds())
			l.open = append(l.open, p)
		}
		l.batch.take(l.open[len(l.open)-1], l.maxBytes, l.shipper.edit)
	}
	return ctx.Err() == nil
}

// unfinished tells that a delivery has records that are not in the batch yet.
func (l *lane) unfinished() bool {
	if len(l.open) == 0 {
		return false
	}
	p := l.open[len(l.open)-1]
	return p.taken < len(p.Records)
}

// wait returns true when there are enough records for a batch, or some and the
// last batch is long enough ago.
func (l *lane) wait(ctx context.Context) bool {
	due := time.NewTimer(time.Until(l.started.Add(l.shipper.batchAge)))
	defer due.Stop()
	aged := false
	for {
		l.mu.Lock()
		ready := len(l.queue) > 0 && (aged || l.queued >= l.shipper.batchBytes)
		l.mu.Unlock()
		if ready {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-due.C:
			aged = true
		case <-l.wake:
		}
	}
}

// finish completes the deliveries at the front whose records are all settled.
func (l *lane) finish() {
	n := 0
	for _, p := range l.open {
		if p.left > 0 {
			break
		}
		p.Done()
		l.share.release(p.Bytes)
		n++
	}
	l.open = append(l.open[:0], l.open[n:]...)
	clear(l.open[len(l.open):cap(l.open)])
}

// sleep returns false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
