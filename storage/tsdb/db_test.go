package tsdb

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	webapi "github.com/prometheus/prometheus/web/api/v1"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

var _ webapi.TSDBAdminStats = Admin{}

// logBuffer collects log lines; its handler may be used concurrently.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) lines(substring string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for line := range strings.SplitSeq(b.buf.String(), "\n") {
		if strings.Contains(line, substring) {
			out = append(out, line)
		}
	}
	return out
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, nil))
}

// open opens a store that is closed when the test ends.
func open(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// current returns the handle in use.
func current(db *DB) *handle {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.cur
}

// readAll returns every float sample by series.
func readAll(t testing.TB, db *DB) map[string][]storagetest.Point {
	t.Helper()
	out, err := query(db.Storage())
	require.NoError(t, err)
	return out
}

func query(s upstream.Queryable) (map[string][]storagetest.Point, error) {
	q, err := s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	out := map[string][]storagetest.Point{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	for set.Next() {
		key := set.At().Labels().String()
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			ts, v := it.At()
			out[key] = append(out[key], storagetest.Point{T: ts, V: v})
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	return out, set.Err()
}

func newSeries(name string, n int) []*storage.Series {
	f := &storage.Family{Name: name, Help: "Help of " + name + ".", Unit: "bytes", Type: model.MetricTypeGauge}
	out := make([]*storage.Series, n)
	for i := range out {
		out[i] = &storage.Series{
			Labels: labels.FromStrings(model.MetricNameLabel, name, "namespace", "default", "pod", fmt.Sprintf("pod-%d", i)), Family: f,
		}
	}
	return out
}

func samples(series []*storage.Series, t int64) []storage.Sample {
	out := make([]storage.Sample, len(series))
	for i, s := range series {
		out[i] = storage.Sample{Series: s, T: t, V: float64(t%1000) + float64(i)}
	}
	return out
}

func minuteAgo() int64 { return time.Now().Add(-time.Minute).UnixMilli() }

func TestConformance(t *testing.T) {
	t.Parallel()
	storagetest.Appender(t, storagetest.AppenderSuite[*DB]{
		Open: func(t testing.TB, dir string) *DB {
			db, err := Open(context.Background(), Options{Dir: dir})
			require.NoError(t, err)
			return db
		},
		Read:             func(t testing.TB, db *DB) map[string][]storagetest.Point { return readAll(t, db) },
		DetectsConflicts: true,
	})
}

func TestRefused(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, Options{
		Dir: t.TempDir(), MaxSeries: 3, MaxLabels: 4, MaxLabelNameBytes: 10, MaxLabelValueBytes: 20,
		OutOfOrderWindow: time.Hour, Registerer: reg,
	})
	now := time.Now().UnixMilli()
	ok := newSeries("ok", 2)
	require.NoError(t, db.Append(t.Context(), samples(ok, now)))

	with := func(ss ...string) *storage.Series {
		return &storage.Series{Labels: labels.FromStrings(append(ss, model.MetricNameLabel, "m")...), Family: ok[0].Family}
	}
	for _, c := range []struct {
		name   string
		sample storage.Sample
		reason string
		text   string
	}{
		{"no name", storage.Sample{Series: &storage.Series{Labels: labels.FromStrings("a", "b")}, T: now}, storage.ReasonInvalid, "metric name"},
		{"empty", storage.Sample{Series: &storage.Series{Labels: labels.EmptyLabels()}, T: now}, storage.ReasonInvalid, "empty"},
		{"many labels", storage.Sample{Series: with("a", "1", "b", "2", "c", "3", "d", "4"), T: now}, storage.ReasonInvalid, "5 labels are more than 4"},
		{"long name", storage.Sample{Series: with("abcdefghijk", "1"), T: now}, storage.ReasonInvalid, "label name of 11 bytes"},
		{"long value", storage.Sample{Series: with("a", strings.Repeat("x", 1000)), T: now}, storage.ReasonInvalid, "has 1000 bytes, more than 20"},
		{"not UTF-8", storage.Sample{Series: with("a", "\xff"), T: now}, storage.ReasonInvalid, "UTF-8"},
		{"future", storage.Sample{Series: ok[0], T: now + 2*maxFuture.Milliseconds()}, storage.ReasonInvalid, "check the sender's clock"},
		{"too old", storage.Sample{Series: ok[0], T: now - 2*time.Hour.Milliseconds()}, storage.ReasonTooOld, "too old"},
		{"conflict", storage.Sample{Series: ok[0], T: now, V: -1}, storage.ReasonDuplicate, "duplicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := db.Append(t.Context(), []storage.Sample{c.sample})
			var rejected *storage.RejectedError
			require.ErrorAs(t, err, &rejected)
			require.Equal(t, map[string]int{c.reason: 1}, rejected.Reasons)
			require.ErrorContains(t, err, c.text)
			require.Less(t, len(err.Error()), 1000)
		})
	}

	more := newSeries("more", 3)
	var rejected *storage.RejectedError
	require.ErrorAs(t, db.Append(t.Context(), samples(more, now)), &rejected)
	require.Equal(t, map[string]int{storage.ReasonLimit: 2}, rejected.Reasons)
	require.Len(t, readAll(t, db), 3)
	require.InDelta(t, 2, testutil.ToFloat64(db.metrics.rejected.WithLabelValues(storage.ReasonLimit)), 0)

	// Upstream's receivers must not ask for such samples again.
	app := db.Storage().AppenderV2(t.Context())
	_, err := app.Append(0, more[2].Labels, 0, now, 1, nil, nil, upstream.AOptions{})
	require.ErrorIs(t, err, upstream.ErrOutOfBounds)
	require.NoError(t, app.Rollback())
}

// TestLimitsDoNotDropHistory opens a folder with more series than are allowed now.
func TestLimitsDoNotDropHistory(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	all := newSeries("many", 10)
	now := minuteAgo()
	require.NoError(t, db.Append(t.Context(), samples(all, now)))
	require.NoError(t, db.Close())

	db = open(t, Options{Dir: dir, MaxSeries: 5, MaxLabels: 1})
	require.Len(t, readAll(t, db), 10)
	require.NoError(t, db.Append(t.Context(), samples(all, now+1000)), "series that exist already")
}

// TestCatchUp has one agent far ahead of another whose backlog arrives later.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	db := open(t, Options{Dir: t.TempDir()})
	ahead, behind := newSeries("ahead", 1), newSeries("behind", 2)
	now := time.Now().UnixMilli()
	begin := now - (12 * time.Hour).Milliseconds()
	require.NoError(t, db.Append(t.Context(), samples(append(ahead, behind...), begin)))
	require.NoError(t, db.Append(t.Context(), samples(ahead, now)))
	n := 1
	for ts := begin + 60_000; ts < now; ts += 60_000 {
		require.NoError(t, db.Append(t.Context(), samples(behind, ts)))
		n++
	}
	require.Len(t, readAll(t, db)[behind[1].Labels.String()], n)
}

