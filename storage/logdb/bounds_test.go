package logdb

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// TestTenThousandPods stays within the head's budget, and a query over all of
// them within its own.
func TestTenThousandPods(t *testing.T) {
	t.Parallel()
	const pods, each = 10_000, 100
	o := Options{HeadBytes: 64 * mib, MaxQueryBytes: 4 * mib}
	db := open(t, o)
	start := hourAgo()
	streams := make([]*storage.Stream, pods)
	for i := range streams {
		streams[i] = podStream(i)
	}
	line := []byte(fmt.Sprintf("%0150d", 7))
	batch := make([]storage.Record, 0, pods/10)
	highest := int64(0)
	for n := range each {
		for pod := range pods {
			batch = append(batch, storage.Record{
				Stream: streams[pod], Time: start.UnixNano() + int64(n*pods+pod)*1000, Line: line, Size: int32(len(line)),
				Source: storage.SourceID{byte(pod), byte(pod >> 8), 9}, Offset: int64(n) * 200, Level: storage.LevelInfo,
			})
			if len(batch) == cap(batch) {
				require.NoError(t, db.Write(t.Context(), batch))
				batch = batch[:0]
			}
		}
		highest = max(highest, db.State().HeadBytes)
	}
	require.LessOrEqual(t, highest, o.HeadBytes)
	require.Equal(t, pods, db.State().Streams)
	require.NotZero(t, db.State().Segments)

	it, err := db.Select(t.Context(), always())
	require.NoError(t, err)
	n, last := 0, int64(0)
	for n < 100_000 {
		records, err := it.Next()
		require.NoError(t, err)
		for _, r := range records {
			require.Greater(t, r.Time, last)
			last = r.Time
		}
		n += len(records)
		require.LessOrEqual(t, it.(*window).bytes, o.MaxQueryBytes)
	}
	require.Equal(t, start.UnixNano()+int64(n-1)*1000, last, "none left out")
	require.NoError(t, it.Close())

	q := always()
	q.Order, q.Limit = storage.Descending, 100
	require.Len(t, read(t, db, q), 100)
	counts, _, err := db.Count(t.Context(), storage.LogQuery{End: q.End}, q.End, nil)
	require.NoError(t, err)
	require.Equal(t, int64(pods*each), counts[0].Records[0])
}

// TestMarksAreBounded forgets sources that were idle longest.
func TestMarksAreBounded(t *testing.T) {
	db := open(t, Options{})
	db.marks.max = 64
	for pod := range 200 {
		write(t, db, lines(pod, 0, 2, hourAgo()))
		write(t, db, lines(0, pod*2, 2, hourAgo()))
		require.LessOrEqual(t, len(db.marks.bySource), 64)
	}
	before := len(read(t, db, always()))
	write(t, db, lines(0, 0, 400, hourAgo()))
	write(t, db, lines(199, 0, 2, hourAgo()))
	require.Len(t, read(t, db, always()), before, "busy and new sources are remembered")
	require.NoError(t, db.compact(t.Context(), time.Now()))
	require.Positive(t, testutil.ToFloat64(db.metrics.forgotten))
}

// TestMarksSurvive: what was stored is known after a restart, a merge, and the
// removal of the log.
func TestMarksSurvive(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	db := open(t, o)
	all := lines(1, 0, 500, hourAgo())
	for i := range mergeCount {
		write(t, db, all[i*100:(i+1)*100])
		cutNow(t, db)
	}
	eventually(t, "merged", func() bool { return db.State().Segments == 1 })
	write(t, db, all[400:450])
	require.NoError(t, db.Close())
	db = open(t, o)
	write(t, db, all)
	require.Equal(t, texts(all), texts(read(t, db, always())))
	require.InDelta(t, 450, testutil.ToFloat64(db.metrics.duplicates), 0)
}

