package logdb

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func take(t testing.TB, it storage.LogIterator, n int) []storage.Record {
	t.Helper()
	var out []storage.Record
	for len(out) < n {
		records, err := it.Next()
		require.NoError(t, err, "after %d of %d", len(out), n)
		out = append(out, records...)
	}
	return out
}

// TestTailAcrossCuts follows through several segments.
func TestTailAcrossCuts(t *testing.T) {
	t.Parallel()
	db := open(t, Options{HeadBytes: minHeadBytes})
	all := lines(1, 0, 6000, hourAgo())
	write(t, db, all[:1000])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	it, err := db.Tail(ctx, storage.LogQuery{})
	require.NoError(t, err)
	defer it.Close()
	go write(t, db, all[1000:])
	require.Equal(t, texts(all), texts(take(t, it, len(all))))
	require.Zero(t, it.Stats().Dropped)
	require.Equal(t, 1, db.State().Tails)
}

// TestSlowTail: a reader that is behind by a part of the head gets it all the
// same, in order, as far as its bound reaches; the rest is counted.
func TestSlowTail(t *testing.T) {
	t.Parallel()
	db := open(t, Options{HeadBytes: 8 * mib})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q := storage.LogQuery{Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "pod", "pod1")}}
	few, err := db.Tail(ctx, q)
	require.NoError(t, err)
	defer few.Close()
	everything, err := db.Tail(ctx, storage.LogQuery{})
	require.NoError(t, err)
	defer everything.Close()

	const rounds = 8
	mine, total := 0, 0
	for i := range rounds {
		write(t, db, lines(1, i*100, 100, hourAgo()))
		write(t, db, lines(2, i*10_000, 10_000, hourAgo()))
		mine, total = mine+100, total+10_100
		cutNow(t, db)
	}
	require.Equal(t, texts(lines(1, 0, mine, hourAgo())), texts(take(t, few, mine)))
	require.Zero(t, few.Stats().Dropped)

	got := 0
	for {
		records, err := everything.Next()
		require.NoError(t, err)
		got += len(records)
		if int64(got)+everything.Stats().Dropped == int64(total) {
			break
		}
	}
	dropped := everything.Stats().Dropped
	require.Positive(t, dropped)
	require.InDelta(t, float64(dropped), testutil.ToFloat64(db.metrics.tailDropped), 0)
	require.Less(t, everything.(*tail).behindBytes, maxBehindBytes)
	write(t, db, lines(1, mine, 1, hourAgo()))
	require.Len(t, take(t, everything, 1), 1, "it goes on")
}

// TestTailEndsWithStore ends tails when the store is closed.
func TestTailEndsWithStore(t *testing.T) {
	db := open(t, Options{})
	it, err := db.Tail(t.Context(), storage.LogQuery{Limit: 10})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := it.Next()
		ended <- err
	}()
	require.NoError(t, db.Close())
	require.ErrorIs(t, <-ended, storage.ErrClosed)
	require.NoError(t, it.Close())
	_, err = db.Tail(t.Context(), storage.LogQuery{})
	require.ErrorIs(t, err, storage.ErrClosed)
	_, err = db.Select(t.Context(), always())
	require.ErrorIs(t, err, storage.ErrClosed)
	_, err = db.Streams(t.Context(), nil, 0, 1)
	require.ErrorIs(t, err, storage.ErrClosed)
	_, _, err = db.Count(t.Context(), always(), 1, nil)
	require.ErrorIs(t, err, storage.ErrClosed)
}

// TestTailLimitMemory: what a tail begins with must fit into a query's memory.
func TestTailLimitMemory(t *testing.T) {
	t.Parallel()
	db := open(t, Options{MaxQueryBytes: 64 * kib})
	write(t, db, lines(1, 0, 2000, hourAgo()))
	it, err := db.Tail(t.Context(), storage.LogQuery{Limit: 1900})
	require.NoError(t, err)
	_, err = it.Next()
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	require.NoError(t, it.Close())
}
