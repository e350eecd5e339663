// Package storagetest holds conformance suites that every implementation of
// an interface of package storage passes.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// Store is a storage.Appender that keeps its samples in a folder.
type Store interface {
	storage.Appender
	// Close releases the folder. Later calls of Append return storage.ErrClosed.
	Close() error
}

// Point is one stored value.
type Point struct {
	// T is milliseconds since the Unix epoch.
	T int64
	V float64
}

// AppenderSuite says how to open and read the store under test.
type AppenderSuite[S Store] struct {
	// Open opens the store kept in dir. The suite calls it again with the same
	// dir after Close, and closes everything it opened.
	Open func(t testing.TB, dir string) S
	// Read returns every acknowledged point by series, the key being
	// Labels.String(). It may wait until the points have arrived, and may name
	// a point more than once where the store delivers at least once.
	Read func(t testing.TB, s S) map[string][]Point
	// DetectsConflicts says that the store compares with what it has: a second
	// value for a stored timestamp is refused as storage.ReasonDuplicate. A
	// store that merely passes samples on leaves that to the receiver.
	DetectsConflicts bool
}

// Appender checks that a store keeps the contract of storage.Appender.
func Appender[S Store](t *testing.T, suite AppenderSuite[S]) {
	t.Run("stores every sample", suite.storesSamples)
	t.Run("empty batch", suite.emptyBatch)
	t.Run("counts refused samples and stores the rest", suite.countsRefused)
	t.Run("conflicting value is refused", suite.conflict)
	t.Run("retried batch is a no-op", suite.retried)
	t.Run("canceled context", suite.canceled)
	t.Run("concurrent batches", suite.concurrent)
	t.Run("staleness marker survives", suite.stale)
	t.Run("does not keep the batch", suite.batchReused)
	t.Run("closed", suite.closed)
	t.Run("reopened", suite.reopened)
}

// start is a timestamp that every store accepts: recent and not in the future.
func start() int64 { return time.Now().Add(-time.Minute).UnixMilli() }

var family = &storage.Family{
	Name: "storagetest_operations_total", Help: "Operations.", Type: model.MetricTypeCounter,
}

// series makes n series whose label "set" is the given name.
func series(set string, n int) []*storage.Series {
	out := make([]*storage.Series, n)
	for i := range out {
		out[i] = &storage.Series{
			Labels: labels.FromStrings(model.MetricNameLabel, family.Name, "set", set, "n", fmt.Sprint(i)),
			Family: family,
		}
	}
	return out
}

// batch makes one sample of each series at time t; values differ by series and time.
func batch(all []*storage.Series, t int64) []storage.Sample {
	out := make([]storage.Sample, len(all))
	for i, s := range all {
		out[i] = storage.Sample{Series: s, T: t, V: float64(t%100_000) + float64(i)/1000}
	}
	return out
}

// want collects what must be read back.
type want map[string][]Point

func (w want) add(samples ...storage.Sample) {
	for _, s := range samples {
		key := s.Series.Labels.String()
		w[key] = append(w[key], Point{T: s.T, V: s.V})
	}
}

// check compares the store's content with w, bit by bit, so that NaNs count.
func (suite AppenderSuite[S]) check(t testing.TB, s S, w want) {
	t.Helper()
	got := suite.Read(t, s)
	require.Equal(t, normalize(w), normalize(got))
}

// normalize renders points as text, sorted by time and without repetitions.
func normalize(in map[string][]Point) map[string][]string {
	out := make(map[string][]string, len(in))
	for key, points := range in {
		if len(points) == 0 {
			continue
		}
		points = slices.Clone(points)
		slices.SortStableFunc(points, func(a, b Point) int { return int(a.T - b.T) })
		texts := make([]string, len(points))
		for i, p := range points {
			texts[i] = fmt.Sprintf("%d %g %016x", p.T, p.V, math.Float64bits(p.V))
		}
		out[key] = slices.Compact(texts)
	}
	return out
}

