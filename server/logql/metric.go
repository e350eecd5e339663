package logql

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Metric evaluates a metric query; see Evaluator.
func (e *Engine) Metric(ctx context.Context, q Query) (parser.Value, Stats, error) {
	var value parser.Value
	stats, err := e.run(ctx, "metric", func(ctx context.Context, b *budget) error {
		expr, err := Parse(q.Text)
		if err != nil {
			return err
		}
		m, ok := expr.(MetricExpr)
		if !ok {
			return errNeedMetric
		}
		value, err = e.metric(ctx, m, q, b)
		return err
	})
	return value, stats, err
}

func (e *Engine) metric(ctx context.Context, expr MetricExpr, q Query, b *budget) (_ parser.Value, err error) {
	ev := &evaluation{ctx: ctx, store: e.opts.Store, budget: b, first: q.End, steps: 1}
	if q.Step > 0 {
		if q.End < q.Start {
			return nil, errBackwards
		}
		if (q.End-q.Start)/int64(q.Step) >= maxSteps {
			return nil, errSteps
		}
		ev.first, ev.step, ev.steps = q.Start, int64(q.Step), int((q.End-q.Start)/int64(q.Step))+1
	}
	defer func() {
		for _, closer := range ev.closers {
			err = errors.Join(err, closer())
		}
	}()
	root, err := ev.compile(expr)
	if err != nil {
		return nil, err
	}
	if q.Step == 0 {
		return ev.instant(expr, root)
	}
	return ev.matrix(root)
}

func toMillis(ns int64) int64 { return ns / int64(time.Millisecond) }

func (ev *evaluation) instant(expr MetricExpr, root node) (parser.Value, error) {
	samples, err := root.at(0)
	if err != nil {
		return nil, err
	}
	t := toMillis(ev.first)
	if isScalar(expr) {
		return promql.Scalar{T: t, V: samples[0].value}, nil
	}
	vector := make(promql.Vector, 0, len(samples))
	seen := map[string]bool{}
	for _, s := range samples {
		l := root.labels(s.id)
		key := string(l.Bytes(nil))
		if seen[key] {
			return nil, errSameLabels
		}
		seen[key] = true
		vector = append(vector, promql.Sample{Metric: l, T: t, F: s.value})
	}
	if !sorted(expr) {
		slices.SortFunc(vector, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
	}
	return vector, nil
}

// sorted tells whether an expression sets the order of its samples.
func sorted(expr MetricExpr) bool {
	v, ok := expr.(*VectorAgg)
	return ok && (takesCount(v.Op) || v.Op == "sort" || v.Op == "sort_desc")
}

func (ev *evaluation) matrix(root node) (parser.Value, error) {
	var result promql.Matrix
	ids := map[int]int{}         // numbers of the root's series to places in result
	byLabels := map[string]int{} // the same by label sets
	lastStep := map[int]int{}
	for i := range ev.steps {
		samples, err := root.at(i)
		if err != nil {
			return nil, err
		}
		if err := ev.budget.addSamples(len(samples)); err != nil {
			return nil, err
		}
		for _, s := range samples {
			at, ok := ids[s.id]
			if !ok {
				l := root.labels(s.id)
				key := string(l.Bytes(nil))
				if at, ok = byLabels[key]; !ok {
					at = len(result)
					result = append(result, promql.Series{Metric: l})
					byLabels[key] = at
				}
				ids[s.id] = at
			}
			if last, ok := lastStep[at]; ok && last == i {
				return nil, errSameLabels
			}
			lastStep[at] = i
			result[at].Floats = append(result[at].Floats, promql.FPoint{T: toMillis(ev.at(i)), F: s.value})
		}
	}
	slices.SortFunc(result, func(a, b promql.Series) int {
		return cmp.Or(labels.Compare(a.Metric, b.Metric))
	})
	return result, nil
}
