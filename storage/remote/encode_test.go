package remote

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// containerSeries makes the series of n containers with 45 families each, with
// labels like those that the collector makes.
func containerSeries(n int) []*storage.Series {
	families := make([]*storage.Family, 45)
	for i := range families {
		families[i] = &storage.Family{
			Name: fmt.Sprintf("container_family_%02d_seconds_total", i),
			Help: fmt.Sprintf("Cumulative something number %d of the container.", i),
			Unit: "seconds", Type: model.MetricTypeCounter,
		}
	}
	var out []*storage.Series
	for c := range n {
		id := fmt.Sprintf("%064x", c*7919)
		for _, f := range families {
			out = append(out, &storage.Series{Family: f, Labels: labels.FromStrings(
				model.MetricNameLabel, f.Name, "container", fmt.Sprintf("app-%d", c%17), "namespace", fmt.Sprintf("team-%d", c%9),
				"pod", fmt.Sprintf("app-%d-6d4cf56db6-%05d", c%17, c), "image", fmt.Sprintf("registry.example.org/team/app-%d@sha256:%064x", c%17, c%17),
				"id", fmt.Sprintf("/kubepods/burstable/pod%08x-1111-2222-3333-444455556666/%s", c, id), "name", id,
				"node", "node-a", "instance", "node-a", "job", "cadvisor", "metrics_path", "/metrics/cadvisor",
			)})
		}
	}
	return out
}

func testHistogram(i int64) *histogram.Histogram {
	return &histogram.Histogram{
		Count: 12 + uint64(i*9), ZeroCount: 2 + uint64(i), ZeroThreshold: 0.001, Sum: 18.4 * float64(i+1), Schema: 1,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}}, PositiveBuckets: []int64{i + 1, 1, -1, 0},
		NegativeSpans: []histogram.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}}, NegativeBuckets: []int64{i + 1, 1, -1, 0},
	}
}

func testFloatHistogram(i int64) *histogram.FloatHistogram { return testHistogram(i).ToFloat(nil) }

// decodeFrame returns the request in a frame by upstream's code.
func decodeFrame(t testing.TB, frame []byte) (frameHeader, *writev2.Request) {
	t.Helper()
	h, err := parseFrameHeader(frame)
	require.NoError(t, err)
	require.Len(t, frame, int(h.size()))
	raw, err := s2.Decode(nil, frame[frameHeaderSize:])
	require.NoError(t, err)
	var r writev2.Request
	require.NoError(t, r.Unmarshal(raw))
	return h, &r
}

// encodePoints encodes points into one request with the cache of e.
func encodePoints(t testing.TB, e *encoder, points []point) []byte {
	t.Helper()
	e.begin()
	for i := range points {
		s, err := e.cache.lookup(points[i].series, 1)
		require.NoError(t, err)
		require.NoError(t, e.add(s, &points[i]))
	}
	return e.finish(time.UnixMilli(5))
}

func requireEncoded(t *testing.T, points []point, r *writev2.Request) {
	t.Helper()
	require.Empty(t, r.Symbols[0])
	require.Len(t, r.Timeseries, len(points))
	b := labels.NewScratchBuilder(0)
	for i, p := range points {
		ts := r.Timeseries[i]
		ls, err := ts.ToLabels(&b, r.Symbols)
		require.NoError(t, err)
		require.True(t, labels.Equal(p.series.Labels, ls), "%s != %s", p.series.Labels, ls)
		m, err := ts.ToMetadata(r.Symbols)
		require.NoError(t, err)
		require.Equal(t, *p.series.Family, storage.Family{Name: p.series.Family.Name, Type: m.Type, Help: m.Help, Unit: m.Unit})
		switch {
		case p.h != nil:
			require.Equal(t, []writev2.Histogram{writev2.FromIntHistogram(p.st, p.t, p.h)}, ts.Histograms)
		case p.fh != nil:
			require.Equal(t, []writev2.Histogram{writev2.FromFloatHistogram(p.st, p.t, p.fh)}, ts.Histograms)
		default:
			require.Len(t, ts.Samples, 1)
			s := ts.Samples[0]
			require.Equal(t, []uint64{math.Float64bits(p.v), uint64(p.t), uint64(p.st)},
				[]uint64{math.Float64bits(s.Value), uint64(s.Timestamp), uint64(s.StartTimestamp)})
		}
		require.Len(t, ts.Exemplars, len(p.exemplars))
		for j, x := range p.exemplars {
			got, err := ts.Exemplars[j].ToExemplar(&b, r.Symbols)
			require.NoError(t, err)
			require.True(t, x.Equals(got), "%v != %v", x, got)
		}
	}
}

