package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// errStuck says that a mount did not answer in time, now or before.
var errStuck = errors.New("mount does not answer")

// maxStuck bounds the goroutines (and with them threads) that hang in the
// kernel, for each class: network mounts that hang all at once must not use
// up the goroutines of local ones.
const maxStuck = 16

// class of a file system.
type class int

const (
	local class = iota
	remote
)

// Stuck is a call that the kernel has not answered.
type Stuck struct {
	Mount     string // where it is mounted
	Operation string
	Since     time.Time

	device string
}

// guard makes calls that may never return, each in its own goroutine.
type guard struct {
	timeout time.Duration
	log     *slog.Logger
	metrics *metrics

	mu    sync.Mutex
	stuck map[*call]Stuck
	count [2]int // of stuck, by class
}

// call tells the guard that it is alive. A call of one system call need not.
type call struct {
	progress atomic.Uint64
	idle     atomic.Bool
}

// alive is called after every answer of the kernel.
func (c *call) alive() { c.progress.Add(1) }

// rest is called around waiting that is no fault of the mount.
func (c *call) rest(wait func() error) error {
	c.idle.Store(true)
	err := wait()
	c.alive() // before idle ends, so that the guard sees one or the other
	c.idle.Store(false)
	return err
}

func newGuard(timeout time.Duration, log *slog.Logger, m *metrics) *guard {
	return &guard{timeout: timeout, log: log, metrics: m, stuck: map[*call]Stuck{}}
}

// do runs fn and waits for it, but not if nothing comes back for the time-out:
// then it returns errStuck, and so does every other call on that file system
// at once, wherever else it is mounted, until fn has returned after all.
func (g *guard) do(m mount, operation string, fn func(*call)) error {
	if err := g.admit(m); err != nil {
		return err
	}
	c, done, began := &call{}, make(chan struct{}), time.Now()
	go func() {
		defer g.returned(c, m.class)
		defer close(done)
		fn(c)
	}()
	ticker := time.NewTicker(g.timeout)
	defer ticker.Stop()
	for last := uint64(0); ; {
		select {
		case <-done:
			return nil
		case <-ticker.C:
		}
		now := c.progress.Load()
		if c.idle.Load() || now != last {
			last = now
			continue
		}
		if g.isStuck(c, Stuck{Mount: m.point, Operation: operation, Since: began, device: m.device}, m.class, done) {
			return fmt.Errorf("%s at %s: %w", operation, m.point, errStuck)
		}
		return nil
	}
}

// admit refuses calls on a file system that has one stuck, and all of a class
// that has too many.
func (g *guard) admit(m mount) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.stuck {
		if s.device == m.device {
			g.metrics.refused.WithLabelValues(reasonStuck).Inc()
			return fmt.Errorf("%s, since %s: %w", m.point, s.Since.Format(time.RFC3339), errStuck)
		}
	}
	if g.count[m.class] >= maxStuck {
		g.metrics.refused.WithLabelValues(reasonStuckBound).Inc()
		return fmt.Errorf("%d other mounts hang: %w", g.count[m.class], errStuck)
	}
	return nil
}

// isStuck remembers a call, unless it came back in this very moment.
func (g *guard) isStuck(c *call, s Stuck, cl class, done <-chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-done:
		return false
	default:
	}
	g.stuck[c] = s
	g.count[cl]++
	g.metrics.stuck.Set(float64(len(g.stuck)))
	g.log.Warn("a mount does not answer; it is left alone until it does",
		"mount", s.Mount, "operation", s.Operation, "timeout", g.timeout)
	return true
}

// returned forgets a call, which was stuck or not.
func (g *guard) returned(c *call, cl class) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.stuck[c]
	if !ok {
		return
	}
	delete(g.stuck, c)
	g.count[cl]--
	g.metrics.stuck.Set(float64(len(g.stuck)))
	g.log.Info("a mount that did not answer is back", "mount", s.Mount, "operation", s.Operation, "after", time.Since(s.Since))
}

func (g *guard) list() []Stuck {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Stuck, 0, len(g.stuck))
	for _, s := range g.stuck {
		out = append(out, s)
	}
	return out
}
