package guard

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// waitingPerSlot bounds the queue in front of a gate: ten times what
	// works at the same time clears within ten typical requests.
	waitingPerSlot = 10
	// maxWait is how long a request waits for its turn. Grafana and
	// remote-write senders give up after 30 s.
	maxWait = 20 * time.Second
)

// ErrBusy says that too many requests are under way already.
var ErrBusy = errors.New("too many requests at the same time, try again later")

// Gate lets a fixed number of requests work, and a fixed number wait.
type Gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	maxWait int64
}

// NewGate returns a gate for so many requests at a time, and ten times as many
// that wait.
func NewGate(slots int) *Gate { return newGate(slots, slots*waitingPerSlot) }

func newGate(slots, waiting int) *Gate {
	return &Gate{slots: make(chan struct{}, slots), maxWait: int64(waiting)}
}

// Enter takes a slot; the caller gives it back by Leave. It returns ErrBusy
// when the queue is full or the wait too long, or the error of ctx.
func (g *Gate) Enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.maxWait {
		g.waiting.Add(-1)
		return ErrBusy
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TryEnter takes a slot if one is free at once.
func (g *Gate) TryEnter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// Leave gives a slot back.
func (g *Gate) Leave() { <-g.slots }