func TestEncodeDecodesWithUpstreamTypes(t *testing.T) {
	counter := &storage.Family{Name: "c", Help: "A counter.", Unit: "seconds", Type: model.MetricTypeCounter}
	bare := &storage.Family{Name: "bare", Type: model.MetricTypeUnknown}
	s1 := &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "c", "a", "b", "b", "a"), Family: counter}
	s2 := &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "bare"), Family: bare}
	trace := exemplar.Exemplar{Labels: labels.FromStrings("trace_id", "abc"), Value: -3, Ts: 77, HasTs: true}
	points := []point{
		{series: s1, t: 1_700_000_000_000, v: 1.5},
		{series: s2, t: -1, v: math.Copysign(0, -1)},
		{series: s1, st: 12, t: 13, v: 0, exemplars: []exemplar.Exemplar{trace, {Value: 1}}},
		{series: s2, t: 14, v: math.Float64frombits(value.StaleNaN)},
		{series: s1, st: 3, t: 15, h: testHistogram(3), exemplars: []exemplar.Exemplar{trace}},
		{series: s1, t: 16, fh: testFloatHistogram(4)},
		{series: s2, t: math.MaxInt64, v: math.Inf(-1)},
	}
	e := &encoder{cache: newSeriesCache()}
	for range 3 { // the second time everything is cached
		h, r := decodeFrame(t, encodePoints(t, e, points))
		require.Equal(t, frameHeader{counts: counts{samples: 5, histograms: 2, exemplars: 3}, bodyLen: h.bodyLen, bodyCRC: h.bodyCRC, created: 5}, h)
		requireEncoded(t, points, r)
	}
}

func TestEncodeEachSymbolOnce(t *testing.T) {
	series := containerSeries(20)
	points := make([]point, len(series))
	for i, s := range series {
		points[i] = point{series: s, t: 1, v: float64(i)}
	}
	e := &encoder{cache: newSeriesCache()}
	_, r := decodeFrame(t, encodePoints(t, e, points))
	requireEncoded(t, points, r)
	seen := map[string]bool{}
	for _, s := range r.Symbols {
		require.False(t, seen[s], "symbol %q twice", s)
		seen[s] = true
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), "name", "value", "help", int64(5), 1.5)
	f.Add(uint64(2), "", "\xff", "", int64(-5), math.NaN())
	f.Fuzz(func(t *testing.T, seed uint64, name, val, help string, ts int64, v float64) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		e := &encoder{cache: newSeriesCache()}
		var points []point
		var series []*storage.Series
		for i := range 1 + rnd.IntN(8) {
			s := &storage.Series{
				Labels: labels.FromStrings(model.MetricNameLabel, "m"+name, "a", val, fmt.Sprintf("l%d", rnd.IntN(3)), fmt.Sprint(i)),
				Family: &storage.Family{Help: help, Type: model.MetricTypeGauge},
			}
			if checkSeries(s) == nil {
				series = append(series, s)
			}
		}
		if len(series) == 0 {
			return
		}
		for range rnd.IntN(40) {
			p := point{series: series[rnd.IntN(len(series))], st: rnd.Int64N(3), t: ts + rnd.Int64N(9), v: v}
			switch rnd.IntN(6) {
			case 0:
				p.h = testHistogram(rnd.Int64N(9))
			case 1:
				p.fh = testFloatHistogram(rnd.Int64N(9))
			}
			points = append(points, p)
		}
		_, r := decodeFrame(t, encodePoints(t, e, points))
		for i := range points {
			points[i].series.Family.Name = "" // not encoded
		}
		requireEncoded(t, points, r)
	})
}

func TestCacheForgetsEndedAndIdleSeries(t *testing.T) {
	c := newSeriesCache()
	family := &storage.Family{}
	add := func(i int, now int64) *storage.Series {
		s := &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "m", "i", fmt.Sprint(i)), Family: family}
		_, err := c.lookup(s, now)
		require.NoError(t, err)
		return s
	}
	s := add(0, 1)
	c.drop(s)
	require.Zero(t, s.Ref)
	require.Equal(t, uint64(1), add(1, 1).Ref, "the free place is used again")

	// Far more series than the limit come and go: the cache stays bounded.
	now := int64(1)
	var live *storage.Series
	for i := range 4 * minCachedSeries {
		if i%1000 == 0 {
			now += 60
			c.shrink(now)
			if live != nil {
				_, err := c.lookup(live, now)
				require.NoError(t, err)
			}
		}
		last := add(2+i, now)
		if live == nil {
			live = last
		}
	}
	require.LessOrEqual(t, len(c.list), minCachedSeries+2000)
	require.LessOrEqual(t, len(c.symbols.list), minCachedSeries+2100)
	require.Same(t, live, c.list[live.Ref].series)
}

func TestCacheNeverMixesSeries(t *testing.T) {
	c := newSeriesCache()
	family := &storage.Family{}
	a := &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "a"), Family: family}
	b := &storage.Series{Labels: labels.FromStrings(model.MetricNameLabel, "b"), Family: family, Ref: 1} // wrong
	_, err := c.lookup(a, 1)
	require.NoError(t, err)
	e, err := c.lookup(b, 1)
	require.NoError(t, err)
	require.Same(t, b, e.series)
	require.NotEqual(t, a.Ref, b.Ref)
}
