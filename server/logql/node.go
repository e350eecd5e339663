package logql

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// sample is the value of the series with this number at one time.
type sample struct {
	id    int
	value float64
}

// node is a compiled MetricExpr.
type node interface {
	// at returns the samples of step i, at most one a series. It is called
	// once for each step, ascending. The result belongs to the caller until
	// the next call, who may also change it.
	at(i int) ([]sample, error)
	// labels are those of a series that at returned.
	labels(id int) labels.Labels
}

// evaluation is one metric query.
type evaluation struct {
	ctx    context.Context
	store  storage.LogStore
	budget *budget
	// first and step are in ns; there are steps of them.
	first, step int64
	steps       int
	closers     []func() error
}

// at is the time of step i.
func (ev *evaluation) at(i int) int64 { return ev.first + int64(i)*ev.step }

func (ev *evaluation) compile(e MetricExpr) (node, error) {
	switch e := e.(type) {
	case *Literal:
		return scalarNode(e.Value), nil
	case *Vector:
		return scalarNode(e.Value), nil
	case *RangeAgg:
		return ev.compileRange(e, e.Grouping)
	case *VectorAgg:
		return ev.compileVectorAgg(e)
	case *LabelReplace:
		return ev.compileLabelReplace(e)
	case *Binary:
		return ev.compileBinary(e)
	}
	return nil, fmt.Errorf("no evaluation of %T", e)
}

// scalarNode is a number or a vector of one sample without labels.
type scalarNode float64

func (n scalarNode) at(int) ([]sample, error) { return []sample{{0, float64(n)}}, nil }

func (n scalarNode) labels(int) labels.Labels { return labels.EmptyLabels() }

// compileRange compiles a range aggregation whose series are those of group.
func (ev *evaluation) compileRange(e *RangeAgg, group *Grouping) (node, error) {
	if e.Op == opAbsentOverTime {
		group = &Grouping{}
	}
	group = sortedGroup(group)
	needed := labelsNeeded(e, group)
	p, err := newPlan(e.Log, needed)
	if err != nil {
		return nil, err
	}
	s := &scan{ctx: ev.ctx, store: ev.store, budget: ev.budget, plan: p, group: group, series: map[string]int{}}
	if s.unwrap, err = newUnwrapper(e.Unwrap); err != nil {
		return nil, err
	}
	s.size = e.Op == opBytesOverTime || e.Op == opBytesRate
	from := ev.first - int64(e.Offset) - int64(e.Range) + 1
	to := ev.at(ev.steps-1) - int64(e.Offset) + 1
	s.query = p.query(from, to)
	s.query.NoLine = !p.pipeline.readsLine()
	op, ok := cellOps[e.Op]
	if !ok {
		s.query.Order = storage.Ascending
		ev.closers = append(ev.closers, s.close)
		return newWindowNode(ev, e, s), nil
	}
	if e.Unwrap == nil {
		op.exact = true
	}
	if !op.exact {
		s.query.Order = storage.Ascending
	}
	n := &rangeNode{ev: ev, expr: e, scan: s, op: op, grid: newGrid(ev.first-int64(e.Offset), ev.step, int64(e.Range))}
	if e.Op == opAbsentOverTime {
		return &absentNode{rangeNode: n, result: absentLabels(e.Log)}, nil
	}
	return n, nil
}

func sortedGroup(g *Grouping) *Grouping {
	if g == nil {
		return nil
	}
	names := slices.Clone(g.Labels)
	slices.Sort(names)
	return &Grouping{Without: g.Without, Labels: slices.Compact(names)}
}

// absentLabels are those that the selector asks for by equality.
func absentLabels(e *LogExpr) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	seen := map[string]bool{}
	for _, m := range e.Matchers {
		if m.Type == labels.MatchEqual && !seen[m.Name] {
			b.Set(m.Name, m.Value)
		} else {
			b.Del(m.Name)
		}
		seen[m.Name] = true
	}
	return b.Labels()
}

// absentNode is 1 where there are no samples.
type absentNode struct {
	*rangeNode
	result labels.Labels
}

func (n *absentNode) at(i int) ([]sample, error) {
	found, err := n.rangeNode.at(i)
	if err != nil || len(found) > 0 {
		return nil, err
	}
	return []sample{{0, 1}}, nil
}

func (n *absentNode) labels(int) labels.Labels { return n.result }

// labelReplaceNode sets a label by a regular expression on another.
type labelReplaceNode struct {
	node
	budget   *budget
	expr     *LabelReplace
	re       *regexp.Regexp
	replaced map[int]labels.Labels
}

func (ev *evaluation) compileLabelReplace(e *LabelReplace) (node, error) {
	inner, err := ev.compile(e.Expr)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile("^(?s:" + e.Regexp + ")$")
	return &labelReplaceNode{node: inner, budget: ev.budget, expr: e, re: re, replaced: map[int]labels.Labels{}}, err
}

func (n *labelReplaceNode) at(i int) ([]sample, error) {
	samples, err := n.node.at(i)
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		if _, ok := n.replaced[s.id]; ok {
			continue
		}
		l := n.node.labels(s.id)
		src := l.Get(n.expr.Src)
		if match := n.re.FindStringSubmatchIndex(src); match != nil {
			value := n.re.ExpandString(nil, n.expr.Replacement, src, match)
			if err := n.budget.addSamples(len(value) / sampleBytes); err != nil {
				return nil, err
			}
			l = labels.NewBuilder(l).Set(n.expr.Dst, string(value)).Labels()
		}
		n.replaced[s.id] = l
	}
	return samples, nil
}

func (n *labelReplaceNode) labels(id int) labels.Labels { return n.replaced[id] }