// TestRefused names what is refused and stores the rest.
func TestRefused(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	db := open(t, Options{Registerer: reg, Retention: 24 * time.Hour, NamespaceRetention: map[string]time.Duration{"ns2": time.Hour}})
	batch := lines(1, 0, 6, hourAgo().Add(-time.Hour))
	batch[1].Time = time.Now().Add(-25 * time.Hour).UnixNano()
	batch[2].Time = time.Now().Add(25 * time.Hour).UnixNano()
	batch[3].Line = make([]byte, maxLineBytes+1)
	batch[4].Stream, batch[4].Source = podStream(2), storage.SourceID{7}
	err := db.Write(t.Context(), batch)
	var partial *storage.PartialError
	require.ErrorAs(t, err, &partial)
	require.Empty(t, partial.Retry)
	require.Equal(t, map[string]int{reasonTooOld: 2, reasonFuture: 1, reasonTooLarge: 1}, partial.Refused)
	require.ErrorContains(t, partial, "older than the retention of 24h0m0s")
	require.Len(t, read(t, db, always()), 2)
	require.InDelta(t, 2, testutil.ToFloat64(db.metrics.refused.WithLabelValues(reasonTooOld)), 0)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestPushedTwice drops records without a source that are in the head already.
func TestPushedTwice(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	db := open(t, o)
	batch := lines(1, 0, 20, hourAgo())
	for i := range batch {
		batch[i].Source, batch[i].Offset = storage.SourceID{}, 0
	}
	batch[5].Line, batch[5].Time = batch[4].Line, batch[4].Time
	batch[5].Metadata = labels.FromStrings("a", "b")
	write(t, db, batch)
	write(t, db, batch)
	require.Len(t, read(t, db, always()), 20)
	require.NoError(t, db.Close())
	db = open(t, o)
	write(t, db, batch)
	require.Len(t, read(t, db, always()), 20, "after a restart too")
}

// TestCountIsBounded refuses more groups than fit.
func TestCountIsBounded(t *testing.T) {
	db := open(t, Options{MaxQueryBytes: 64 * kib})
	for pod := range 20 {
		write(t, db, lines(pod, 0, 1, hourAgo()))
	}
	q := storage.LogQuery{Start: hourAgo().UnixNano(), End: time.Now().UnixNano()}
	_, _, err := db.Count(t.Context(), q, int64(time.Second), []string{"pod"})
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	_, _, err = db.Count(t.Context(), q, int64(time.Hour), []string{"pod"})
	require.NoError(t, err)
	_, _, err = db.Count(t.Context(), q, 0, nil)
	require.Error(t, err)
}

// TestSkipCacheIsBounded frees what was read first.
func TestSkipCacheIsBounded(t *testing.T) {
	db := open(t, Options{BlockBytes: minBlock})
	for i := range mergeCount - 1 {
		write(t, db, lines(1, i*500, 500, hourAgo()))
		cutNow(t, db)
	}
	segments := db.currentSegments()
	require.Len(t, segments, 3)
	for _, g := range segments {
		require.NotNil(t, db.bitmaps(g))
	}
	total := 0
	for _, g := range segments {
		total += len(g.skips)
	}
	require.Equal(t, total, db.skips.bytes)
	db.skips.max = total - 1
	db.skips.forget(segments[2])
	db.bitmaps(segments[2])
	require.LessOrEqual(t, db.skips.bytes, db.skips.max)
	require.Nil(t, segments[0].skips)
}

// TestConcurrent writes, cuts, merges, expires and reads at once: readers see
// whole prefixes of every pod, in order.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	db := open(t, Options{HeadBytes: minHeadBytes, BlockBytes: minBlock, MaxQueryBytes: 128 * kib})
	const pods, each = 4, 3000
	start := hourAgo()
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for pod := range pods {
		writers.Go(func() { write(t, db, lines(pod, 0, each, start)) })
		readers.Go(func() {
			for {
				requirePrefix(t, db, pod)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	readers.Go(func() {
		for {
			if err := db.compact(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	require.Len(t, read(t, db, always()), pods*each)
}

func requirePrefix(t *testing.T, db *DB, pod int) {
	q := always()
	q.Matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "pod", fmt.Sprint("pod", pod))}
	it, err := db.Select(t.Context(), q)
	if err != nil {
		t.Error(err)
		return
	}
	defer it.Close()
	for n := int64(0); ; {
		records, err := it.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return
		}
		for _, r := range records {
			if r.Offset != n*100 {
				t.Errorf("pod %d: offset %d where %d comes next", pod, r.Offset, n*100)
				return
			}
			n++
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{Dir: "x", Retention: -1},
		{Dir: "x", HeadBytes: 5},
		{Dir: "x", BlockBytes: 5},
		{Dir: "x", BlockBytes: mib},
		{Dir: "x", NamespaceRetention: map[string]time.Duration{"a": 0}},
	} {
		_, err := Open(o)
		require.ErrorContains(t, err, "logdb: ", o)
	}
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir})
	require.ErrorContains(t, err, "is in use by another process")
}

func TestClosed(t *testing.T) {
	db := open(t, Options{})
	all := lines(1, 0, 10, hourAgo())
	write(t, db, all)
	cutNow(t, db)
	it, err := db.Select(t.Context(), always())
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.Write(t.Context(), all), storage.ErrClosed)
	require.Len(t, take(t, it, 10), 10, "an iterator stays valid")
	require.NoError(t, it.Close())
}

// TestCloseWhileWaiting: a writer that waits for room learns that there will be
// none.
func TestCloseWhileWaiting(t *testing.T) {
	db := open(t, Options{HeadBytes: minHeadBytes})
	db.compactMu.Lock()
	db.mu.Lock()
	// A sealed part that nobody writes.
	db.sealed, db.cutDone = newPart(99), make(chan struct{})
	db.cutErr = nil
	db.mu.Unlock()
	db.stop()
	db.background.Wait()
	wrote := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i += 100 {
			err = db.Write(t.Context(), lines(1, i, 100, hourAgo()))
		}
		wrote <- err
	}()
	eventually(t, "full", func() bool { return db.State().HeadBytes >= db.cutBytes })
	db.compactMu.Unlock()
	require.NoError(t, db.Close())
	require.ErrorIs(t, <-wrote, storage.ErrClosed)
}

// TestSyncAlways acknowledges what is on the disk.
func TestSyncAlways(t *testing.T) {
	db := open(t, Options{SyncInterval: SyncAlways})
	write(t, db, lines(1, 0, 10, hourAgo()))
	require.Equal(t, db.wal.size, db.wal.synced)
}
