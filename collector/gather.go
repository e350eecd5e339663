package collector

import (
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxGathered bounds the series of one converter. A machine has some 2,000
// node_* series; one with thousands of network devices has ten times as many.
const maxGathered = 100_000

// converter turns gathered metric families into samples. It keeps the series
// that the last call saw and marks the end of those that did not come again.
// It is for one goroutine.
type converter struct {
	base     labels.Labels
	limit    int
	dropped  prometheus.Counter
	families map[string]*storage.Family
	series   map[string]*gathered
	seq      uint64
	key      []byte
	batch    batch
}

// gathered is one series of a converter.
type gathered struct {
	series *storage.Series
	seq    uint64
}

// newConverter makes a converter that adds the labels of base to every series.
func newConverter(base labels.Labels, dropped prometheus.Counter) *converter {
	return &converter{
		base: base, limit: maxGathered, dropped: dropped,
		families: make(map[string]*storage.Family), series: make(map[string]*gathered),
	}
}

// convert returns the samples of all families at time t, and the ends of
// series that are gone. The slice is valid until the next call.
func (c *converter) convert(all []*dto.MetricFamily, t int64) []storage.Sample {
	c.seq++
	c.batch.samples, c.batch.t = c.batch.samples[:0], t
	for _, mf := range all {
		f := c.family(mf)
		for _, m := range mf.GetMetric() {
			c.metric(f, m)
		}
	}
	for key, g := range c.series {
		if g.seq != c.seq {
			c.batch.samples = append(c.batch.samples, storage.Sample{Series: g.series, T: t, V: staleNaN})
			delete(c.series, key)
		}
	}
	if len(c.series) == 0 {
		clear(c.families)
	}
	return c.batch.samples
}

// family returns the one Family of a name; it changes only with its type.
func (c *converter) family(mf *dto.MetricFamily) *storage.Family {
	typ := modelType(mf.GetType())
	f := c.families[mf.GetName()]
	if f == nil || f.Type != typ {
		if len(c.families) >= c.limit {
			clear(c.families) // series keep theirs
		}
		f = &storage.Family{Name: mf.GetName(), Help: mf.GetHelp(), Unit: mf.GetUnit(), Type: typ}
		c.families[f.Name] = f
	}
	return f
}

func modelType(t dto.MetricType) model.MetricType {
	switch t {
	case dto.MetricType_COUNTER:
		return model.MetricTypeCounter
	case dto.MetricType_GAUGE:
		return model.MetricTypeGauge
	case dto.MetricType_SUMMARY:
		return model.MetricTypeSummary
	case dto.MetricType_HISTOGRAM:
		return model.MetricTypeHistogram
	case dto.MetricType_GAUGE_HISTOGRAM:
		return model.MetricTypeGaugeHistogram
	}
	return model.MetricTypeUnknown
}

// metric appends the samples of one metric. Of native histograms only count
// and sum remain: a storage.Sample is a float.
func (c *converter) metric(f *storage.Family, m *dto.Metric) {
	switch {
	case m.Counter != nil:
		c.add(f, m, "", "", "", m.Counter.GetValue())
	case m.Gauge != nil:
		c.add(f, m, "", "", "", m.Gauge.GetValue())
	case m.Untyped != nil:
		c.add(f, m, "", "", "", m.Untyped.GetValue())
	case m.Summary != nil:
		for _, q := range m.Summary.GetQuantile() {
			c.add(f, m, "", "quantile", number64(q.GetQuantile()), q.GetValue())
		}
		c.add(f, m, "_sum", "", "", m.Summary.GetSampleSum())
		c.add(f, m, "_count", "", "", float64(m.Summary.GetSampleCount()))
	case m.Histogram != nil:
		c.histogram(f, m)
	}
}

func (c *converter) histogram(f *storage.Family, m *dto.Metric) {
	h := m.Histogram
	count := float64(h.GetSampleCount())
	if h.GetSampleCountFloat() > 0 {
		count = h.GetSampleCountFloat()
	}
	infinite := false
	for _, b := range h.GetBucket() {
		n := float64(b.GetCumulativeCount())
		if b.GetCumulativeCountFloat() > 0 {
			n = b.GetCumulativeCountFloat()
		}
		infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
		c.add(f, m, "_bucket", "le", number64(b.GetUpperBound()), n)
	}
	if !infinite {
		c.add(f, m, "_bucket", "le", "+Inf", count)
	}
	c.add(f, m, "_sum", "", "", h.GetSampleSum())
	c.add(f, m, "_count", "", "", count)
}

// number64 writes a bound as Prometheus does.
func number64(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	for _, r := range s {
		if (r < '0' || r > '9') && r != '-' {
			return s
		}
	}
	return s + ".0"
}

// add appends one sample of the series FAMILY+suffix{labels of m, extra}.
func (c *converter) add(f *storage.Family, m *dto.Metric, suffix, extra, value string, v float64) {
	g := c.find(f, m, suffix, extra, value)
	if g == nil {
		c.dropped.Inc()
		return
	}
	if g.seq == c.seq {
		return // the same series twice in one gathering: the first one counts
	}
	g.seq = c.seq
	t := c.batch.t
	if m.TimestampMs != nil {
		t = m.GetTimestampMs()
	}
	c.batch.samples = append(c.batch.samples, storage.Sample{Series: g.series, T: t, V: v})
}

// find returns the series, new if it was not there, nil beyond the limit.
func (c *converter) find(f *storage.Family, m *dto.Metric, suffix, extra, value string) *gathered {
	key := append(c.key[:0], f.Name...)
	key = append(key, suffix...)
	for _, l := range m.GetLabel() {
		key = append(append(append(append(key, 0xff), l.GetName()...), 0xff), l.GetValue()...)
	}
	key = append(append(append(append(key, 0xff), extra...), 0xff), value...)
	c.key = key
	if g := c.series[string(key)]; g != nil && g.series.Family == f {
		return g
	}
	if len(c.series) >= c.limit {
		return nil
	}
	lb := labels.NewBuilder(c.base)
	for _, l := range m.GetLabel() {
		if c.base.Has(l.GetName()) {
			lb.Set("exported_"+l.GetName(), l.GetValue()) // as a scrape does
			continue
		}
		lb.Set(l.GetName(), l.GetValue())
	}
	lb.Set(extra, value).Set(model.MetricNameLabel, f.Name+suffix)
	g := &gathered{series: &storage.Series{Labels: lb.Labels(), Family: f}}
	c.series[string(key)] = g
	return g
}
