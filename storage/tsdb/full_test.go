package tsdb

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 20*time.Millisecond, what)
}

// appendSome appends n batches and keeps what was acknowledged in want.
func appendSome(t *testing.T, db *DB, series []*storage.Series, ts *int64, n int, want map[string][]storagetest.Point) {
	t.Helper()
	for range n {
		*ts += 100
		b := samples(series, *ts)
		require.NoError(t, db.Append(t.Context(), b))
		for _, s := range b {
			key := s.Series.Labels.String()
			want[key] = append(want[key], storagetest.Point{T: s.T, V: s.V})
		}
	}
}

// TestFullStopsBeforeTheKernelDoes: ingest stops at the reserve, says what to
// do, and goes on by itself.
func TestFullStopsBeforeTheKernelDoes(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64<<20)
	dir := filepath.Join(disk, "data")
	reg := prometheus.NewRegistry()
	var logs logBuffer
	db := open(t, Options{Dir: dir, MinFreeBytes: 8 << 20, Registerer: reg, Logger: logs.logger()})
	require.FileExists(t, filepath.Join(dir, reserveName))
	series, want, ts := newSeries("full", 100), map[string][]storagetest.Point{}, minuteAgo()
	appendSome(t, db, series, &ts, 10, want)

	free := storagetest.FillDisk(t, disk, 4<<20)
	eventually(t, "full", func() bool { return db.State().Full })
	err := db.Append(t.Context(), samples(series, ts+100))
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorContains(t, err, "the disk of "+dir+" has 4.0 MiB free and 8.0 MiB are needed; delete other files there")
	require.Equal(t, err.Error(), db.State().Reason)
	require.InDelta(t, 1, testutil.ToFloat64(db.metrics.full), 0)
	app := db.Storage().Appender(t.Context())
	_, err = app.Append(0, series[0].Labels, ts, 1)
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorIs(t, app.Commit(), storage.ErrFull)
	v2 := db.Storage().AppenderV2(t.Context())
	_, err = v2.Append(0, series[0].Labels, 0, ts, 1, nil, nil, upstream.AOptions{})
	require.ErrorIs(t, err, storage.ErrFull)
	require.Equal(t, http.StatusInternalServerError, remoteWrite(t, db, ts), "a status that senders retry")
	require.Equal(t, want, readAll(t, db), "reads go on")

	free()
	eventually(t, "room again", func() bool { return !db.State().Full })
	appendSome(t, db, series, &ts, 10, want)
	require.Equal(t, want, readAll(t, db))
	require.InDelta(t, 0, testutil.ToFloat64(db.metrics.full), 0)
	require.Empty(t, db.State().Reason)
	require.Len(t, logs.lines("Metrics ingest stopped: disk full"), 1)
	require.Len(t, logs.lines("Metrics ingest goes on"), 1)
	require.InDelta(t, 0, testutil.ToFloat64(db.metrics.reopened.WithLabelValues("ok")), 0, "nothing was torn")
}

// remoteWrite sends one sample to upstream's receiver and returns the status.
func remoteWrite(t *testing.T, db *DB, ts int64) int {
	t.Helper()
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  prompb.FromLabels(labels.FromStrings(model.MetricNameLabel, "written_remotely"), nil),
		Samples: []prompb.Sample{{Timestamp: ts, Value: 1}},
	}}}).Marshal()
	require.NoError(t, err)
	h := remote.NewWriteHandler(slog.New(slog.DiscardHandler), nil, db.Storage(), remoteapi.MessageTypes{remoteapi.WriteV1MessageType}, false, false, true)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(snappy.Encode(nil, body))))
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// noisySeries makes series whose record is longer than a page of the log,
// compressed or not: upstream writes a page again after a failure, but not a
// record that began on an earlier one.
func noisySeries(n int) []*storage.Series {
	out := newSeries("noisy", n)
	for _, s := range out {
		noise := fmt.Sprintf("%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64())
		s.Labels = labels.NewBuilder(s.Labels).Set("noise", noise).Labels()
	}
	return out
}

// TestFullInTheMiddleOfAWrite lets the kernel refuse a write: the log is torn
// and upstream holds series that it never logged. Nothing acknowledged is
// lost, neither now nor after a restart, and ingest goes on without one.
func TestFullInTheMiddleOfAWrite(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64<<20)
	dir := filepath.Join(disk, "data")
	var logs logBuffer
	db, err := Open(t.Context(), Options{Dir: dir, MinFreeBytes: 1, Logger: logs.logger()})
	require.NoError(t, err)
	series, want, ts := newSeries("full", 200), map[string][]storagetest.Point{}, minuteAgo()
	appendSome(t, db, series, &ts, 10, want)

	free := storagetest.FillDisk(t, disk, 200_000)
	var unlogged []*storage.Series
	for err == nil {
		unlogged = noisySeries(2000)
		ts += 100
		batch := samples(unlogged, ts)
		err = db.Append(t.Context(), batch)
		if err == nil {
			for _, s := range batch {
				key := s.Series.Labels.String()
				want[key] = append(want[key], storagetest.Point{T: s.T, V: s.V})
			}
		}
	}
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.True(t, db.State().Full)
	require.ErrorIs(t, db.Append(t.Context(), samples(series, ts)), storage.ErrFull)
	requireContains(t, readAll(t, db), want)

	free()
	eventually(t, "open again", func() bool { return db.State().Reason == "" })
	require.InDelta(t, 1, testutil.ToFloat64(db.metrics.reopened.WithLabelValues("ok")), 0)
	appendSome(t, db, unlogged, &ts, 3, want)
	appendSome(t, db, series, &ts, 3, want)
	requireContains(t, readAll(t, db), want)

	copied := t.TempDir()
	copyFolder(t, dir, copied)
	require.NoError(t, db.Close())
	requireContains(t, readAll(t, open(t, Options{Dir: dir})), want)
	requireContains(t, readAll(t, open(t, Options{Dir: copied})), want)
}

