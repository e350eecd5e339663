package api

import (
	"io"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// federationEncoder writes sorted samples as metric families. Float samples
// are untyped: the store does not tie types to samples. A metric that is both
// float and histogram becomes two families of one name, which Prometheus'
// parser accepts.
type federationEncoder struct {
	out expfmt.Encoder
	// native says that the format can express native histograms.
	native bool
	// external are set on each sample that does not have them.
	external []labels.Label
	family   *dto.MetricFamily // being filled; nil at the start
}

func newFederationEncoder(w io.Writer, format expfmt.Format, external labels.Labels) *federationEncoder {
	e := &federationEncoder{out: expfmt.NewEncoder(w, format)}
	switch format.FormatType() {
	case expfmt.TypeProtoDelim, expfmt.TypeProtoText, expfmt.TypeProtoCompact:
		e.native = true
	}
	external.Range(func(l labels.Label) { e.external = append(e.external, l) })
	if !external.Has(model.InstanceLabel) {
		// An empty label keeps the scraper, under honor_labels, from putting
		// its own instance on samples that have none.
		e.external = append(e.external, labels.Label{Name: model.InstanceLabel})
		slices.SortFunc(e.external, func(a, b labels.Label) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		})
	}
	return e
}

// add appends one sample; samples of one metric must follow one another.
func (e *federationEncoder) add(s federated) error {
	if s.name == "" || (s.h != nil && !s.h.UsesCustomBuckets() && !e.native) {
		return nil // the formats have no way to say it
	}
	typ := dto.MetricType_UNTYPED
	if s.h != nil {
		typ = dto.MetricType_HISTOGRAM
		if s.h.CounterResetHint == histogram.GaugeType {
			typ = dto.MetricType_GAUGE_HISTOGRAM
		}
	}
	if e.family == nil || e.family.GetName() != s.name || e.family.GetType() != typ {
		if err := e.flush(); err != nil {
			return err
		}
		e.family = &dto.MetricFamily{Name: new(s.name), Type: typ.Enum()}
	}
	m := &dto.Metric{Label: e.labels(s.labels), TimestampMs: new(s.t)}
	switch {
	case s.h == nil:
		m.Untyped = &dto.Untyped{Value: new(s.v)}
	case s.h.UsesCustomBuckets():
		m.Histogram = classicHistogram(s.h)
	default:
		m.Histogram = nativeHistogram(s.h)
	}
	e.family.Metric = append(e.family.Metric, m)
	return nil
}

// flush writes the family that is being filled.
func (e *federationEncoder) flush() error {
	if e.family == nil {
		return nil
	}
	family := e.family
	e.family = nil
	return e.out.Encode(family)
}

func (e *federationEncoder) labels(ls labels.Labels) []*dto.LabelPair {
	pairs := make([]*dto.LabelPair, 0, ls.Len()+len(e.external))
	ls.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel && l.Value != "" {
			pairs = append(pairs, &dto.LabelPair{Name: new(l.Name), Value: new(l.Value)})
		}
	})
	for _, l := range e.external {
		if ls.Get(l.Name) == "" {
			pairs = append(pairs, &dto.LabelPair{Name: new(l.Name), Value: new(l.Value)})
		}
	}
	return pairs
}

// nativeHistogram is for the exponential schemas.
func nativeHistogram(h *histogram.FloatHistogram) *dto.Histogram {
	return &dto.Histogram{
		SampleCountFloat: new(h.Count),
		SampleSum:        new(h.Sum),
		Schema:           new(h.Schema),
		ZeroThreshold:    new(h.ZeroThreshold),
		ZeroCountFloat:   new(h.ZeroCount),
		PositiveSpan:     spans(h.PositiveSpans),
		PositiveCount:    h.PositiveBuckets,
		NegativeSpan:     spans(h.NegativeSpans),
		NegativeCount:    h.NegativeBuckets,
	}
}

func spans(in []histogram.Span) []*dto.BucketSpan {
	var out []*dto.BucketSpan
	for _, s := range in {
		out = append(out, &dto.BucketSpan{Offset: new(s.Offset), Length: new(s.Length)})
	}
	return out
}

// classicHistogram is for histograms with bounds of their own, which every
// format can express: cumulative counts by upper bound. The bucket of +Inf
// follows from the count.
func classicHistogram(h *histogram.FloatHistogram) *dto.Histogram {
	out := &dto.Histogram{SampleCountFloat: new(h.Count), SampleSum: new(h.Sum)}
	counts := make([]float64, len(h.CustomValues)+1)
	for it := h.PositiveBucketIterator(); it.Next(); {
		if b := it.At(); int(b.Index) < len(counts) {
			counts[b.Index] = b.Count
		}
	}
	sum := 0.0
	for i, bound := range h.CustomValues {
		sum += counts[i]
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: new(bound), CumulativeCountFloat: new(sum)})
	}
	return out
}
