package logql

import (
	"math"
	"slices"
	"sort"
)

// cell is the aggregate of some samples. Which fields have a meaning depends
// on the operation.
type cell struct {
	n    int64
	a, b float64
	// time is that of the sample kept by first and last.
	time int64
}

// cellOp is an aggregation that can be put together from those of parts.
type cellOp struct {
	// one is the aggregate of a sample.
	one func(time int64, value float64) cell
	// merge adds later to earlier.
	merge func(earlier, later cell) cell
	// result is the value over a window of this many seconds.
	result func(c cell, seconds float64) float64
	// exact says that the order of samples makes no difference.
	exact bool
}

func addCells(x, y cell) cell { return cell{n: x.n + y.n, a: x.a + y.a} }

func oneValue(_ int64, v float64) cell { return cell{n: 1, a: v} }

// mergeVariance joins counts, means (a) and sums of squared differences (b).
func mergeVariance(x, y cell) cell {
	n := float64(x.n + y.n)
	d := y.a - x.a
	return cell{n: x.n + y.n, a: x.a + d*float64(y.n)/n, b: x.b + y.b + d*d*float64(x.n)*float64(y.n)/n}
}

func variance(c cell) float64 { return c.b / float64(c.n) }

func timedValue(t int64, v float64) cell { return cell{n: 1, a: v, time: t} }

var (
	sumCells  = cellOp{one: oneValue, merge: addCells, result: value}
	rateCells = cellOp{one: oneValue, merge: addCells, result: func(c cell, s float64) float64 { return c.a / s }}
)

// cellOps are the operations of range aggregations that cells can do; values
// of lines are whole numbers, so that their sums are exact.
var cellOps = map[string]cellOp{
	opCountOverTime:  exact(sumCells),
	opBytesOverTime:  exact(sumCells),
	opRate:           rateCells,
	opBytesRate:      exact(rateCells),
	opSumOverTime:    sumCells,
	opAbsentOverTime: exact(sumCells),
	opAvgOverTime:    {one: oneValue, merge: addCells, result: func(c cell, _ float64) float64 { return c.a / float64(c.n) }},
	opMinOverTime:    exact(cellOp{one: oneValue, merge: minCell, result: value}),
	opMaxOverTime:    exact(cellOp{one: oneValue, merge: maxCell, result: value}),
	opStdvarOverTime: {one: oneValue, merge: mergeVariance, result: func(c cell, _ float64) float64 { return variance(c) }},
	opStddevOverTime: {one: oneValue, merge: mergeVariance, result: func(c cell, _ float64) float64 { return math.Sqrt(variance(c)) }},
	opFirstOverTime:  {one: timedValue, merge: firstCell, result: value},
	opLastOverTime:   {one: timedValue, merge: lastCell, result: value},
}

func value(c cell, _ float64) float64 { return c.a }

func minCell(x, y cell) cell { return cell{n: 1, a: math.Min(x.a, y.a)} }

func maxCell(x, y cell) cell { return cell{n: 1, a: math.Max(x.a, y.a)} }

func exact(op cellOp) cellOp {
	op.exact = true
	return op
}

func firstCell(x, y cell) cell {
	if y.time < x.time {
		return y
	}
	return x
}

func lastCell(x, y cell) cell {
	if y.time >= x.time {
		return y
	}
	return x
}

// grid cuts time at the ends and at the starts of all windows, so that every
// window is a run of whole cells. Window i is (start+i*step, start+i*step+width];
// cell numbers ascend with time.
type grid struct {
	start, step, width int64
	// split is where a step is cut in two, 0 if it is not.
	split int64
}

func newGrid(firstEnd, step, width int64) grid {
	if step == 0 {
		step = width
	}
	return grid{start: firstEnd - width, step: step, width: width, split: width % step}
}

// cellOf returns the cell of a time behind start.
func (g grid) cellOf(t int64) int64 {
	u := t - g.start - 1
	if g.split == 0 {
		return u / g.step
	}
	c := u / g.step * 2
	if u%g.step >= g.split {
		c++
	}
	return c
}

// window returns the cells [lo, hi) of window i.
func (g grid) window(i int) (lo, hi int64) {
	from := g.start + int64(i)*g.step
	return g.cellOf(from + 1), g.cellOf(from+g.width) + 1
}

// numberedCell is a cell that is not empty.
type numberedCell struct {
	number int64
	cell
}

// cellSeries are the cells of a series, ascending, and the window that slides
// over them.
type cellSeries struct {
	cells []numberedCell

	// The window is cells[lo:hi]. suffix[i] merges cells[lo+i:lo+len(suffix)],
	// and back the cells from there to hi: each cell is merged twice in all,
	// however much windows overlap.
	lo, hi int
	suffix []cell
	back   cell
	any    bool
}

// add merges c into the cell of this number and tells whether that is new.
func (s *cellSeries) add(op *cellOp, number int64, c cell) bool {
	n := len(s.cells)
	i := n - 1
	if n == 0 || s.cells[i].number < number {
		s.cells = append(s.cells, numberedCell{number, c})
		return true
	}
	if s.cells[i].number != number {
		i = sort.Search(n, func(i int) bool { return s.cells[i].number >= number })
		if s.cells[i].number != number {
			s.cells = slices.Insert(s.cells, i, numberedCell{number, c})
			return true
		}
	}
	s.cells[i].cell = op.merge(s.cells[i].cell, c)
	return false
}

// slide moves the window to the cells numbered [lo, hi), which must not go
// back, and returns their aggregate, false if there are none.
func (s *cellSeries) slide(op *cellOp, lo, hi int64) (cell, bool) {
	for s.hi < len(s.cells) && s.cells[s.hi].number < hi {
		c := s.cells[s.hi].cell
		s.hi++
		if s.any {
			c = op.merge(s.back, c)
		}
		s.back, s.any = c, true
	}
	for s.lo < s.hi && s.cells[s.lo].number < lo {
		if len(s.suffix) == 0 {
			s.refill(op)
		}
		s.suffix = s.suffix[:len(s.suffix)-1]
		s.lo++
	}
	switch {
	case s.lo == s.hi:
		return cell{}, false
	case len(s.suffix) == 0:
		return s.back, true
	case !s.any:
		return s.suffix[len(s.suffix)-1], true
	}
	return op.merge(s.suffix[len(s.suffix)-1], s.back), true
}

// refill turns the whole window into suffixes, the longest last.
func (s *cellSeries) refill(op *cellOp) {
	s.suffix = s.suffix[:0]
	for i := s.hi - 1; i >= s.lo; i-- {
		c := s.cells[i].cell
		if n := len(s.suffix); n > 0 {
			c = op.merge(c, s.suffix[n-1])
		}
		s.suffix = append(s.suffix, c)
	}
	s.any = false
}
