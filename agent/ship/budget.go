package ship

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/binnacle-obs/binnacle/storage"
)

// Budget bounds the bytes of all deliveries in flight, of every Shipper that
// shares it: from Push until Done. Each lane of each Shipper has an equal share,
// which others never take: a sink that hangs stops its own reader only.
type Budget struct {
	mu     sync.Mutex // guards everything here, the shares included
	max    int
	used   int
	shares []*share
}

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int) *Budget { return &Budget{max: bytes} }

// Used is how many bytes are in flight.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Share is how many bytes a lane may have in flight. A larger delivery has to
// wait until its lane is empty and the others leave room. It gets smaller with
// every Shipper that is made.
func (b *Budget) Share() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shareLocked()
}

func (b *Budget) shareLocked() int { return b.max / max(1, len(b.shares)) }

// join adds a lane.
func (b *Budget) join() *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &share{budget: b}
	b.shares = append(b.shares, s)
	return s
}

// grantLocked lets in who has waited longest in each lane, while they fit.
func (b *Budget) grantLocked() {
	for _, s := range b.shares {
		for len(s.waiters) > 0 && s.fitsLocked(s.waiters[0].bytes) {
			w := s.waiters[0]
			s.waiters = slices.Delete(s.waiters, 0, 1)
			s.takeLocked(w.bytes)
			close(w.granted)
		}
	}
}

// share is what a lane uses of a budget.
type share struct {
	budget  *Budget
	used    int
	waiters []*waiter // first come, first served
}

type waiter struct {
	bytes   int
	granted chan struct{}
}

func (s *share) fitsLocked(n int) bool {
	b := s.budget
	return b.used+n <= b.max && (s.used == 0 || s.used+n <= b.shareLocked())
}

func (s *share) takeLocked(n int) {
	s.used += n
	s.budget.used += n
}

// acquire waits until n bytes are free, ctx ends, or stop is closed.
func (s *share) acquire(ctx context.Context, stop <-chan struct{}, n int) error {
	b := s.budget
	b.mu.Lock()
	if n > b.max {
		b.mu.Unlock()
		return fmt.Errorf("a delivery of %d bytes is larger than the budget of %d for everything in flight", n, b.max)
	}
	if len(s.waiters) == 0 && s.fitsLocked(n) {
		s.takeLocked(n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n, make(chan struct{})}
	s.waiters = append(s.waiters, w)
	b.mu.Unlock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
		s.leave(w)
		return ctx.Err()
	case <-stop:
		s.leave(w)
		return storage.ErrClosed
	}
}

// leave takes back a wish, or what was granted to it just now.
func (s *share) leave(w *waiter) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(s.waiters, w); i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	} else {
		s.takeLocked(-w.bytes)
	}
	b.grantLocked()
}

func (s *share) release(n int) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.takeLocked(-n)
	s.budget.grantLocked()
}

func (s *share) inFlight() int {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.used
}
