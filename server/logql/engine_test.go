package logql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

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
	_, _, err = e.Metric(t.Context(), Query{Text: `vector(1)`, Start: 2, End: 1, Step: 1})
	require.ErrorIs(t, err, errBackwards)
	_, err = lines(t, e, Query{Text: `{`})
	var parse *ParseError
	require.ErrorAs(t, err, &parse)
}

func TestBadQueries(t *testing.T) {
	e, store := newEngine(t, Options{MaxSeries: 20}, numbered(20)...)
	for query, bad := range map[string]bool{
		`{`:                                 true,
		`{}`:                                true,
		`count_over_time({} | json [1m])`:   true,
		`count_over_time({} | logfmt [1m])`: false,
		`sum(count_over_time({}[1m])) + on () count_over_time({}[1m])`: true,
	} {
		_, _, err := e.Metric(t.Context(), Query{Text: query, End: 60 * second})
		require.Equal(t, bad, errors.Is(err, ErrBadQuery), "%s: %v", query, err)
	}
	store.fail = errors.New("block is broken")
	_, _, err := e.Metric(t.Context(), Query{Text: `count_over_time({}[1m])`, End: 60 * second})
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrBadQuery)
	e, _ = newEngine(t, Options{MaxSeries: 1}, numbered(20)...)
	_, _, err = e.Metric(t.Context(), Query{Text: `count_over_time({}[1m])`, End: 60 * second})
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	require.NotErrorIs(t, err, ErrBadQuery)
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

func TestConcurrentQueries(t *testing.T) {
	e, err := New(Options{Store: benchStore{numbered(1000)}})
	require.NoError(t, err)
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			if i%2 == 0 {
				_, err := e.Logs(t.Context(), Query{Text: `{} | logfmt | line_format "{{.n}}"`, End: 1e6 * second}, func(*Entry) error { return nil })
				return err
			}
			_, _, err := e.Metric(t.Context(), Query{Text: `sum by (user) (rate({} | logfmt [1m]))`, End: 1000 * second, Step: time.Minute})
			return err
		})
	}
	require.NoError(t, group.Wait())
}
