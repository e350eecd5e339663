package tsdb

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

// TestPromtool has promtool, if there is one, read blocks and log, native
// histograms and late samples among them.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	dir := t.TempDir()
	db, err := Open(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	series, n := newSeries("promtool", 5), 0
	for ts := time.Now().Add(-8 * time.Hour).UnixMilli(); ts < time.Now().UnixMilli(); ts += 60_000 {
		require.NoError(t, db.Append(t.Context(), samples(series, ts)))
		n++
		app := db.Storage().AppenderV2(t.Context())
		for name, h := range map[string]*histogram.Histogram{
			"exponential": tsdbutil.GenerateTestHistogram(ts / 1000),
			"custom":      tsdbutil.GenerateTestCustomBucketsHistogram(ts / 1000),
		} {
			_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, name), 0, ts, 0, h, nil, upstream.AOptions{})
			require.NoError(t, err)
		}
		require.NoError(t, app.Commit())
	}
	require.NoError(t, current(db).Compact(t.Context()))
	require.NoError(t, db.Append(t.Context(), samples(series, time.Now().Add(-3*time.Hour).UnixMilli())))
	require.NoError(t, db.Close())

	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), promtool, append([]string{"tsdb"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Contains(t, run("list", dir), "BLOCK ULID")
	require.Contains(t, run("analyze", dir), "Series: 7")
	require.Equal(t, 5*(n+1), strings.Count(run("dump", dir), `__name__="promtool"`))
}
