package storagetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// LogStore checks that a store keeps the contract of storage.LogStore, that of
// storage.LogSink included, and that of storage.LogCounter where it is
// implemented. open returns an empty store and registers its own clean-up.
func LogStore(t *testing.T, open func(t *testing.T) storage.LogStore) {
	LogSink(t, LogSinkSuite{
		Open: func(t *testing.T) storage.LogSink { return open(t) },
		Read: func(t *testing.T, s storage.LogSink) []storage.Record {
			return selectAll(t, s.(storage.LogStore), everything())
		},
	})
	suite := logStoreSuite{open}
	t.Run("select", suite.selects)
	t.Run("empty store", suite.emptyStore)
	t.Run("query limit", suite.queryLimit)
	t.Run("select canceled", suite.selectCanceled)
	t.Run("closed early", suite.closedEarly)
	t.Run("records of the same time", suite.sameTime)
	t.Run("streams", suite.streams)
	if _, ok := open(t).(storage.LogCounter); ok {
		t.Run("count", suite.counts)
	}
	t.Run("tail", suite.tails)
	t.Run("tail without gap", suite.tailWithoutGap)
	t.Run("tail canceled", suite.tailCanceled)
}

type logStoreSuite struct {
	open func(t *testing.T) storage.LogStore
}

// everything selects all records of the suites.
func everything() storage.LogQuery {
	return storage.LogQuery{Start: time.Now().Add(-48 * time.Hour).UnixNano(), End: time.Now().Add(time.Hour).UnixNano()}
}

func selectAll(t *testing.T, s storage.LogStore, q storage.LogQuery) []storage.Record {
	t.Helper()
	it, err := s.Select(t.Context(), q)
	require.NoError(t, err)
	records, err := AllRecords(it)
	require.NoError(t, err)
	return records
}

// filled returns the store under test and a Memory with the same records.
func (suite logStoreSuite) filled(t *testing.T) (s storage.LogStore, reference *Memory, start int64) {
	s, reference, start = suite.open(t), NewMemory(), logStart()
	for batch := range slices.Chunk(mixedRecords(start), 100) {
		require.NoError(t, s.Write(t.Context(), batch))
		require.NoError(t, reference.Write(t.Context(), batch))
	}
	return s, reference, start
}

// RequireSame checks that two stores answer q alike: the same records and,
// where q asks for an order, in the same order.
func RequireSame(t *testing.T, want, got storage.LogStore, q storage.LogQuery) {
	t.Helper()
	a, b := selectAll(t, want, q), selectAll(t, got, q)
	if q.Order != storage.Unordered {
		require.Equal(t, identities(a), identities(b), "order")
	}
	require.Equal(t, renderRecords(a), renderRecords(b))
	if q.NoLine {
		for _, r := range b {
			require.Nil(t, r.Line)
		}
	}
}

func identities(records []storage.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano) + " " + r.ID().String()
	}
	return out
}

func (suite logStoreSuite) selects(t *testing.T) {
	s, reference, start := suite.filled(t)
	for _, c := range logQueries(t, start) {
		for _, order := range []storage.Order{storage.Unordered, storage.Ascending, storage.Descending} {
			name := c.name + [...]string{" unordered", " ascending", " descending"}[order]
			t.Run(name, func(t *testing.T) {
				q := c.query
				q.Order = order
				RequireSame(t, reference, s, q)
				q.NoLine = true
				if order != storage.Unordered {
					q.Limit = 5
				}
				RequireSame(t, reference, s, q)
			})
		}
	}
}

func (suite logStoreSuite) emptyStore(t *testing.T) {
	s := suite.open(t)
	for _, order := range []storage.Order{storage.Unordered, storage.Ascending, storage.Descending} {
		q := everything()
		q.Order = order
		it, err := s.Select(t.Context(), q)
		require.NoError(t, err)
		_, err = it.Next()
		require.ErrorIs(t, err, io.EOF)
		_, err = it.Next()
		require.ErrorIs(t, err, io.EOF, "the end stays the end")
		require.NoError(t, it.Close())
	}
	infos, err := s.Streams(t.Context(), nil, everything().Start, everything().End)
	require.NoError(t, err)
	require.Empty(t, infos)
}

