package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

const protobufAccept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// federated asks for all series and returns the families in their order.
func (f *fixture) families(t *testing.T, path string) []*dto.MetricFamily {
	t.Helper()
	req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
	req.Header.Set("Accept", protobufAccept)
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	var out []*dto.MetricFamily
	dec := expfmt.NewDecoder(bytes.NewReader(rec.Body.Bytes()), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		mf := &dto.MetricFamily{}
		err := dec.Decode(mf)
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, mf)
	}
}

func TestFederateText(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	now := epoch.Add(time.Minute)
	app := f.store.Appender(context.Background())
	add := func(ts time.Time, v float64, pairs ...string) {
		_, err := app.Append(0, labels.FromStrings(pairs...), ts.UnixMilli(), v)
		require.NoError(t, err)
	}
	add(now.Add(-6*time.Minute), 1, "__name__", "too_old")
	add(now.Add(-4*time.Minute), 1, "__name__", "recent")
	add(now.Add(-2*time.Minute), 2, "__name__", "recent")
	add(now, 3, "__name__", "at_the_end", "instance", "own", "cluster", "own")
	add(now.Add(time.Second), 4, "__name__", "of_the_future")
	add(now.Add(-2*time.Minute), 5, "__name__", "ended")
	add(now.Add(-time.Minute), math.Float64frombits(value.StaleNaN), "__name__", "ended")
	require.NoError(t, app.Commit())

	rec := f.do(http.MethodGet, `/federate?match[]={__name__=~"a.*|too_old|ended|of_.*"}&match[]=recent&match[]={__name__=~"re.*"}`, "", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, `# TYPE at_the_end untyped
at_the_end{cluster="own",instance="own"} 3 1767322860000
# TYPE recent untyped
recent{cluster="c1",instance=""} 2 1767322740000
`, rec.Body.String())
}

func TestFederateHistograms(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	app := f.store.Appender(context.Background())
	ts := epoch.UnixMilli()
	native := tsdbutil.GenerateTestFloatHistogram(1)
	gauge := tsdbutil.GenerateTestGaugeFloatHistogram(1)
	custom := &histogram.FloatHistogram{
		Schema: histogram.CustomBucketsSchema, Count: 6, Sum: 9, CustomValues: []float64{1, 2, 4},
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 1}, {Offset: 1, Length: 2}}, PositiveBuckets: []float64{1, 2, 3},
	}
	for name, h := range map[string]*histogram.FloatHistogram{"native": native, "native_gauge": gauge, "custom": custom} {
		_, err := app.AppendHistogram(0, labels.FromStrings("__name__", name), ts, nil, h)
		require.NoError(t, err)
	}
	// One metric that changed from float to histogram in another series.
	_, err := app.Append(0, labels.FromStrings("__name__", "native", "kind", "float"), ts, 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())

	const all = `/federate?match[]={__name__=~".%2B"}`
	families := f.families(t, all)
	require.Len(t, families, 4)
	names := make([]string, 0, 4)
	for _, mf := range families {
		names = append(names, mf.GetName()+" "+mf.GetType().String())
	}
	require.Equal(t, []string{"custom HISTOGRAM", "native HISTOGRAM", "native UNTYPED", "native_gauge GAUGE_HISTOGRAM"}, names)

	got := families[1].GetMetric()[0].GetHistogram()
	require.InDelta(t, native.Count, got.GetSampleCountFloat(), 0)
	require.Equal(t, native.Schema, got.GetSchema())
	require.Equal(t, native.PositiveBuckets, got.GetPositiveCount())
	require.Equal(t, native.NegativeBuckets, got.GetNegativeCount())
	require.Len(t, got.GetPositiveSpan(), len(native.PositiveSpans))

	var counts []float64
	for _, b := range families[0].GetMetric()[0].GetHistogram().GetBucket() {
		counts = append(counts, b.GetCumulativeCountFloat())
	}
	require.Equal(t, []float64{1, 1, 3}, counts, "the bucket between has no samples")

	text := f.do(http.MethodGet, all, "", "").Body.String()
	require.NotContains(t, text, "native_gauge", "text cannot express native histograms")
	require.Contains(t, text, `custom_bucket{cluster="c1",instance="",le="+Inf"} 6`)
	require.Contains(t, text, `native{kind="float",cluster="c1",instance=""} 1`)
}

func TestFederateRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	rec := f.do(http.MethodGet, "/federate?match[]={", "", "")
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), "parse error")

	f.federate.max = 1
	rec = f.do(http.MethodGet, "/federate?match[]=http_requests_total", "", "")
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.Contains(t, rec.Body.String(), "more than 1 series match")
}
