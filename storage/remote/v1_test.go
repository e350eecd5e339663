package remote

import (
	"math"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestTranscodeToVersion1(t *testing.T) {
	series := func(name string, kind model.MetricType) *storage.Series {
		return &storage.Series{
			Labels: labels.FromStrings(model.MetricNameLabel, name, "a", "b", "z", ""),
			Family: &storage.Family{Help: "Help of " + name, Unit: "seconds", Type: kind},
		}
	}
	counter, bucket := series("c_total", model.MetricTypeCounter), series("h_bucket", model.MetricTypeHistogram)
	native, bare := series("h", model.MetricTypeHistogram), &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "bare"), Family: &storage.Family{}}
	x := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc", "x", "y"), Value: -3, Ts: 77, HasTs: true}
	e := &encoder{cache: newSeriesCache()}
	frame := encodePoints(t, e, []point{
		{series: counter, st: 5, t: 10, v: 1.5, exemplars: []exemplar.Exemplar{x}},
		{series: counter, st: 5, t: 11, v: math.Inf(1)},
		{series: bucket, t: -1, v: 3},
		{series: native, st: 4, t: 12, h: testHistogram(1)},
		{series: native, st: 4, t: 13, fh: testFloatHistogram(2)},
		{series: bare, t: 14, v: 0},
	})
	body, err := new(transcoder).transcode(frame[frameHeaderSize:])
	require.NoError(t, err)
	raw, err := s2.Decode(nil, body)
	require.NoError(t, err)
	var got prompb.WriteRequest
	require.NoError(t, got.Unmarshal(raw))

	ls := func(s *storage.Series) []prompb.Label { return prompb.FromLabels(s.Labels, nil) }
	require.Equal(t, []prompb.TimeSeries{
		{
			Labels: ls(counter), Samples: []prompb.Sample{{Value: 1.5, Timestamp: 10}},
			Exemplars: []prompb.Exemplar{{Labels: prompb.FromLabels(x.Labels, nil), Value: -3, Timestamp: 77}},
		},
		{Labels: ls(counter), Samples: []prompb.Sample{{Value: math.Inf(1), Timestamp: 11}}},
		{Labels: ls(bucket), Samples: []prompb.Sample{{Value: 3, Timestamp: -1}}},
		{Labels: ls(native), Histograms: []prompb.Histogram{prompb.FromIntHistogram(12, testHistogram(1))}},
		{Labels: ls(native), Histograms: []prompb.Histogram{prompb.FromFloatHistogram(13, testFloatHistogram(2))}},
		{Labels: ls(bare), Samples: []prompb.Sample{{Timestamp: 14}}},
	}, got.Timeseries)
	require.Equal(t, []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "c_total", Help: "Help of c_total", Unit: "seconds"},
		{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "h", Help: "Help of h_bucket", Unit: "seconds"},
		{Type: prompb.MetricMetadata_HISTOGRAM, MetricFamilyName: "h", Help: "Help of h", Unit: "seconds"},
	}, got.Metadata)
}

func FuzzTranscode(f *testing.F) {
	e := &encoder{cache: newSeriesCache()}
	frame := encodePoints(f, e, []point{
		{series: testSeries(1), st: 5, t: 10, v: 1.5, exemplars: []exemplar.Exemplar{{Labels: labels.FromStrings("a", "b")}}},
		{series: testSeries(2), t: 12, h: testHistogram(1)},
	})
	raw, err := s2.Decode(nil, frame[frameHeaderSize:])
	require.NoError(f, err)
	f.Add(raw)
	t1 := new(transcoder)
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, err := t1.transcode(s2.EncodeSnappy(nil, raw))
		if err != nil {
			return
		}
		out, err := s2.Decode(nil, body)
		require.NoError(t, err)
		require.NoError(t, eachField(out, func(_ protowire.Number, _, _ []byte) error { return nil }))
		_, _ = t1.transcode(raw)
	})
}
