package logql

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// foldable are the range aggregations whose series can be put together while
// records are read, by the vector aggregation that does the same afterwards.
var foldable = map[string]map[string]bool{
	"sum": {opCountOverTime: true, opRate: true, opBytesOverTime: true, opBytesRate: true, opSumOverTime: true},
	"min": {opMinOverTime: true},
	"max": {opMaxOverTime: true},
}

func (ev *evaluation) compileVectorAgg(e *VectorAgg) (node, error) {
	group := e.Grouping
	if group == nil {
		group = &Grouping{}
	}
	if r, ok := e.Expr.(*RangeAgg); ok && r.Grouping == nil && foldable[e.Op][r.Op] {
		return ev.compileRange(r, group)
	}
	inner, err := ev.compile(e.Expr)
	if err != nil {
		return nil, err
	}
	groups := &groupTable{inner: inner, group: sortedGroup(group), ids: map[int]int{}, byKey: map[string]int{}}
	switch e.Op {
	case "sort", "sort_desc":
		return &sortNode{inner, e.Op == "sort_desc"}, nil
	case "topk", "bottomk", "approx_topk":
		return &topNode{node: inner, groups: groups, k: e.Param, bottom: e.Op == "bottomk"}, nil
	}
	return &vectorNode{groupTable: groups, op: e.Op}, nil
}

// groupTable gives numbers to the groups of a vector aggregation.
type groupTable struct {
	inner node
	group *Grouping
	// ids are the groups of the inner series, byKey those of label sets.
	ids    map[int]int
	byKey  map[string]int
	result []labels.Labels
}

func (t *groupTable) of(id int) int {
	if g, ok := t.ids[id]; ok {
		return g
	}
	b := labels.NewBuilder(t.inner.labels(id))
	if t.group.Without {
		b.Del(t.group.Labels...)
	} else {
		b.Keep(t.group.Labels...)
	}
	l := b.Labels()
	key := string(l.Bytes(nil))
	g, ok := t.byKey[key]
	if !ok {
		g = len(t.result)
		t.result = append(t.result, l)
		t.byKey[key] = g
	}
	t.ids[id] = g
	return g
}

func (t *groupTable) labels(id int) labels.Labels { return t.result[id] }

// vectorNode puts the samples of a group together.
type vectorNode struct {
	*groupTable
	op     string
	groups []cell
	out    []sample
}

// vectorMerges are what the samples of a group are put together by.
var vectorMerges = map[string]func(x, y cell) cell{
	"sum": addCells, "avg": addCells, "count": addCells,
	"min":    func(x, y cell) cell { return cell{n: 1, a: smaller(x.a, y.a)} },
	"max":    func(x, y cell) cell { return cell{n: 1, a: -smaller(-x.a, -y.a)} },
	"stddev": mergeVariance, "stdvar": mergeVariance,
}

// smaller prefers numbers to NaN.
func smaller(a, b float64) float64 {
	if math.IsNaN(a) || b < a {
		return b
	}
	return a
}

func (n *vectorNode) at(i int) ([]sample, error) {
	in, err := n.inner.at(i)
	if err != nil {
		return nil, err
	}
	merge := vectorMerges[n.op]
	clear(n.groups)
	for _, s := range in {
		g := n.of(s.id)
		for len(n.groups) <= g {
			n.groups = append(n.groups, cell{})
		}
		c := cell{n: 1, a: s.value}
		if n.groups[g].n > 0 {
			c = merge(n.groups[g], c)
		}
		n.groups[g] = c
	}
	n.out = n.out[:0]
	for g, c := range n.groups {
		if c.n > 0 {
			n.out = append(n.out, sample{g, n.value(c)})
		}
	}
	return n.out, nil
}

func (n *vectorNode) value(c cell) float64 {
	switch n.op {
	case "avg":
		return c.a / float64(c.n)
	case "count":
		return float64(c.n)
	case "stdvar":
		return variance(c)
	case "stddev":
		return math.Sqrt(variance(c))
	}
	return c.a
}

// topNode keeps the k largest or smallest samples of each group.
type topNode struct {
	node
	groups *groupTable
	k      int
	bottom bool
	kept   []int
}

func (n *topNode) at(i int) ([]sample, error) {
	in, err := n.node.at(i)
	if err != nil {
		return nil, err
	}
	sortSamples(n.node, in, !n.bottom)
	clear(n.kept)
	return slices.DeleteFunc(in, func(s sample) bool {
		g := n.groups.of(s.id)
		for len(n.kept) <= g {
			n.kept = append(n.kept, 0)
		}
		n.kept[g]++
		return n.kept[g] > n.k
	}), nil
}

// sortNode sorts samples by value, which matters to instant queries only.
type sortNode struct {
	node
	descending bool
}

func (n *sortNode) at(i int) ([]sample, error) {
	in, err := n.node.at(i)
	sortSamples(n.node, in, n.descending)
	return in, err
}

// sortSamples sorts by value, NaN last, and equal ones by their labels.
func sortSamples(n node, samples []sample, descending bool) {
	slices.SortFunc(samples, func(a, b sample) int {
		if an, bn := math.IsNaN(a.value), math.IsNaN(b.value); an != bn {
			if an {
				return 1
			}
			return -1
		}
		order := cmp.Compare(a.value, b.value)
		if descending {
			order = -order
		}
		if order == 0 {
			order = labels.Compare(n.labels(a.id), n.labels(b.id))
		}
		return order
	})
}
