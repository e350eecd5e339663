package logql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

const second = int64(time.Second)

var cart = &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", "cart-1", "app", "cart")}

// numbered are n records a second apart, from second 1 on.
func numbered(n int) []storage.Record {
	records := make([]storage.Record, n)
	for i := range records {
		level := storage.LevelInfo
		if i%10 == 0 {
			level = storage.LevelError
		}
		records[i] = storage.Record{
			Stream: cart, Time: int64(i+1) * second, Source: storage.SourceID{1}, Offset: int64(i), Level: level,
			Line: fmt.Appendf(nil, `level=%s n=%d user=u%d`, level, i, i%7),
		}
	}
	return records
}

// recorder keeps the queries that a store was asked.
type recorder struct {
	*storagetest.Memory
	queries []storage.LogQuery
	counts  int
	inexact bool
	fail    error
	block   bool
}

func (r *recorder) Select(ctx context.Context, q storage.LogQuery) (storage.LogIterator, error) {
	r.queries = append(r.queries, q)
	if r.block {
		return &blockedIterator{ctx}, nil
	}
	it, err := r.Memory.Select(ctx, q)
	if err == nil && r.fail != nil {
		return &failingIterator{it, r.fail}, nil
	}
	return it, err
}

func (r *recorder) Count(ctx context.Context, q storage.LogQuery, step int64, by []string) ([]storage.LogCount, bool, error) {
	r.counts++
	if r.inexact {
		return nil, false, nil
	}
	return r.Memory.Count(ctx, q, step, by)
}

// failingIterator fails after the first records.
type failingIterator struct {
	storage.LogIterator
	err error
}

func (it *failingIterator) Next() ([]storage.Record, error) {
	records, err := it.LogIterator.Next()
	if errors.Is(err, io.EOF) {
		err = it.err
	}
	return records, err
}

type blockedIterator struct{ ctx context.Context }

func (it *blockedIterator) Next() ([]storage.Record, error) {
	<-it.ctx.Done()
	return nil, it.ctx.Err()
}

func (it *blockedIterator) Stats() storage.LogStats { return storage.LogStats{} }

func (it *blockedIterator) Close() error { return nil }

func newEngine(t *testing.T, opts Options, records ...storage.Record) (*Engine, *recorder) {
	t.Helper()
	store := &recorder{Memory: storagetest.NewMemory()}
	require.NoError(t, store.Write(t.Context(), records))
	opts.Store = store
	e, err := New(opts)
	require.NoError(t, err)
	return e, store
}

func lines(t *testing.T, e *Engine, q Query) ([]string, error) {
	t.Helper()
	var out []string
	_, err := e.Logs(t.Context(), q, func(entry *Entry) error {
		out = append(out, string(entry.Line))
		return nil
	})
	return out, err
}

func TestPushDown(t *testing.T) {
	all := "line filter pushed"
	for query, want := range map[string]struct {
		lines  int
		levels uint8
		limit  int
	}{
		`{app="cart"}`: {0, 0, 5},
		`{app="cart"} |= "a" !~ "b" | logfmt |= "c"`:                  {3, 0, 5},
		`{app="cart"} | line_format "x" |= "c"`:                       {0, 0, 0},
		`{app="cart"} |= "a" | unpack |= "c"`:                         {1, 0, 0},
		`{app="cart"} | decolorize != "c"`:                            {0, 0, 0},
		`{app="cart"} |= ip("10.0.0.1")`:                              {0, 0, 0},
		`{app="cart"} |= "n" | level="error"`:                         {1, 1 << storage.LevelError, 5},
		`{app="cart"} | level=~"error|warn" | detected_level!="warn"`: {0, 1 << storage.LevelError, 5},
		`{app="cart", level="error"}`:                                 {0, 1 << storage.LevelError, 5},
		`{app="cart"} | level="error" or level="info"`:                {0, 1<<storage.LevelError | 1<<storage.LevelInfo, 5},
		`{app="cart"} | level="error" or n="1"`:                       {0, 0, 0},
		`{app="cart"} | logfmt | level="error"`:                       {0, 0, 0},
		`{app="cart"} | drop level | level=""`:                        {0, 0, 0},
		`{app="cart"} | label_format level="error" | level="error"`:   {0, 0, 0},
		`{app="cart"} | line_format "x" | level="error"`:              {0, 1 << storage.LevelError, 5},
		`{app="cart"} | level!=""`:                                    {0, allLevels &^ 1, 5},
		`{app="cart"} | level=~".*"`:                                  {0, 0, 5},
	} {
		t.Run(query, func(t *testing.T) {
			e, store := newEngine(t, Options{}, numbered(20)...)
			_, err := lines(t, e, Query{Text: query, End: 100 * second, Limit: 5})
			require.NoError(t, err)
			require.Len(t, store.queries, 1, all)
			q := store.queries[0]
			require.Equal(t, []int{want.lines, int(want.levels), want.limit}, []int{len(q.Lines), int(q.Levels), q.Limit})
			require.Equal(t, storage.Descending, q.Order)
			require.False(t, q.NoLine)
		})
	}
}