func (suite logStoreSuite) queryLimit(t *testing.T) {
	s, reference, _ := suite.filled(t)
	q := everything()
	q.Order, q.MaxBytes = storage.Ascending, 20_000
	it, err := s.Select(t.Context(), q)
	require.NoError(t, err)
	got, err := AllRecords(it)
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	q.MaxBytes = 0
	want := selectAll(t, reference, q)
	require.Less(t, len(got), len(want))
	require.Equal(t, identities(want[:len(got)]), identities(got), "what was returned is right")

	q.MaxBytes = 1 << 30
	require.Len(t, selectAll(t, s, q), len(want), "a limit that is not reached")
}

func (suite logStoreSuite) selectCanceled(t *testing.T) {
	s, _, _ := suite.filled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	it, err := s.Select(ctx, everything())
	if err == nil {
		_, err = AllRecords(it)
	}
	require.ErrorIs(t, err, context.Canceled)
}

func (suite logStoreSuite) closedEarly(t *testing.T) {
	s, _, _ := suite.filled(t)
	it, err := s.Select(t.Context(), everything())
	require.NoError(t, err)
	records, err := it.Next()
	require.NoError(t, err)
	require.NotEmpty(t, records)
	require.NoError(t, it.Close())

	it, err = s.Select(t.Context(), everything())
	require.NoError(t, err)
	require.NoError(t, it.Close(), "not read at all")
}

// sameTime: what has no source keeps all its records, even of one time.
func (suite logStoreSuite) sameTime(t *testing.T) {
	s, start := suite.open(t), logStart()
	stream := logStream("shop", "cart-1", "app", "stdout")
	all := numbered(stream, storage.SourceID{}, start, 30)
	for i := range all {
		all[i].Time, all[i].Offset = start, 0
	}
	require.NoError(t, s.Write(t.Context(), all))
	q := everything()
	q.Order = storage.Descending
	require.Equal(t, renderRecords(all), renderRecords(selectAll(t, s, q)))
	q.Limit = 10
	require.Len(t, selectAll(t, s, q), 10)
}

func (suite logStoreSuite) streams(t *testing.T) {
	s, reference, start := suite.filled(t)
	second := int64(time.Second)
	for _, c := range []struct {
		name       string
		matchers   []*labels.Matcher
		start, end int64
	}{
		{"all", nil, everything().Start, everything().End},
		{"some", matchers(t, `namespace="shop"`, `stream!="stderr"`), everything().Start, everything().End},
		{"regexp", matchers(t, `pod=~"cart-.*"`), everything().Start, everything().End},
		{"none", matchers(t, `pod="nothing"`), everything().Start, everything().End},
		{"before", nil, start - 100*second, start - 50*second},
		{"a part", nil, start, start + 10*second},
		{"pushed only", nil, start + 1, start + second},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := reference.Streams(t.Context(), c.matchers, c.start, c.end)
			require.NoError(t, err)
			got, err := s.Streams(t.Context(), c.matchers, c.start, c.end)
			require.NoError(t, err)
			byLabels := func(a, b storage.StreamInfo) int { return labels.Compare(a.Labels, b.Labels) }
			slices.SortFunc(want, byLabels)
			slices.SortFunc(got, byLabels)
			require.Len(t, got, len(want))
			for i, w := range want {
				require.Equal(t, w.Labels.String(), got[i].Labels.String())
				require.GreaterOrEqual(t, got[i].Records, w.Records)
				require.GreaterOrEqual(t, got[i].Bytes, w.Bytes)
				require.LessOrEqual(t, got[i].First, w.First)
				require.GreaterOrEqual(t, got[i].Last, w.Last)
				if c.end-c.start > int64(time.Hour) {
					require.Equal(t, w.Records, got[i].Records)
					require.Equal(t, w.Bytes, got[i].Bytes)
				}
			}
		})
	}
}

