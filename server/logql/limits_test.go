package logql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestLimits(t *testing.T) {
	logs := func(e *Engine, text string) error {
		_, err := e.Logs(t.Context(), Query{Text: text, End: 1000 * second}, func(*Entry) error { return nil })
		return err
	}
	metric := func(e *Engine, text string) error {
		_, _, err := e.Metric(t.Context(), Query{Text: text, Start: 60 * second, End: 120 * second, Step: time.Second})
		return err
	}
	for name, c := range map[string]struct {
		opts  Options
		run   func(*Engine, string) error
		query string
		want  string
	}{
		"entries":      {Options{MaxEntries: 10}, logs, `{}`, "10 entries; narrow it down, or raise --logs-query-max-entries"},
		"bytes":        {Options{MaxBytes: 100}, logs, `{}`, "100 bytes read; narrow it down, or raise --logs-query-max-bytes"},
		"metric bytes": {Options{MaxBytes: 100}, metric, `rate({} | logfmt [1m])`, "100 bytes read; narrow it down, or raise --logs-query-max-bytes"},
		"series":       {Options{MaxSeries: 6}, metric, `sum by (user) (rate({} | logfmt [1m]))`, "6 series; narrow it down, or raise --logs-query-max-series"},
		"long labels":  {Options{MaxSamples: 300}, metric, `sum by (long) (rate({} | label_format long="{{repeat 9000 .app}}" [1m]))`, "300 samples in memory; narrow it down, or raise --logs-query-max-samples"},
		"replacement":  {Options{MaxSamples: 300}, metric, "label_replace(sum(rate({}[1m])), \"a\", \"" + strings.Repeat("x", 20_000) + `", "b", ".*")`, "300 samples in memory; narrow it down, or raise --logs-query-max-samples"},
		"cells":        {Options{MaxSamples: 20}, metric, `sum by (user) (rate({} | logfmt [1m]))`, "20 samples in memory; narrow it down, or raise --logs-query-max-samples"},
		"window":       {Options{MaxSamples: 20}, metric, `quantile_over_time(0.5, {} | logfmt | unwrap n [1m]) by ()`, "20 samples in memory; narrow it down, or raise --logs-query-max-samples"},
		"result":       {Options{MaxSamples: 60}, metric, `vector(1)`, "60 samples in memory; narrow it down, or raise --logs-query-max-samples"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := newEngine(t, c.opts, numbered(100)...)
			err := c.run(e, c.query)
			require.ErrorIs(t, err, storage.ErrQueryLimit)
			require.EqualError(t, err, "the query reached its limit of "+c.want)
		})
	}
}

func TestWindowGivesBack(t *testing.T) {
	e, _ := newEngine(t, Options{MaxSamples: 40}, numbered(1000)...)
	_, _, err := e.Metric(t.Context(), Query{
		Text: `quantile_over_time(0.5, {} | logfmt | unwrap n [10s]) by ()`, Start: 60 * second, End: 900 * second, Step: time.Minute,
	})
	require.NoError(t, err, "a window holds 10 samples, the result 15")
}

func TestEntriesAtTheirLimit(t *testing.T) {
	e, _ := newEngine(t, Options{MaxEntries: 10}, numbered(10)...)
	got, err := lines(t, e, Query{Text: `{}`, End: 1000 * second})
	require.NoError(t, err, "there are no more")
	require.Len(t, got, 10)
}

func TestTooManySteps(t *testing.T) {
	e, _ := newEngine(t, Options{})
	_, _, err := e.Metric(t.Context(), Query{Text: `rate({}[1m])`, End: maxSteps * second, Step: time.Second})
	require.ErrorContains(t, err, "exceeded maximum resolution of 11000 points per time series")
}

func TestTimeout(t *testing.T) {
	e, store := newEngine(t, Options{Timeout: 20 * time.Millisecond}, numbered(10)...)
	store.block = true
	_, err := lines(t, e, Query{Text: `{}`, End: second})
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	require.ErrorContains(t, err, "20ms of time; narrow it down, or raise --query-timeout")
}

func TestCancel(t *testing.T) {
	reg := prometheus.NewRegistry()
	e, store := newEngine(t, Options{Registerer: reg}, numbered(10)...)
	store.block = true
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, _, err := e.Metric(ctx, Query{Text: `rate({} | logfmt [1m])`, End: second})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP binnacle_logql_queries_total LogQL queries that ended, by kind (logs, metric, tail, volume) and result (ok, bad_query, limit, canceled, error).
# TYPE binnacle_logql_queries_total counter
binnacle_logql_queries_total{kind="metric",result="canceled"} 1
`), "binnacle_logql_queries_total"))
}

func TestTooManyLabels(t *testing.T) {
	r := numbered(1)[0]
	for i := range 2 * maxExtracted {
		r.Line = fmt.Appendf(r.Line, " k%d=v", i)
	}
	e, _ := newEngine(t, Options{}, r)
	_, err := e.Logs(t.Context(), Query{Text: `{} | logfmt`, End: 100 * second}, func(entry *Entry) error {
		require.Equal(t, maxExtracted+2, entry.Parsed.Len(), "and the error")
		require.Equal(t, errLabels, entry.Labels.Get(errorLabel))
		return nil
	})
	require.NoError(t, err)
	_, _, err = e.Metric(t.Context(), Query{Text: `sum by (k999) (count_over_time({} | logfmt [5m]))`, End: 100 * second})
	require.NoError(t, err, "one label is needed")
}
