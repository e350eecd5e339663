package logql

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// tailIdle is how long a tail waits for more before its caller flushes:
	// short beside what people notice, long enough to gather bursts.
	tailIdle = 5 * time.Millisecond
	// tailFuture lets the search for the last entries find records whose
	// writers' clocks are ahead.
	tailFuture = time.Hour
)

// Tail follows a log query; see Evaluator.
func (e *Engine) Tail(ctx context.Context, q Query, emit func(*Entry) error, idle func(dropped int64) error) error {
	err := e.tail(ctx, q, emit, idle)
	result := resultOf(err)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		err, result = nil, "ok" // how every tail ends
	}
	e.metrics.queries.WithLabelValues("tail", result).Inc()
	return err
}

func (e *Engine) tail(ctx context.Context, q Query, emit func(*Entry) error, idle func(dropped int64) error) error {
	p, err := planLogs(q.Text)
	if err != nil {
		return err
	}
	if p.none {
		<-ctx.Done()
		return nil
	}
	lq := p.query(q.Start, 0)
	lq.Limit = q.Limit
	if q.Limit > 0 && p.pipeline.drops() {
		// The store knows the last records, not those that a filter leaves.
		if lq.Start, err = e.lastEntries(ctx, q); err != nil {
			return err
		}
		lq.Limit = 0
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	it, err := e.opts.Store.Tail(ctx, lq)
	if err != nil {
		return err
	}
	reader := startTailReader(it)
	defer reader.stop(cancel)
	w := &entryWriter{plan: p, emit: emit}
	return reader.follow(w, idle)
}

// lastEntries finds the time of the q.Limit-th entry from the end.
func (e *Engine) lastEntries(ctx context.Context, q Query) (int64, error) {
	q.Order, q.End = storage.Descending, time.Now().Add(tailFuture).UnixNano()
	n, first := 0, q.Start
	_, err := e.Logs(ctx, q, func(entry *Entry) error {
		n++
		first = entry.Time
		return nil
	})
	if errors.Is(err, storage.ErrQueryLimit) {
		err = nil // the tail begins with what was found within the limits
	} else if n < q.Limit {
		first = q.Start
	}
	return first, err
}

// tailReader lends what an iterator returns to follow, so that follow can tell
// when nothing is waiting although Next blocks.
type tailReader struct {
	it      storage.LogIterator
	batches chan tailBatch
	// next is sent to when a batch is used up: its records are the iterator's.
	next chan struct{}
	quit chan struct{}
	done chan struct{}
}

type tailBatch struct {
	records []storage.Record
	dropped int64
	err     error
}

func startTailReader(it storage.LogIterator) *tailReader {
	r := &tailReader{it: it, batches: make(chan tailBatch), next: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{})}
	go r.read()
	return r
}

func (r *tailReader) read() {
	defer close(r.done)
	for {
		records, err := r.it.Next()
		select {
		case r.batches <- tailBatch{records, r.it.Stats().Dropped, err}:
		case <-r.quit:
			return
		}
		if err != nil {
			return
		}
		select {
		case <-r.next:
		case <-r.quit:
			return
		}
	}
}

// stop ends the reading goroutine and closes the iterator.
func (r *tailReader) stop(cancel context.CancelFunc) {
	cancel()
	close(r.quit)
	<-r.done
	r.it.Close()
}

func (r *tailReader) follow(w *entryWriter, idle func(dropped int64) error) error {
	timer := time.NewTimer(tailIdle)
	defer timer.Stop()
	var dropped int64
	flush := timer.C
	for {
		select {
		case b := <-r.batches:
			if errors.Is(b.err, io.EOF) {
				return nil
			}
			if b.err != nil {
				return b.err
			}
			dropped = b.dropped
			for i := range b.records {
				if err := w.write(&b.records[i]); err != nil {
					return err
				}
			}
			r.next <- struct{}{}
			timer.Reset(tailIdle)
			flush = timer.C
		case <-flush:
			flush = nil
			if err := idle(dropped); err != nil {
				return err
			}
		}
	}
}
