package loki

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/go-logfmt/logfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// fakeEvaluator evaluates as much of LogQL as the tests of endpoints need:
// selectors, line filters and the parser logfmt. Its fields provoke what an
// engine seldom does.
type fakeEvaluator struct {
	store storage.LogStore
	// failAfter ends a log query with fail after so many entries.
	failAfter int
	fail      error
	// metric answers metric queries.
	metric func(ctx context.Context, q logql.Query) (parser.Value, error)
	// dropped is what a tail reports when it is idle.
	dropped func() int64
}

func (f *fakeEvaluator) query(q logql.Query) (storage.LogQuery, bool, error) {
	expr, err := logql.ParseSelector(q.Text)
	if err != nil {
		return storage.LogQuery{}, false, err
	}
	lq := storage.LogQuery{Matchers: expr.Matchers, Start: q.Start, End: q.End, Order: q.Order, Limit: q.Limit}
	parse := false
	for _, stage := range expr.Stages {
		switch s := stage.(type) {
		case *logql.LineFilter:
			m, err := storage.NewLineMatcher(s.Op[0] == '!', storage.LinePattern{Text: s.Patterns[0].Text, Regexp: s.Op[1] == '~'})
			if err != nil {
				return lq, false, err
			}
			lq.Lines = append(lq.Lines, m)
		case *logql.LogfmtParser:
			parse = true
		}
	}
	return lq, parse, nil
}

func (f *fakeEvaluator) Logs(ctx context.Context, q logql.Query, emit func(*logql.Entry) error) (logql.Stats, error) {
	stats := logql.Stats{Took: time.Millisecond}
	lq, parse, err := f.query(q)
	if err != nil {
		return stats, err
	}
	it, err := f.store.Select(ctx, lq)
	if err != nil {
		return stats, err
	}
	defer it.Close()
	for {
		records, err := it.Next()
		stats.LogStats = it.Stats()
		if errors.Is(err, io.EOF) {
			return stats, nil
		}
		if err != nil {
			return stats, err
		}
		for i := range records {
			if f.fail != nil && stats.Entries == int64(f.failAfter) {
				return stats, f.fail
			}
			stats.Entries++
			if err := emit(entryOf(&records[i], parse)); err != nil {
				return stats, err
			}
		}
	}
}

func (f *fakeEvaluator) Metric(ctx context.Context, q logql.Query) (parser.Value, logql.Stats, error) {
	stats := logql.Stats{LogStats: storage.LogStats{Lines: 20, Bytes: 4000, Blocks: 5, BlocksSkipped: 3}, Took: 2 * time.Millisecond}
	if f.metric != nil {
		v, err := f.metric(ctx, q)
		return v, stats, err
	}
	a, b := labels.FromStrings("pod", "cart-1"), labels.FromStrings("pod", "cart-2")
	if q.Step == 0 {
		return promql.Vector{{Metric: a, T: milliseconds(q.End), F: 1.5}, {Metric: b, T: milliseconds(q.End), F: 2}}, stats, nil
	}
	var points []promql.FPoint
	for at := q.Start; at <= q.End; at += int64(q.Step) {
		points = append(points, promql.FPoint{T: milliseconds(at), F: float64(len(points))})
	}
	return promql.Matrix{{Metric: a, Floats: points}, {Metric: b, Floats: points[1:]}}, stats, nil
}

func (f *fakeEvaluator) Tail(ctx context.Context, q logql.Query, emit func(*logql.Entry) error, idle func(int64) error) error {
	lq, parse, err := f.query(q)
	if err != nil {
		return err
	}
	it, err := f.store.Tail(ctx, lq)
	if err != nil {
		return err
	}
	defer it.Close()
	for n := 0; ; {
		records, err := it.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range records {
			if f.fail != nil && n == f.failAfter {
				return f.fail
			}
			n++
			if err := emit(entryOf(&records[i], parse)); err != nil {
				return err
			}
		}
		var dropped int64
		if f.dropped != nil {
			dropped = f.dropped()
		}
		if err := idle(dropped); err != nil {
			return err
		}
	}
}

func entryOf(r *storage.Record, parse bool) *logql.Entry {
	e := &logql.Entry{Time: r.Time, Line: r.Line, Stream: r.Stream.Labels, Record: r}
	metadata := labels.NewBuilder(r.Metadata)
	if r.Level != storage.LevelUnknown {
		metadata.Set(storage.LabelLevel, r.Level.String())
	}
	e.Metadata = metadata.Labels()
	parsed := labels.NewBuilder(labels.EmptyLabels())
	if parse {
		d := logfmt.NewDecoder(bytes.NewReader(r.Line))
		for d.ScanRecord() {
			for d.ScanKeyval() {
				parsed.Set(string(d.Key()), string(d.Value()))
			}
		}
	}
	e.Parsed = parsed.Labels()
	all := labels.NewBuilder(e.Stream)
	for _, set := range []labels.Labels{e.Metadata, e.Parsed} {
		set.Range(func(l labels.Label) { all.Set(l.Name, l.Value) })
	}
	e.Labels = all.Labels()
	return e
}