// open opens a store in a new folder and closes it when the test ends.
func (suite AppenderSuite[S]) open(t *testing.T) S {
	s := suite.Open(t, t.TempDir())
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (suite AppenderSuite[S]) storesSamples(t *testing.T) {
	s, w, base := suite.open(t), want{}, start()
	all := series("plain", 20)
	for i := range int64(10) {
		b := batch(all, base+i*1000)
		require.NoError(t, s.Append(t.Context(), b))
		w.add(b...)
	}
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) emptyBatch(t *testing.T) {
	s := suite.open(t)
	require.NoError(t, s.Append(t.Context(), nil))
	suite.check(t, s, want{})
}

func (suite AppenderSuite[S]) countsRefused(t *testing.T) {
	s, w, base := suite.open(t), want{}, start()
	good := batch(series("good", 3), base)
	nameless := &storage.Series{Labels: labels.FromStrings("set", "nameless"), Family: family}
	notUTF8 := &storage.Series{
		Labels: labels.FromStrings(model.MetricNameLabel, family.Name, "set", "\xff\xfe"), Family: family,
	}
	mixed := []storage.Sample{
		{Series: nameless, T: base, V: 1}, good[0], good[1], {Series: notUTF8, T: base, V: 1}, good[2],
	}
	err := s.Append(t.Context(), mixed)
	var rejected *storage.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, map[string]int{storage.ReasonInvalid: 2}, rejected.Reasons)
	require.Error(t, rejected.First)
	w.add(good...)
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) conflict(t *testing.T) {
	if !suite.DetectsConflicts {
		t.Skip("the store leaves conflicts to the receiver")
	}
	s, w, base := suite.open(t), want{}, start()
	all := series("conflict", 3)
	first := batch(all, base)
	require.NoError(t, s.Append(t.Context(), first))
	w.add(first...)

	second := batch(all[:2], base)
	second[0].V = -1
	next := batch(all[2:], base+1000)
	err := s.Append(t.Context(), append(second, next...))
	var rejected *storage.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, map[string]int{storage.ReasonDuplicate: 1}, rejected.Reasons)
	w.add(next...)
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) retried(t *testing.T) {
	s, w := suite.open(t), want{}
	b := batch(series("retried", 5), start())
	for range 3 {
		require.NoError(t, s.Append(t.Context(), b))
	}
	w.add(b...)
	suite.check(t, s, w)
}

// canceled allows both outcomes of a canceled context: nothing stored and an
// error, or all of it stored and nil. In any case the batch can be sent again.
func (suite AppenderSuite[S]) canceled(t *testing.T) {
	s, w := suite.open(t), want{}
	b := batch(series("canceled", 5), start())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, b); err != nil {
		require.ErrorIs(t, err, context.Canceled)
		suite.check(t, s, want{})
	}
	require.NoError(t, s.Append(t.Context(), b))
	w.add(b...)
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) concurrent(t *testing.T) {
	s, w, base := suite.open(t), want{}, start()
	const workers, rounds = 8, 20
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		all := series(fmt.Sprintf("worker%d", i), 10)
		for r := range int64(rounds) {
			w.add(batch(all, base+r*1000)...)
		}
		wg.Go(func() {
			for r := range int64(rounds) {
				errs[i] = errors.Join(errs[i], s.Append(t.Context(), batch(all, base+r*1000)))
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) stale(t *testing.T) {
	s, w, base := suite.open(t), want{}, start()
	all := series("stale", 2)
	b := batch(all, base)
	b = append(b, storage.Sample{Series: all[0], T: base + 1000, V: math.Float64frombits(value.StaleNaN)})
	require.NoError(t, s.Append(t.Context(), b))
	w.add(b...)
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) batchReused(t *testing.T) {
	s, w, base := suite.open(t), want{}, start()
	all := series("reused", 5)
	reused := make([]storage.Sample, len(all))
	for i := range int64(5) {
		b := batch(all, base+i*1000)
		w.add(b...)
		copy(reused, b)
		require.NoError(t, s.Append(t.Context(), reused))
		clear(reused)
	}
	suite.check(t, s, w)
}

func (suite AppenderSuite[S]) closed(t *testing.T) {
	s := suite.Open(t, t.TempDir())
	b := batch(series("closed", 1), start())
	require.NoError(t, s.Append(t.Context(), b))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Append(t.Context(), b), storage.ErrClosed)
	require.NoError(t, s.Close(), "a second Close")
}

// reopened keeps using the same *Series, whose Ref the closed store has set.
func (suite AppenderSuite[S]) reopened(t *testing.T) {
	dir, w, base := t.TempDir(), want{}, start()
	all := series("reopened", 10)
	for i := range int64(3) {
		s := suite.Open(t, dir)
		b := batch(all, base+i*1000)
		require.NoError(t, s.Append(t.Context(), b))
		w.add(b...)
		if i == 1 {
			// The next store meets these series in another order.
			slices.Reverse(all)
		}
		require.NoError(t, s.Close())
	}
	s := suite.Open(t, dir)
	suite.check(t, s, w)
	require.NoError(t, s.Close())
}
