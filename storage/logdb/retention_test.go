package logdb

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// hours ago as a start for lines.
func ago(h float64) time.Time {
	return time.Now().Add(-time.Duration(h * float64(time.Hour))).Truncate(time.Second)
}

// TestRetention drops segments when all their records are too old, also under a
// query that reads them.
func TestRetention(t *testing.T) {
	t.Parallel()
	db := open(t, Options{Retention: 24 * time.Hour})
	write(t, db, lines(1, 0, 100, ago(23)))
	cutNow(t, db)
	write(t, db, lines(2, 0, 100, ago(1)))
	cutNow(t, db)
	it, err := db.Select(t.Context(), always())
	require.NoError(t, err)
	path := db.segments[0].path
	require.NoError(t, db.compact(t.Context(), time.Now()))
	require.Equal(t, 2, db.State().Segments)
	require.NoError(t, db.compact(t.Context(), time.Now().Add(2*time.Hour)))
	require.Equal(t, 1, db.State().Segments)
	require.Len(t, read(t, db, always()), 100)
	require.Len(t, take(t, it, 200), 200)
	require.FileExists(t, path)
	require.NoError(t, it.Close())
	require.NoFileExists(t, path)
	require.InDelta(t, 1, testutil.ToFloat64(db.metrics.dropped.WithLabelValues(dropTime)), 0)
	require.Equal(t, 1, db.State().Streams)
}

// TestNamespaceRetention rewrites a segment without the records of a namespace
// that are too old, and keeps others longer than the rest.
func TestNamespaceRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, Options{Dir: dir, Retention: 24 * time.Hour, NamespaceRetention: map[string]time.Duration{"ns1": 8 * time.Hour, "ns2": 48 * time.Hour}})
	for pod := range 3 {
		write(t, db, lines(pod, 0, 100, ago(7)))
	}
	cutNow(t, db)
	count := func(pod int) (n int) {
		for _, r := range read(t, db, always()) {
			if r.Stream.Labels.Get("pod") == podStream(pod).Labels.Get("pod") {
				n++
			}
		}
		return n
	}
	now := time.Now()
	require.NoError(t, db.compact(t.Context(), now.Add(90*time.Minute)))
	require.Equal(t, 100, count(1), "a little longer")
	require.NoError(t, db.compact(t.Context(), now.Add(4*time.Hour)))
	require.Equal(t, []int{100, 0, 100}, []int{count(0), count(1), count(2)})
	require.NoError(t, db.compact(t.Context(), now.Add(22*time.Hour)))
	require.Equal(t, []int{0, 0, 100}, []int{count(0), count(1), count(2)})
	write(t, db, lines(2, 0, 100, ago(7)))
	require.Equal(t, 100, count(2), "what was stored is known after rewrites")
	require.NoError(t, db.compact(t.Context(), now.Add(50*time.Hour)))
	require.Empty(t, read(t, db, always()))
	require.Zero(t, db.State().Segments)
	left, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestRetentionBytes drops the oldest segments.
func TestRetentionBytes(t *testing.T) {
	t.Parallel()
	db := open(t, Options{RetentionBytes: 100 * kib})
	for i := range 3 {
		write(t, db, noise(lines(1, i*100, 100, hourAgo())))
		cutNow(t, db)
	}
	require.NoError(t, db.compact(t.Context(), time.Now()))
	s := db.State()
	require.LessOrEqual(t, s.DiskBytes, int64(100*kib))
	require.Equal(t, 3-int(testutil.ToFloat64(db.metrics.dropped.WithLabelValues(dropBytes))), s.Segments)
	got := read(t, db, always())
	require.Len(t, got, s.Segments*100)
	require.Equal(t, int64(299*100), got[len(got)-1].Offset, "the newest stay")
}

// TestMergeCrash: a process that ends after a merge has its file but before the
// merged ones are gone finds every record once.
func TestMergeCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, Options{Dir: dir})
	db.compactMu.Lock()
	for i := range mergeCount {
		write(t, db, lines(1, i*100, 100, hourAgo()))
		write(t, db, lines(2, i*100, 100, hourAgo()))
		cutNow(t, db)
	}
	before := t.TempDir()
	copyDir(t, dir, before)
	db.compactMu.Unlock()
	eventually(t, "merged", func() bool { return db.State().Segments == 1 })
	want := texts(read(t, db, always()))
	require.Len(t, want, mergeCount*200)
	require.Equal(t, 2, db.State().Blocks, "small blocks are packed together")
	require.NoError(t, db.Close())
	copyDir(t, before, dir)
	require.NoError(t, os.WriteFile(segmentPath(dir, 99)+tmpSuffix, []byte("half"), 0o666))
	again := open(t, Options{Dir: dir})
	require.Equal(t, 1, again.State().Segments)
	require.Equal(t, want, texts(read(t, again, always())))
	require.NoFileExists(t, segmentPath(dir, 99)+tmpSuffix)
}

// TestMergeKeepsOthersApart: what is far apart in time or large is not merged.
func TestMergeKeepsOthersApart(t *testing.T) {
	db := open(t, Options{Retention: 8 * time.Hour})
	for i := range mergeCount + 1 {
		write(t, db, lines(i, 0, 10, ago(7-float64(i)*0.4)))
		cutNow(t, db)
	}
	require.NoError(t, db.compact(t.Context(), time.Now()))
	require.Equal(t, mergeCount+1, db.State().Segments, "an hour is an eighth of the retention")
	require.Equal(t, int64(smallestTier), db.segments[0].tier())
	require.Zero(t, (&segment{size: largestTier}).tier())
}

// TestOldPartIsCut: a quiet store does not keep records in memory for ever.
func TestOldPartIsCut(t *testing.T) {
	db := open(t, Options{})
	write(t, db, lines(1, 0, 10, hourAgo()))
	db.mu.Lock()
	db.active.firstWrite -= int64(maxPartAge)
	db.mu.Unlock()
	eventually(t, "cut", func() bool { return db.State().Segments == 1 })
	require.Len(t, read(t, db, always()), 10)
}

// TestLateRecords are found in order, and dropped with their retention.
func TestLateRecords(t *testing.T) {
	db := open(t, Options{})
	write(t, db, lines(1, 0, 10, ago(1)))
	cutNow(t, db)
	late := lines(2, 0, 10, ago(100))
	write(t, db, late)
	got := read(t, db, always())
	require.Equal(t, texts(append(late, lines(1, 0, 10, ago(1))...)), texts(got))
	q := always()
	q.Order, q.Limit = storage.Descending, 1
	require.Equal(t, int64(900), read(t, db, q)[0].Offset)
}
