package api

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
	// maxWrites bounds the writes decoded at the same time, and with
	// maxWriteBytes their memory. Prometheus sends over up to 50 connections
	// per queue, an agent over a few.
	maxWrites = 16
)

// errBusy says that too many requests are under way already.
var errBusy = errors.New("too many requests at the same time, try again later")

// gate lets a fixed number of requests work, and a fixed number wait.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	maxWait int64
}

func newGate(slots, waiting int) *gate {
	return &gate{slots: make(chan struct{}, slots), maxWait: int64(waiting)}
}

// enter takes a slot; the caller gives it back by leave. It returns errBusy
// when the queue is full or the wait too long, or the error of ctx.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.maxWait {
		g.waiting.Add(-1)
		return errBusy
	}
	defer g.waiting.Add(-1)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() { <-g.slots }
