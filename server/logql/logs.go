package logql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// run bounds a query in time and accounts for it.
func (e *Engine) run(ctx context.Context, kind string, query func(ctx context.Context, b *budget) error) (Stats, error) {
	start := time.Now()
	b := &budget{opts: &e.opts}
	limited, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	err := b.explain(ctx, query(limited, b))
	took := time.Since(start)
	e.metrics.queries.WithLabelValues(kind, resultOf(err)).Inc()
	e.metrics.seconds.WithLabelValues(kind).Observe(took.Seconds())
	return Stats{LogStats: b.stats, Took: took}, err
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrBadQuery):
		return "bad_query"
	case errors.Is(err, storage.ErrQueryLimit):
		return "limit"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "error"
}

// Logs evaluates a log query; see Evaluator.
func (e *Engine) Logs(ctx context.Context, q Query, emit func(*Entry) error) (Stats, error) {
	var entries int64
	stats, err := e.run(ctx, "logs", func(ctx context.Context, b *budget) error {
		p, err := planLogs(q.Text)
		if err != nil || p.none {
			return err
		}
		if q.Order == storage.Unordered {
			q.Order = storage.Descending
		}
		w := &entryWriter{plan: p, emit: emit, limit: q.Limit}
		if limit := e.opts.MaxEntries; limit > 0 && (q.Limit == 0 || q.Limit > limit) {
			w.limit, w.capped = limit, true
		}
		defer func() { entries = w.written }()
		return e.logs(ctx, q, w, b)
	})
	stats.Entries = entries
	return stats, err
}

func planLogs(text string) (*plan, error) {
	expr, err := Parse(text)
	if err != nil {
		return nil, err
	}
	l, ok := expr.(*LogExpr)
	if !ok {
		return nil, errNeedLogs
	}
	return newPlan(l, needAll)
}

func (e *Engine) logs(ctx context.Context, q Query, w *entryWriter, b *budget) error {
	lq := w.plan.query(q.Start, q.End)
	lq.Order, lq.MaxBytes = q.Order, b.maxBytes()
	if !w.plan.pipeline.drops() {
		lq.Limit = w.limit
		if w.capped {
			lq.Limit++ // to know whether there are more
		}
	}
	err := e.selectRecords(ctx, lq, b, w.write)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// selectRecords calls each for every record of a query.
func (e *Engine) selectRecords(ctx context.Context, q storage.LogQuery, b *budget, each func(*storage.Record) error) (err error) {
	it, err := e.opts.Store.Select(ctx, q)
	if err != nil {
		return err
	}
	defer func() {
		b.addStats(it.Stats())
		err = errors.Join(err, it.Close())
	}()
	for {
		records, err := it.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range records {
			if err := each(&records[i]); err != nil {
				return err
			}
		}
	}
}

// errEnough ends a query that has all it asked for.
var errEnough = errors.New("enough entries")

// entryWriter passes records through a pipeline and emits what is left.
type entryWriter struct {
	plan    *plan
	emit    func(*Entry) error
	limit   int // 0 is none
	capped  bool
	written int64
	entry   Entry
}

func (w *entryWriter) write(r *storage.Record) error {
	line, keep := w.plan.pipeline.run(r)
	if !keep {
		return nil
	}
	if w.limit > 0 && w.written >= int64(w.limit) {
		return &LimitError{fmt.Sprintf("%d entries", w.limit), "--logs-query-max-entries"}
	}
	l := w.plan.pipeline.entryLabels()
	w.entry = Entry{Time: r.Time, Line: line, Labels: l.all, Stream: l.stream, Metadata: l.meta, Parsed: l.parsed, Record: r}
	if err := w.emit(&w.entry); err != nil {
		return err
	}
	w.written++
	if w.limit > 0 && w.written >= int64(w.limit) && !w.capped {
		return errEnough
	}
	return nil
}
