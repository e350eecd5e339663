package tail

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// worker reads the lanes that are its own, in turn, a chunk at a time.
type worker struct {
	t *Tailer
	// wakeUp has room for one: somebody changed ready or later.
	wakeUp chan struct{}

	// Belongs to run.
	buf  []byte // what is read into
	head [headBytes]byte
	gens []*generation

	mu    sync.Mutex // guards what follows, and queued and due of lanes
	ready []*lane
	later dueHeap
}

func newWorker(t *Tailer) *worker {
	return &worker{t: t, wakeUp: make(chan struct{}, 1), buf: make([]byte, chunkBytes)}
}

// wake puts a lane at the end of the queue, unless it is in there.
func (w *worker) wake(l *lane) {
	w.mu.Lock()
	first := false
	if !l.queued {
		l.queued = true
		w.ready = append(w.ready, l)
		first = len(w.ready) == 1
	}
	w.mu.Unlock()
	if first {
		select {
		case w.wakeUp <- struct{}{}:
		default:
		}
	}
}

// wakeAt wakes a lane at a time, if it is not woken before. It is called by
// run's goroutine alone.
func (w *worker) wakeAt(l *lane, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.due.IsZero() || at.Before(l.due) {
		l.due = at
		heap.Push(&w.later, dueLane{at, l})
	}
}

// next returns the lane whose turn it is, or how long until there is one.
func (w *worker) next(now time.Time) (*lane, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.later) > 0 && !w.later[0].at.After(now) {
		d := heap.Pop(&w.later).(dueLane)
		if !d.lane.due.Equal(d.at) {
			continue // it was to be woken earlier, and that is over
		}
		d.lane.due = time.Time{}
		if !d.lane.queued {
			d.lane.queued = true
			w.ready = append(w.ready, d.lane)
		}
	}
	if len(w.ready) > 0 {
		l := w.ready[0]
		copy(w.ready, w.ready[1:])
		w.ready = w.ready[:len(w.ready)-1]
		l.queued = false
		return l, 0
	}
	if len(w.later) > 0 {
		return nil, w.later[0].at.Sub(now)
	}
	return nil, time.Hour
}

// run takes turns until ctx ends.
func (w *worker) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		l, wait := w.next(time.Now())
		if l != nil {
			if err := w.turn(ctx, l); err != nil && ctx.Err() == nil {
				return err
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-w.wakeUp:
		case <-timer.C:
		}
	}
	return nil
}

// turn reads one chunk of a lane: from its oldest generation that has more.
func (w *worker) turn(ctx context.Context, l *lane) error {
	w.look(l)
	var due time.Time
	for _, g := range w.gens {
		if wait, ok := g.awaits(); ok {
			due = earlier(due, time.Now().Add(wait))
			break
		}
		s, err := w.advance(ctx, g)
		if err != nil {
			return err
		}
		if s.more {
			w.wake(l)
			return nil
		}
		due = earlier(due, s.due)
	}
	if !due.IsZero() {
		w.wakeAt(l, due)
	}
	return nil
}