func (suite logStoreSuite) counts(t *testing.T) {
	s, reference, start := suite.filled(t)
	counter := s.(storage.LogCounter)
	for _, c := range logQueries(t, start) {
		t.Run(c.name, func(t *testing.T) {
			for _, by := range [][]string{nil, {"namespace", "level"}, {"pod", "absent"}} {
				step := int64(7 * time.Second)
				got, exact, err := counter.Count(t.Context(), c.query, step, by)
				require.NoError(t, err)
				if !exact {
					require.Empty(t, got)
					return
				}
				want, _, err := reference.Count(t.Context(), c.query, step, by)
				require.NoError(t, err)
				require.Equal(t, renderCounts(want), renderCounts(got))
			}
		})
	}
}

// renderCounts leaves out groups without records.
func renderCounts(counts []storage.LogCount) map[string][][2]int64 {
	out := make(map[string][][2]int64)
	for _, c := range counts {
		var values [][2]int64
		total := int64(0)
		for i := range c.Records {
			values = append(values, [2]int64{c.Records[i], c.Bytes[i]})
			total += c.Records[i]
		}
		if total > 0 {
			out[c.Labels.String()] = values
		}
	}
	return out
}

// nextN reads at least n records.
func nextN(t *testing.T, it storage.LogIterator, n int) []storage.Record {
	t.Helper()
	var out []storage.Record
	for len(out) < n {
		records, err := it.Next()
		require.NoError(t, err, "after %d of %d records", len(out), n)
		require.NotEmpty(t, records)
		for _, r := range records {
			r.Line = slices.Clone(r.Line)
			r.Metadata = r.Metadata.Copy()
			out = append(out, r)
		}
	}
	return out
}

func (suite logStoreSuite) tails(t *testing.T) {
	s, start := suite.open(t), logStart()
	stream := logStream("shop", "cart-1", "app", "stdout")
	all := numbered(stream, logSource(1), start, 100)
	other := numbered(logStream("shop", "cart-2", "app", "stdout"), logSource(2), start, 100)
	require.NoError(t, s.Write(t.Context(), all[:60]))
	require.NoError(t, s.Write(t.Context(), other[:60]))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q := storage.LogQuery{Matchers: matchers(t, `pod="cart-1"`), Start: start + 10*int64(time.Millisecond), Limit: 20}
	it, err := s.Tail(ctx, q)
	require.NoError(t, err)
	defer it.Close()
	require.Equal(t, identities(all[40:60]), identities(nextN(t, it, 20)))
	require.NoError(t, s.Write(t.Context(), other[60:]))
	require.NoError(t, s.Write(t.Context(), all[60:80]))
	require.NoError(t, s.Write(t.Context(), all[60:80]), "sent again")
	require.Equal(t, identities(all[60:80]), identities(nextN(t, it, 20)))
	require.NoError(t, s.Write(t.Context(), all[70:]))
	require.Equal(t, renderRecords(all[80:]), renderRecords(nextN(t, it, 20)))
	require.Zero(t, it.Stats().Dropped)
}

// tailWithoutGap starts tails while records are written: each sees every
// record once.
func (suite logStoreSuite) tailWithoutGap(t *testing.T) {
	s, start := suite.open(t), logStart()
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), start, 400)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	wrote := make(chan error, 1)
	go func() {
		var err error
		for batch := range slices.Chunk(all, 10) {
			err = errors.Join(err, s.Write(ctx, batch))
		}
		wrote <- err
	}()
	for range 4 {
		it, err := s.Tail(ctx, storage.LogQuery{Start: start})
		require.NoError(t, err)
		got := nextN(t, it, len(all))
		require.NoError(t, it.Close())
		require.Equal(t, renderRecords(all), renderRecords(got))
	}
	require.NoError(t, <-wrote)
}

func (suite logStoreSuite) tailCanceled(t *testing.T) {
	s := suite.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	it, err := s.Tail(ctx, storage.LogQuery{Start: logStart()})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := it.Next()
		ended <- err
	}()
	cancel()
	require.ErrorIs(t, <-ended, io.EOF)
	require.NoError(t, it.Close())
}
