package logql

import (
	"errors"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxBuckets bounds what a store is asked to count at once.
const maxBuckets = 50_000

// rangeNode is a range aggregation that cells can do. The first step reads all
// records of the query, each once.
type rangeNode struct {
	ev     *evaluation
	expr   *RangeAgg
	scan   *scan
	op     cellOp
	grid   grid
	series []cellSeries
	// order are the numbers of the series, sorted by their labels: the same
	// whatever the order in which a store returns records.
	order  []int
	filled bool
	out    []sample
}

func (n *rangeNode) labels(id int) labels.Labels { return n.scan.labels[id] }

func (n *rangeNode) at(i int) ([]sample, error) {
	if !n.filled {
		n.filled = true
		if err := n.fill(); err != nil {
			return nil, err
		}
	}
	lo, hi := n.grid.window(i)
	seconds := n.expr.Range.Seconds()
	n.out = n.out[:0]
	for _, id := range n.order {
		if c, ok := n.series[id].slide(&n.op, lo, hi); ok {
			n.out = append(n.out, sample{id, n.op.result(c, seconds)})
		}
	}
	return n.out, n.ev.ctx.Err()
}

func (n *rangeNode) fill() error {
	counted, err := n.count()
	if err == nil && !counted {
		err = n.read()
	}
	// All lines of a series may be between two windows.
	n.series = append(n.series, make([]cellSeries, len(n.scan.labels)-len(n.series))...)
	n.order = make([]int, len(n.scan.labels))
	for i := range n.order {
		n.order[i] = i
	}
	slices.SortFunc(n.order, func(a, b int) int { return labels.Compare(n.scan.labels[a], n.scan.labels[b]) })
	return err
}

func (n *rangeNode) read() (err error) {
	defer func() { err = errors.Join(err, n.scan.close()) }()
	for {
		s, err := n.scan.next()
		if err != nil {
			return notEOF(err)
		}
		if err := n.add(s); err != nil {
			return err
		}
	}
}

func (n *rangeNode) add(s rangeSample) error {
	if n.grid.step > n.grid.width && (s.time-n.grid.start-1)%n.grid.step >= n.grid.width {
		return nil // between two windows
	}
	return n.addCell(s.series, n.grid.cellOf(s.time), n.op.one(s.time, s.value))
}

func (n *rangeNode) addCell(series int, number int64, c cell) error {
	for len(n.series) <= series {
		n.series = append(n.series, cellSeries{})
	}
	if n.series[series].add(&n.op, number, c) {
		return n.ev.budget.addSamples(1)
	}
	return nil
}

// count lets the store count where it can: without a pipeline, for groups by
// labels of streams and by level. It returns false where records must be read.
func (n *rangeNode) count() (bool, error) {
	counter, ok := n.scan.store.(storage.LogCounter)
	width := gcd(n.grid.step, n.grid.width)
	start := n.scan.query.Start
	if !ok || !n.countable() || (n.scan.query.End-start)/width > maxBuckets {
		return false, nil
	}
	q := n.scan.query
	q.MaxBytes = n.ev.budget.maxBytes()
	counts, exact, err := counter.Count(n.ev.ctx, q, width, countLabels(n.scan.group.Labels))
	if err != nil || !exact {
		return false, err
	}
	for _, c := range counts {
		if err := n.addCount(c, start, width); err != nil {
			return false, err
		}
	}
	return true, nil
}

// countable tells whether Count answers what is asked to the letter: the
// labels of a group must not be among the labels that only a record has.
func (n *rangeNode) countable() bool {
	s := n.scan
	if s.plan.none || len(s.plan.pipeline.steps) > 0 || s.unwrap != nil || s.group == nil || s.group.Without {
		return false
	}
	for _, name := range s.group.Labels {
		if !streamLabels[name] && !isLevel(name) {
			return false
		}
	}
	return true
}

// streamLabels are the labels that belong to streams, if to anything.
var streamLabels = map[string]bool{
	storage.LabelCluster: true, storage.LabelNode: true, storage.LabelNamespace: true, storage.LabelPod: true,
	storage.LabelUID: true, storage.LabelContainer: true, storage.LabelRestart: true, storage.LabelStream: true,
	storage.LabelFilename: true, storage.LabelWorkload: true, storage.LabelWorkloadType: true,
}

// countLabels replaces detected_level by level.
func countLabels(names []string) []string {
	var by []string
	for _, name := range names {
		if name == detectedLevel {
			name = storage.LabelLevel
		}
		if !slices.Contains(by, name) {
			by = append(by, name)
		}
	}
	return by
}

func (n *rangeNode) addCount(c storage.LogCount, start, width int64) error {
	s := n.scan
	s.pairs = s.pairs[:0]
	for _, name := range s.group.Labels {
		source := name
		if name == detectedLevel {
			source = storage.LabelLevel
		}
		if value := c.Labels.Get(source); value != "" {
			s.pairs = append(s.pairs, pair{name, value})
		}
	}
	id := -1
	for i, records := range c.Records {
		if records == 0 {
			continue
		}
		if id < 0 {
			var err error
			if id, err = s.addSeries(buildLabels(&s.builder, s.pairs), 0); err != nil {
				return err
			}
		}
		last := start + int64(i+1)*width - 1
		if n.grid.step > n.grid.width && (last-n.grid.start-1)%n.grid.step >= n.grid.width {
			continue
		}
		value := float64(records)
		if s.size {
			value = float64(c.Bytes[i])
		}
		if err := n.addCell(id, n.grid.cellOf(last), cell{n: records, a: value}); err != nil {
			return err
		}
	}
	return nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