// TestFullHeadChunks: upstream panics when head chunks cannot be written. The
// reserve gives them room when others have taken all the rest.
func TestFullHeadChunks(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64<<20)
	dir := filepath.Join(disk, "data")
	db := open(t, Options{Dir: dir, MinFreeBytes: 8 << 20})
	series, want := newSeries("full", 1000), map[string][]storagetest.Point{}
	ts := time.Now().Add(-time.Hour).UnixMilli()
	appendSome(t, db, series, &ts, 300, want)
	free := storagetest.FillDisk(t, disk, 0)
	defer free()
	eventually(t, "full", func() bool { return db.State().Full })
	require.NoFileExists(t, filepath.Join(dir, reserveName))
	current(db).ForceHeadMMap()
	require.Equal(t, want, readAll(t, db))
}

// TestReopenWaitsForReaders: an open query keeps its files until it is closed,
// and new ones are told to come back.
func TestReopenWaitsForReaders(t *testing.T) {
	t.Parallel()
	db := open(t, Options{Dir: t.TempDir()})
	series, want, ts := newSeries("read", 10), map[string][]storagetest.Point{}, minuteAgo()
	appendSome(t, db, series, &ts, 5, want)
	q, err := db.Storage().Querier(0, time.Now().UnixMilli())
	require.NoError(t, err)
	broken := current(db)
	require.ErrorIs(t, db.commitFailed(broken, syscall.EIO), syscall.EIO)
	eventually(t, "detached", func() bool { return !db.State().Ready })
	require.ErrorIs(t, db.Append(t.Context(), samples(series, ts)), ErrNotReady)
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "read"))
	n := 0
	for set.Next() {
		n++
	}
	require.NoError(t, set.Err())
	require.Equal(t, 10, n)
	require.NoError(t, q.Close())
	require.Error(t, q.Close(), "the second Close gives nothing back")
	eventually(t, "open again", func() bool { return db.State().Ready })
	appendSome(t, db, series, &ts, 5, want)
	require.Equal(t, want, readAll(t, db))
	require.NotSame(t, broken, current(db))
}

// TestCloseWhileReopening finds the handle that a reopening took away.
func TestCloseWhileReopening(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), Options{Dir: t.TempDir()})
	require.NoError(t, err)
	q, err := db.Storage().Querier(0, 1)
	require.NoError(t, err)
	_ = db.commitFailed(current(db), syscall.EIO)
	eventually(t, "detached", func() bool { return !db.State().Ready })
	time.AfterFunc(50*time.Millisecond, func() { _ = q.Close() })
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.Append(t.Context(), nil), storage.ErrClosed)
}

// TestBackoff doubles up to a bound and forgets after a quiet time.
func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Now()
	require.True(t, b.due(now))
	for _, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		b.attempted(now)
		require.Equal(t, time.Duration(want)*time.Second, b.wait)
		require.False(t, b.due(now.Add(b.wait-1)))
		now = now.Add(b.wait)
		require.True(t, b.due(now))
	}
	b.attempted(now.Add(time.Hour))
	require.Equal(t, time.Second, b.wait)
}

// TestStartOnAFullDisk opens for reading, or says that the disk is full.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64<<20)
	dir := filepath.Join(disk, "data")
	db, err := Open(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	series, want, ts := newSeries("full", 100), map[string][]storagetest.Point{}, minuteAgo()
	appendSome(t, db, series, &ts, 10, want)
	require.NoError(t, db.Close())
	free := storagetest.FillDisk(t, disk, 0)
	db, err = Open(t.Context(), Options{Dir: dir})
	if err != nil {
		require.ErrorIs(t, err, storage.ErrFull)
		free()
		db, err = Open(t.Context(), Options{Dir: dir})
		require.NoError(t, err)
	} else {
		require.True(t, db.State().Full)
		require.Equal(t, want, readAll(t, db))
		free()
	}
	eventually(t, "room again", func() bool { return !db.State().Full })
	appendSome(t, db, series, &ts, 1, want)
	require.Equal(t, want, readAll(t, db))
	require.NoError(t, db.Close())
}