// look takes the lane's generations as they are now.
func (w *worker) look(l *lane) {
	w.gens = l.snapshot(w.gens)
	changed := false
	for _, g := range w.gens {
		w.t.files.resume(g)
		if g.pos != nil && g.atEnd && g.check() {
			w.truncated(g)
			changed = true
		}
	}
	if changed {
		w.gens = l.snapshot(w.gens)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, g := range w.gens {
		g.over = g.deleted || i < len(w.gens)-1
		g.rotated, g.file = g.name.rotated, g.path
		g.before, g.heir = nil, nil
		if i > 0 && g.continues(w.gens[i-1]) {
			g.before, w.gens[i-1].heir = w.gens[i-1], g
		}
		if g.lastData.IsZero() {
			g.lastData = time.Now()
		}
	}
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// step tells how it goes on with a generation.
type step struct {
	more bool      // at once
	due  time.Time // then at the latest, zero for when something happens
}

// advance does what there is to do for one generation.
func (w *worker) advance(ctx context.Context, g *generation) (step, error) {
	if g.parked.Load() {
		return step{}, nil
	}
	if g.giveUp.Load() || !g.open() {
		return w.missing(ctx, g)
	}
	if g.ticket != nil {
		if done, err := w.redeem(ctx, g); !done || err != nil {
			return step{}, err
		}
	}
	if g.pos == nil {
		ok, err := w.identify(g, g.over && time.Since(g.lastData) >= w.patience(g))
		if err != nil && !errors.Is(err, errClosed) {
			w.t.readFailed(g, err)
			return step{due: time.Now().Add(retryInterval)}, nil
		}
		if !ok && !g.open() {
			return step{more: true}, nil // it was another file of a generation
		}
		if !ok {
			return w.rest(g), nil
		}
		if g.pos.Done {
			w.finish(g)
			return step{}, nil
		}
		if g.ticket != nil {
			return step{}, nil
		}
	}
	if !g.labelled && time.Now().After(g.labelAt) {
		w.label(g)
	}
	g.settleDebts()
	read, err := w.read(ctx, g)
	g.publish()
	w.learnPrefix(g)
	if err != nil || read {
		return step{more: read && !g.atEnd, due: time.Now().Add(pollInterval)}, err
	}
	return w.rest(g), nil
}

const (
	// pollInterval is how soon a file is looked at again after something was
	// read from its end. While it is written to nobody needs to be told.
	pollInterval = 10 * time.Millisecond
	// unwatchedInterval is for files that the kernel does not watch.
	unwatchedInterval = 250 * time.Millisecond
	// retryInterval is after errors, and while acknowledgements are missing.
	retryInterval = 250 * time.Millisecond
)

// rest decides what follows when there is nothing to read.
func (w *worker) rest(g *generation) step {
	if g.suspect {
		g.suspect = false
		return step{more: true}
	}
	quiet := time.Since(g.lastData)
	if g.unfinished(false) {
		if quiet < joinWait {
			return step{due: g.lastData.Add(joinWait)}
		}
		if !w.requestCut(g, false) {
			return step{due: time.Now().Add(retryInterval)}
		}
		return step{}
	}
	watched, again := w.arm(g)
	if again {
		return step{more: true}
	}
	if !g.over {
		if g.fragment == 0 && g.skipTo == 0 {
			w.t.files.rest(g)
		}
		if !watched {
			return step{due: time.Now().Add(unwatchedInterval)}
		}
		return step{}
	}
	if wait := w.patience(g); quiet < wait {
		if !watched {
			wait = min(wait, quiet+unwatchedInterval)
		}
		return step{due: g.lastData.Add(wait)}
	}
	if g.pos != nil && (g.fragment > 0 || g.unfinished(true)) {
		if g.bequeaths() {
			return step{}
		}
		if !w.requestCut(g, true) {
			return step{due: time.Now().Add(retryInterval)}
		}
		return step{}
	}
	if !g.idle() {
		return step{due: time.Now().Add(retryInterval)}
	}
	w.endLongLine(g)
	if g.gzip && !g.complete() {
		w.t.metrics.readFailures.WithLabelValues("gzip").Inc()
		w.t.opts.Logger.Warn("compressed log file is damaged or was never finished; what could be read of it is delivered", "file", g.file)
	}
	w.finish(g)
	return step{}
}

// arm has the kernel tell when the file is written to. again is true when
// something may have been written before that.
func (w *worker) arm(g *generation) (watched, again bool) {
	if g.gzip {
		return false, false
	}
	if g.armed.Load() {
		return true, false
	}
	if !w.t.watcher.watchFile(g) {
		return false, false
	}
	return true, true
}

// patience is how long the end of a generation that is over must stand still
// before it is taken for its end. Its writer may not have noticed yet.
func (w *worker) patience(g *generation) time.Duration {
	switch {
	case g.complete():
		return 0
	case g.gzip:
		return w.t.gzipPatience
	default:
		return w.t.patience
	}
}

// dueLane is a lane to wake at a time.
type dueLane struct {
	at   time.Time
	lane *lane
}

// dueHeap is ordered by time. A lane can be in it several times: only the
// entry that equals its due counts.
type dueHeap []dueLane

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueLane)) }
func (h *dueHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	*h = old[:len(old)-1]
	return d
}