func TestNoSuchLevel(t *testing.T) {
	e, store := newEngine(t, Options{}, numbered(20)...)
	got, err := lines(t, e, Query{Text: `{} | level="error" | level="info"`, End: 100 * second})
	require.NoError(t, err)
	require.Empty(t, got)
	_, _, err = e.Metric(t.Context(), Query{Text: `count_over_time({} | level="loud" [5m])`, End: 100 * second})
	require.NoError(t, err)
	require.Empty(t, store.queries, "no record can match, the store is not asked")
}

func TestCountsAreAskedOfStore(t *testing.T) {
	for query, want := range map[string]struct {
		counts int
		noLine bool
		order  storage.Order
	}{
		`sum(count_over_time({app="cart"} |= "n" [1m]))`:                        {1, true, 0},
		`sum by (level, pod) (rate({app="cart"}[1m]))`:                          {1, true, 0},
		`sum by (detected_level) (bytes_over_time({app="cart"}[1m]))`:           {1, true, 0},
		`absent_over_time({app="cart"}[1m])`:                                    {1, true, 0},
		`sum by (app) (count_over_time({app="cart"}[1m]))`:                      {0, true, 0}, // app may be a record's own label
		`count_over_time({app="cart"}[1m])`:                                     {0, true, 0},
		`sum by (pod) (bytes_rate({app="cart"} | user="x" [1m]))`:               {0, true, 0},
		`sum by (user) (count_over_time({app="cart"} | logfmt [1m]))`:           {0, false, 0},
		`sum(count_over_time({app="cart"} | logfmt [1m]))`:                      {1, true, 0}, // nothing is needed of logfmt
		`sum(count_over_time({app="cart"} | logfmt | __error__="" [1m]))`:       {0, false, 0},
		`sum(sum_over_time({app="cart"} | logfmt | unwrap n [1m]))`:             {0, false, storage.Ascending},
		`max(max_over_time({app="cart"} | logfmt | unwrap n [1m]))`:             {0, false, 0},
		`quantile_over_time(0.5, {app="cart"} | logfmt | unwrap n [1m])`:        {0, false, storage.Ascending},
		`sum by (pod) (bytes_rate({app="cart"} | line_format "{{.pod}}" [1m]))`: {0, false, 0},
	} {
		t.Run(query, func(t *testing.T) {
			e, store := newEngine(t, Options{}, numbered(20)...)
			_, _, err := e.Metric(t.Context(), Query{Text: query, Start: 60 * second, End: 120 * second, Step: time.Minute})
			require.NoError(t, err)
			require.Equal(t, want.counts, store.counts)
			require.Len(t, store.queries, 1-want.counts, "each record is read once")
			for _, q := range store.queries {
				require.Equal(t, want.noLine, q.NoLine)
				require.Equal(t, want.order, q.Order)
				require.Equal(t, []int64{1, 120*second + 1}, []int64{q.Start, q.End}, "(start-range, end]")
			}
		})
	}
}

func TestInexactCountsAreRead(t *testing.T) {
	e, store := newEngine(t, Options{}, numbered(20)...)
	store.inexact = true
	v, _, err := e.Metric(t.Context(), Query{Text: `sum(count_over_time({app="cart"} |= "n" [1m]))`, End: 60 * second})
	require.NoError(t, err)
	require.Equal(t, 20.0, v.(promql.Vector)[0].F)
	require.Equal(t, 1, store.counts)
	require.Len(t, store.queries, 1)
}

