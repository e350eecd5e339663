package tsdb

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

func TestMetadata(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	now := time.Now().UnixMilli()
	require.NoError(t, db.Append(t.Context(), samples(newSeries("family", 2), now)))

	v1 := db.Storage().Appender(t.Context())
	ref, err := v1.Append(0, labels.FromStrings(model.MetricNameLabel, "request_seconds_bucket", "le", "1"), now, 1)
	require.NoError(t, err)
	histogram := metadata.Metadata{Type: model.MetricTypeHistogram, Help: strings.Repeat("é", maxHelpBytes)}
	_, err = v1.UpdateMetadata(ref, labels.FromStrings(model.MetricNameLabel, "request_seconds_bucket", "le", "1"), histogram)
	require.NoError(t, err)
	require.NoError(t, v1.Commit())

	v2 := db.Storage().AppenderV2(t.Context())
	counter := metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests."}
	_, err = v2.Append(0, labels.FromStrings(model.MetricNameLabel, "requests_total"), 0, now, 1, nil, nil, upstream.AOptions{Metadata: counter})
	require.NoError(t, err)
	require.NoError(t, v2.Commit())

	histogram.Help = strings.Repeat("é", maxHelpBytes/2)
	require.Equal(t, map[string]metadata.Metadata{
		"family":          {Type: model.MetricTypeGauge, Help: "Help of family.", Unit: "bytes"},
		"request_seconds": histogram,
		"requests_total":  counter,
	}, db.Metadata())

	for i := range maxFamilies {
		db.families.learn(fmt.Sprint("f", i), counter)
	}
	require.Len(t, db.Metadata(), maxFamilies)
	require.InDelta(t, 3, testutil.ToFloat64(db.metrics.metadataDropped), 0)
}

func TestHistogramsAndExemplars(t *testing.T) {
	dir := t.TempDir()
	now := minuteAgo()
	db, err := Open(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	ls := labels.FromStrings(model.MetricNameLabel, "latency_seconds")
	want := tsdbutil.GenerateTestHistogram(3)
	app := db.Storage().AppenderV2(t.Context())
	_, err = app.Append(0, ls, 0, now, 0, want, nil, upstream.AOptions{Exemplars: []exemplar.Exemplar{
		{Labels: labels.FromStrings("trace_id", "abc"), Value: 1, Ts: now, HasTs: true},
	}})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	require.NoError(t, db.Close())

	db = open(t, Options{Dir: dir})
	q, err := db.Storage().Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer q.Close()
	byName := labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "latency_seconds")
	set := q.Select(t.Context(), false, nil, byName)
	require.True(t, set.Next())
	it := set.At().Iterator(nil)
	require.Equal(t, chunkenc.ValHistogram, it.Next())
	_, got := it.AtHistogram(nil)
	require.Equal(t, want.Count, got.Count)
	require.Equal(t, want.PositiveBuckets, got.PositiveBuckets)

	eq, err := db.Exemplars().ExemplarQuerier(t.Context())
	require.NoError(t, err)
	found, err := eq.Select(now, now, []*labels.Matcher{byName})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "abc", found[0].Exemplars[0].Labels.Get("trace_id"))
}
