package logql

import (
	"math"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/labels"
)

// windowNode is a range aggregation that needs all samples of a window at
// hand. It reads records in the order of their times and keeps those of the
// current window.
type windowNode struct {
	ev     *evaluation
	expr   *RangeAgg
	scan   *scan
	value  func(window []timedSample, end int64) (float64, bool)
	series [][]timedSample
	// ahead is a sample that was read but is behind the current window.
	ahead *rangeSample
	ended bool
	out   []sample
	sort  []float64
}

// timedSample is a sample within a window.
type timedSample struct {
	time  int64
	value float64
}

func newWindowNode(ev *evaluation, e *RangeAgg, s *scan) *windowNode {
	n := &windowNode{ev: ev, expr: e, scan: s}
	if e.Op == opQuantileOverTime {
		n.value = n.quantile
	} else {
		n.value = n.counterRate
	}
	return n
}

func (n *windowNode) labels(id int) labels.Labels { return n.scan.labels[id] }

func (n *windowNode) at(i int) ([]sample, error) {
	end := n.ev.at(i) - int64(n.expr.Offset)
	start := end - int64(n.expr.Range)
	if err := n.read(start, end); err != nil {
		return nil, err
	}
	n.out = n.out[:0]
	for id, samples := range n.series {
		samples = n.trim(samples, start)
		n.series[id] = samples
		if len(samples) == 0 {
			continue
		}
		if v, ok := n.value(samples, end); ok {
			n.out = append(n.out, sample{id, v})
		}
	}
	return n.out, n.ev.ctx.Err()
}

// trim leaves out samples that are not behind start, in place.
func (n *windowNode) trim(samples []timedSample, start int64) []timedSample {
	k := sort.Search(len(samples), func(i int) bool { return samples[i].time > start })
	if k == 0 {
		return samples
	}
	_ = n.ev.budget.addSamples(-k) // giving back cannot fail
	return append(samples[:0], samples[k:]...)
}

// read adds the samples of (start, end]; those before are between two windows.
func (n *windowNode) read(start, end int64) error {
	for !n.ended {
		if n.ahead == nil {
			s, err := n.scan.next()
			if err != nil {
				n.ended = true
				return notEOF(err)
			}
			n.ahead = &s
		}
		if n.ahead.time > end {
			return nil
		}
		s := *n.ahead
		n.ahead = nil
		if s.time <= start {
			continue
		}
		for len(n.series) <= s.series {
			n.series = append(n.series, nil)
		}
		n.series[s.series] = append(n.series[s.series], timedSample{s.time, s.value})
		if err := n.ev.budget.addSamples(1); err != nil {
			return err
		}
	}
	return nil
}

// quantile interpolates between the two nearest samples, as Prometheus does.
func (n *windowNode) quantile(window []timedSample, _ int64) (float64, bool) {
	n.sort = n.sort[:0]
	for _, s := range window {
		n.sort = append(n.sort, s.value)
	}
	slices.Sort(n.sort)
	return quantileOf(n.expr.Param, n.sort), true
}

func quantileOf(q float64, sorted []float64) float64 {
	switch {
	case len(sorted) == 0 || math.IsNaN(q):
		return math.NaN()
	case q < 0:
		return math.Inf(-1)
	case q > 1:
		return math.Inf(1)
	}
	rank := q * float64(len(sorted)-1)
	lower := math.Floor(rank)
	upper := min(lower+1, float64(len(sorted)-1))
	weight := rank - lower
	return sorted[int(lower)]*(1-weight) + sorted[int(upper)]*weight
}

// counterRate is Prometheus' rate(): resets add up, and the increase is
// extrapolated to the ends of the window where samples come close to them.
func (n *windowNode) counterRate(window []timedSample, end int64) (float64, bool) {
	if len(window) < 2 {
		return 0, false
	}
	first, last := window[0], window[len(window)-1]
	increase := last.value - first.value
	for i := 1; i < len(window); i++ {
		if window[i].value < window[i-1].value {
			increase += window[i-1].value
		}
	}
	width := n.expr.Range.Seconds()
	sampled := float64(last.time-first.time) / 1e9
	if sampled == 0 {
		return 0, false
	}
	toStart := float64(first.time)/1e9 - (float64(end)/1e9 - width)
	toEnd := float64(end-last.time) / 1e9
	between := sampled / float64(len(window)-1)
	if toStart >= between*1.1 {
		toStart = between / 2
	}
	if toEnd >= between*1.1 {
		toEnd = between / 2
	}
	if increase > 0 && first.value >= 0 {
		// A counter does not go below zero.
		toStart = min(toStart, sampled*(first.value/increase))
	}
	return increase * (sampled + toStart + toEnd) / sampled / width, true
}
