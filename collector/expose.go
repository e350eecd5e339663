package collector

import (
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// exposition builds metric families from live series. It lives for one
// gathering only: between them nothing is held twice.
type exposition struct {
	families map[*storage.Family]*dto.MetricFamily
	t        *int64
	// shared are the label pairs of the container at hand, which its series share.
	shared []*dto.LabelPair
}

// exposeCadvisor is the Gatherer of Cadvisor.
func (c *Collector) exposeCadvisor() ([]*dto.MetricFamily, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &exposition{families: make(map[*storage.Family]*dto.MetricFamily)}
	if c.lastCycle == 0 {
		return nil, nil
	}
	for _, ct := range c.containers {
		e.shared = e.shared[:0]
		e.t = new(ct.lastT)
		ct.each(e.add)
	}
	e.t, e.shared = new(c.lastCycle), nil
	for _, key := range slices.Sorted(maps.Keys(c.oom.byKey)) {
		if n := c.oom.byKey[key]; n.cell.series != nil {
			e.shared = e.shared[:0]
			e.add(&n.cell)
		}
	}
	for i := range c.machine.cells {
		e.add(&c.machine.cells[i])
	}
	e.add(&c.scrapeErr)
	return e.sorted(), nil
}

// exposeNode is the Gatherer of Node.
func (c *Collector) exposeNode() ([]*dto.MetricFamily, error) {
	if c.node == nil {
		return nil, nil
	}
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	return c.node.last, nil
}

func (e *exposition) sorted() []*dto.MetricFamily {
	all := make([]*dto.MetricFamily, 0, len(e.families))
	for _, mf := range e.families {
		all = append(all, mf)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// add appends the series of a cell with its last value.
func (e *exposition) add(c *cell) {
	f := c.series.Family
	mf := e.families[f]
	if mf == nil {
		typ := dto.MetricType_GAUGE
		if f.Type == model.MetricTypeCounter {
			typ = dto.MetricType_COUNTER
		}
		mf = &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: &typ}
		e.families[f] = mf
	}
	m := &dto.Metric{Label: e.pairs(c.series.Labels), TimestampMs: e.t}
	v := c.v
	if mf.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &v}
	} else {
		m.Gauge = &dto.Gauge{Value: &v}
	}
	mf.Metric = append(mf.Metric, m)
}

// addedByScrape tells whether a label is added by whoever scrapes us.
func addedByScrape(name string) bool {
	switch name {
	case model.MetricNameLabel, "job", "instance", "metrics_path", "node":
		return true
	}
	return false
}

func (e *exposition) pairs(l labels.Labels) []*dto.LabelPair {
	pairs := make([]*dto.LabelPair, 0, l.Len())
	l.Range(func(label labels.Label) {
		if !addedByScrape(label.Name) {
			pairs = append(pairs, e.pair(label))
		}
	})
	return pairs
}

func (e *exposition) pair(l labels.Label) *dto.LabelPair {
	for _, p := range e.shared {
		if *p.Name == l.Name && *p.Value == l.Value {
			return p
		}
	}
	p := &dto.LabelPair{Name: &l.Name, Value: &l.Value}
	e.shared = append(e.shared, p)
	return p
}