// TestRefAfterGC appends with a reference to a series that the head has dropped.
func TestRefAfterGC(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	old, other := newSeries("old", 1), newSeries("other", 1)
	begin := time.Now().Add(-10 * time.Hour).UnixMilli()
	require.NoError(t, db.Append(t.Context(), samples(old, begin)))
	ref := old[0].Ref
	require.NotZero(t, ref)
	now := time.Now().UnixMilli()
	require.NoError(t, db.Append(t.Context(), samples(other, now)))
	require.NoError(t, current(db).Compact(t.Context()))
	require.EqualValues(t, 1, current(db).Head().NumSeries())

	require.NoError(t, db.Append(t.Context(), samples(old, now)))
	require.NotEqual(t, ref, old[0].Ref)
	got := readAll(t, db)
	require.Len(t, got[old[0].Labels.String()], 2)
	require.Len(t, got[other[0].Labels.String()], 1)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    Options
		keep int
	}{
		{"by time", Options{Retention: 24 * time.Hour}, 12},
		// The log alone is larger than this, so that every block has to go.
		{"by size, log included", Options{RetentionSize: 50 << 10}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Dir = t.TempDir()
			db := open(t, c.o)
			all := newSeries("aging", 50)
			begin := time.Now().Add(-48 * time.Hour).UnixMilli()
			for ts := begin; ts < time.Now().UnixMilli(); ts += 600_000 {
				require.NoError(t, db.Append(t.Context(), samples(all, ts)))
			}
			require.NoError(t, current(db).Compact(t.Context()))
			metas, err := db.Admin().BlockMetas()
			require.NoError(t, err)
			if c.keep == 0 {
				require.Empty(t, metas)
				return
			}
			require.NotEmpty(t, metas)
			require.Greater(t, metas[0].MaxTime, time.Now().Add(-30*time.Hour).UnixMilli())
			require.Less(t, metas[0].MinTime, time.Now().Add(-20*time.Hour).UnixMilli())
		})
	}
}

func TestSnapshot(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	all := newSeries("snap", 10)
	for i := range int64(10) {
		require.NoError(t, db.Append(t.Context(), samples(all, minuteAgo()+i)))
	}
	dir := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, db.Admin().Snapshot(dir, true))
	copied := open(t, Options{Dir: dir})
	require.Equal(t, readAll(t, db), readAll(t, copied))
}

