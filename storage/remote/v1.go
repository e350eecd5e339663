package remote

import (
	"fmt"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// transcode turns the body of a remote write 2.0 request into one of 1.0. What
// 1.0 cannot express is left out: start timestamps.
func transcode(body []byte) ([]byte, error) {
	raw, err := s2.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	var from writev2.Request
	if err := from.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	to := prompb.WriteRequest{Timeseries: make([]prompb.TimeSeries, 0, len(from.Timeseries))}
	described := make(map[string]struct{})
	b := labels.NewScratchBuilder(0)
	for i := range from.Timeseries {
		ts := &from.Timeseries[i]
		ls, err := ts.ToLabels(&b, from.Symbols)
		if err != nil {
			return nil, fmt.Errorf("decode labels: %w", err)
		}
		series, err := seriesV1(ts, ls, from.Symbols, &b)
		if err != nil {
			return nil, err
		}
		to.Timeseries = append(to.Timeseries, series)
		if name := ls.Get(labels.MetricName); ts.Metadata.Type != 0 || ts.Metadata.HelpRef != 0 {
			if _, done := described[name]; !done {
				described[name] = struct{}{}
				meta, err := metadataV1(ts, name, from.Symbols)
				if err != nil {
					return nil, err
				}
				to.Metadata = append(to.Metadata, meta)
			}
		}
	}
	if raw, err = to.Marshal(); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return s2.EncodeSnappy(nil, raw), nil
}

func seriesV1(from *writev2.TimeSeries, ls labels.Labels, symbols []string, b *labels.ScratchBuilder) (prompb.TimeSeries, error) {
	to := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
	for _, s := range from.Samples {
		to.Samples = append(to.Samples, prompb.Sample{Value: s.Value, Timestamp: s.Timestamp})
	}
	for _, h := range from.Histograms {
		if h.IsFloatHistogram() {
			to.Histograms = append(to.Histograms, prompb.FromFloatHistogram(h.Timestamp, h.ToFloatHistogram()))
		} else {
			to.Histograms = append(to.Histograms, prompb.FromIntHistogram(h.Timestamp, h.ToIntHistogram()))
		}
	}
	for _, x := range from.Exemplars {
		e, err := x.ToExemplar(b, symbols)
		if err != nil {
			return to, fmt.Errorf("decode exemplar: %w", err)
		}
		to.Exemplars = append(to.Exemplars, prompb.Exemplar{Labels: prompb.FromLabels(e.Labels, nil), Value: e.Value, Timestamp: e.Ts})
	}
	return to, nil
}

func metadataV1(ts *writev2.TimeSeries, name string, symbols []string) (prompb.MetricMetadata, error) {
	m, err := ts.ToMetadata(symbols)
	if err != nil {
		return prompb.MetricMetadata{}, fmt.Errorf("decode metadata: %w", err)
	}
	if m.Type == model.MetricTypeHistogram || m.Type == model.MetricTypeSummary {
		// 1.0 names the family, not the series.
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if family, found := strings.CutSuffix(name, suffix); found {
				name = family
				break
			}
		}
	}
	return prompb.MetricMetadata{
		Type:             prompb.FromMetadataType(m.Type),
		MetricFamilyName: name,
		Help:             m.Help,
		Unit:             m.Unit,
	}, nil
}