func TestLimitIsOfWhatIsLeft(t *testing.T) {
	e, _ := newEngine(t, Options{}, numbered(100)...)
	got, err := lines(t, e, Query{Text: `{} | logfmt | user="u3"`, End: 1000 * second, Order: storage.Ascending, Limit: 3})
	require.NoError(t, err)
	require.Equal(t, []string{"level=info n=3 user=u3", "level=error n=10 user=u3", "level=info n=17 user=u3"}, got)
}

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
	require.ErrorContains(t, err, "20ms of time; narrow it down, or raise --logs-query-timeout")
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
# HELP binnacle_logql_queries_total LogQL queries that ended, by kind (logs, metric, tail, volume) and result (ok, parse_error, limit, canceled, error).
# TYPE binnacle_logql_queries_total counter
binnacle_logql_queries_total{kind="metric",result="canceled"} 1
`), "binnacle_logql_queries_total"))
}

func TestStoreFails(t *testing.T) {
	e, store := newEngine(t, Options{}, numbered(10)...)
	store.fail = errors.New("block is broken")
	got, err := lines(t, e, Query{Text: `{}`, End: 100 * second})
	require.ErrorIs(t, err, store.fail)
	require.Len(t, got, 10, "what was read before it is emitted")
	_, _, err = e.Metric(t.Context(), Query{Text: `sum by (user) (rate({} | logfmt [1m]))`, End: second})
	require.ErrorIs(t, err, store.fail)
}

func TestEmitEndsQuery(t *testing.T) {
	e, _ := newEngine(t, Options{}, numbered(10)...)
	gone, n := errors.New("client is gone"), 0
	stats, err := e.Logs(t.Context(), Query{Text: `{}`, End: 100 * second}, func(*Entry) error {
		n++
		if n == 3 {
			return gone
		}
		return nil
	})
	require.ErrorIs(t, err, gone)
	require.Equal(t, int64(2), stats.Entries)
}

func TestWrongKind(t *testing.T) {
	e, _ := newEngine(t, Options{})
	_, err := lines(t, e, Query{Text: `rate({}[1m])`})
	require.ErrorIs(t, err, errNeedLogs)
	_, _, err = e.Metric(t.Context(), Query{Text: `{}`})
	require.ErrorIs(t, err, errNeedMetric)
	require.ErrorIs(t, e.Tail(t.Context(), Query{Text: `rate({}[1m])`}, nil, nil), errNeedLogs)
	_, err = lines(t, e, Query{Text: `{`})
	var parse *ParseError
	require.ErrorAs(t, err, &parse)
}

func TestEntryParts(t *testing.T) {
	r := numbered(1)[0]
	r.Metadata = labels.FromStrings("trace", "t1", "app", "hidden")
	e, _ := newEngine(t, Options{}, r)
	_, err := e.Logs(t.Context(), Query{Text: `{} | logfmt | label_format pod="{{.pod}}!" | drop namespace`, End: 100 * second}, func(entry *Entry) error {
		require.Equal(t, `{app="cart", level="error", n="0", pod="cart-1!", trace="t1", user="u0"}`, entry.Labels.String())
		require.Equal(t, `{app="cart"}`, entry.Stream.String())
		require.Equal(t, `{trace="t1"}`, entry.Metadata.String(), "the level was parsed")
		require.Equal(t, `{level="error", n="0", pod="cart-1!", user="u0"}`, entry.Parsed.String())
		require.Equal(t, r.Time, entry.Time)
		require.Equal(t, "level=error n=0 user=u0", string(entry.Record.Line))
		return nil
	})
	require.NoError(t, err)
}

func TestOptions(t *testing.T) {
	_, err := New(Options{})
	require.EqualError(t, err, "logql: no store given")
	_, err = New(Options{Store: storagetest.NewMemory(), MaxSeries: -1})
	require.ErrorContains(t, err, "negative limit")
	reg := prometheus.NewRegistry()
	_, err = New(Options{Store: storagetest.NewMemory(), Registerer: reg})
	require.NoError(t, err)
	_, err = New(Options{Store: storagetest.NewMemory(), Registerer: reg})
	require.Error(t, err, "metrics are registered already")
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestLabelsAreCopies keeps labels of entries beyond the records' memory,
// which the reference store overwrites.
func TestLabelsAreCopies(t *testing.T) {
	e, _ := newEngine(t, Options{}, numbered(50)...)
	var got []labels.Labels
	_, err := e.Logs(t.Context(), Query{Text: `{} | logfmt | keep n, user`, End: 100 * second, Order: storage.Ascending}, func(entry *Entry) error {
		got = append(got, entry.Labels)
		for i := range entry.Line {
			entry.Line[i] = 'z'
		}
		return nil
	})
	require.NoError(t, err)
	for i, l := range got {
		require.Equal(t, fmt.Sprintf(`{n="%d", user="u%d"}`, i, i%7), l.String())
	}
}