func TestDelete(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	require.NoError(t, db.Append(t.Context(), samples(newSeries("gone", 2), minuteAgo())))
	require.NoError(t, db.Append(t.Context(), samples(newSeries("stays", 2), minuteAgo())))
	require.NoError(t, db.Admin().Delete(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "gone")))
	require.NoError(t, db.Admin().CleanTombstones())
	require.Len(t, readAll(t, db), 2)
	stats, err := db.Admin().Stats(model.MetricNameLabel, 10)
	require.NoError(t, err)
	require.NotEmpty(t, stats.IndexPostingStats.CardinalityMetricsStats)
}

func TestOneProcessPerFolder(t *testing.T) {
	dir := t.TempDir()
	db := open(t, Options{Dir: dir})
	_, err := Open(t.Context(), Options{Dir: dir})
	require.ErrorContains(t, err, fmt.Sprintf("%s is in use by another process (process %d)", dir, os.Getpid()))
	require.NoError(t, db.Append(t.Context(), samples(newSeries("alive", 1), minuteAgo())), "the first is not disturbed")
}

func TestLifecycle(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := Options{Dir: t.TempDir(), Registerer: reg}
	db, err := New(o)
	require.NoError(t, err)
	require.False(t, db.State().Ready)
	require.ErrorIs(t, db.Append(t.Context(), samples(newSeries("early", 1), minuteAgo())), ErrNotReady)
	_, err = db.Storage().Querier(0, 1)
	require.ErrorIs(t, err, ErrNotReady)
	_, err = db.Admin().BlockMetas()
	require.ErrorIs(t, err, ErrNotReady)
	app := db.Storage().Appender(t.Context())
	require.ErrorIs(t, app.Commit(), ErrNotReady)

	require.NoError(t, db.Start(t.Context()))
	state := db.State()
	require.True(t, state.Ready)
	require.Empty(t, state.Reason)
	require.Positive(t, state.FreeBytes)
	require.Equal(t, state.ReplaySegments, state.ReplayedSegments)
	n, err := testutil.GatherAndCount(reg, "prometheus_tsdb_head_series", "binnacle_tsdb_full")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	start, err := db.Storage().StartTime()
	require.NoError(t, err)
	require.InDelta(t, time.Now().UnixMilli(), start, 60_000)
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.Start(t.Context()), storage.ErrClosed)

	// The same registry serves the next one, which shows upstream's metrics again.
	db = open(t, o)
	n, err = testutil.GatherAndCount(reg, "prometheus_tsdb_head_series", "binnacle_tsdb_full")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.True(t, db.State().Ready)
}

func TestBadOptions(t *testing.T) {
	_, err := Open(t.Context(), Options{})
	require.ErrorContains(t, err, "no data folder given")
	_, err = Open(t.Context(), Options{Dir: t.TempDir(), RetentionSize: -1})
	require.ErrorContains(t, err, "negative")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(t.Context(), Options{Dir: file})
	require.ErrorContains(t, err, file)
}

// TestAppendAllocations bounds allocations per batch, whatever its length.
func TestAppendAllocations(t *testing.T) {
	db := open(t, Options{Dir: t.TempDir()})
	perBatch := func(n int) float64 {
		batch := samples(newSeries(fmt.Sprint("alloc", n), n), minuteAgo())
		require.NoError(t, db.Append(t.Context(), batch))
		return testing.AllocsPerRun(100, func() {
			for i := range batch {
				batch[i].T += 10
			}
			require.NoError(t, db.Append(context.Background(), batch))
		})
	}
	require.Less(t, perBatch(5000)-perBatch(50), 100.0, "4,950 samples more")
}

// TestRefOfAnotherStore appends series that carry another store's references.
func TestRefOfAnotherStore(t *testing.T) {
	first, second := open(t, Options{Dir: t.TempDir()}), open(t, Options{Dir: t.TempDir()})
	a, b, now := newSeries("a", 1), newSeries("b", 1), minuteAgo()
	require.NoError(t, first.Append(t.Context(), samples(a, now)))
	require.NoError(t, second.Append(t.Context(), samples(b, now)))
	require.Equal(t, a[0].Ref&refMask, b[0].Ref&refMask, "upstream numbers series from 1")
	require.NoError(t, second.Append(t.Context(), samples(a, now+1000)))
	got := readAll(t, second)
	require.Len(t, got[a[0].Labels.String()], 1)
	require.Len(t, got[b[0].Labels.String()], 1)
}
