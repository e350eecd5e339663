package logdb

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// noise makes lines incompressible.
func noise(records []storage.Record) []storage.Record {
	for i := range records {
		line := make([]byte, 0, 400)
		for range 50 {
			line = fmt.Appendf(line, "%08x", rand.Uint32())
		}
		records[i].Line, records[i].Size = line, int32(len(line))
	}
	return records
}

// TestFullStopsBeforeTheKernelDoes: writing stops at the reserve, says what to
// do, and goes on by itself.
func TestFullStopsBeforeTheKernelDoes(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64*mib)
	dir := filepath.Join(disk, "data")
	var logs logBuffer
	db := open(t, Options{Dir: dir, MinFreeBytes: 8 * mib, Logger: logs.logger()})
	all := lines(1, 0, 1000, hourAgo())
	write(t, db, all[:500])
	free := storagetest.FillDisk(t, disk, 4*mib)
	eventually(t, "full", func() bool { return db.State().Full })
	err := db.Write(t.Context(), all[500:])
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorContains(t, err, "the disk of "+dir+" has 4.0 MiB free and 8.0 MiB are needed; delete other files there")
	require.Equal(t, err.Error(), db.State().Reason)
	require.InDelta(t, 1, testutil.ToFloat64(db.metrics.full), 0)
	require.Len(t, read(t, db, always()), 500, "reads go on")
	free()
	eventually(t, "room again", func() bool { return !db.State().Full })
	write(t, db, all)
	require.Equal(t, texts(all), texts(read(t, db, always())))
	require.Equal(t, 1, logs.count("not taken any more: disk full"))
	require.Equal(t, 1, logs.count("Logs are taken again"))
}

// TestFullInTheMiddle lets the kernel refuse writes to the log and to a
// segment: nothing acknowledged is lost, nothing is stored twice, and it goes
// on without a restart.
func TestFullInTheMiddle(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 64*mib)
	dir := filepath.Join(disk, "data")
	o := Options{Dir: dir, MinFreeBytes: 1, HeadBytes: 2 * mib}
	db := open(t, o)
	const batch = 200
	acked := 0
	all := noise(lines(1, 0, 40*batch, hourAgo()))
	write(t, db, all[:batch])
	acked += batch
	free := storagetest.FillDisk(t, disk, mib)
	var err error
	for err == nil {
		if err = db.Write(t.Context(), all[acked:acked+batch]); err == nil {
			acked += batch
		}
	}
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, texts(all[:acked]), texts(read(t, db, always())))
	copied := t.TempDir()
	copyDir(t, dir, copied)
	require.Equal(t, texts(all[:acked]), texts(read(t, open(t, Options{Dir: copied}), always())), "as after a crash")

	free()
	eventually(t, "written", func() bool { return db.Write(t.Context(), all) == nil })
	require.Equal(t, texts(all), texts(read(t, db, always())))
	eventually(t, "segments", func() bool { return db.State().Segments > 0 })
	require.NoError(t, db.Close())
	require.Equal(t, texts(all), texts(read(t, open(t, o), always())))
}

// TestFullCut: a segment that does not fit is written later; meanwhile the head
// takes records as long as it has room, and then says that the disk is full.
func TestFullCut(t *testing.T) {
	t.Parallel()
	disk := storagetest.SmallDisk(t, 32*mib)
	dir := filepath.Join(disk, "data")
	db := open(t, Options{Dir: dir, MinFreeBytes: 1, HeadBytes: 16 * mib})
	all := noise(lines(1, 0, 10_000, hourAgo()))
	write(t, db, all)
	free := storagetest.FillDisk(t, disk, 64*kib)
	db.writeMu.Lock()
	require.NoError(t, db.rotate())
	db.writeMu.Unlock()
	eventually(t, "failed", func() bool { return testutil.ToFloat64(db.metrics.cuts.WithLabelValues("failed")) > 0 })
	require.Equal(t, texts(all), texts(read(t, db, always())))
	require.True(t, db.State().Full)
	// An attempt to write the segment takes all that is free for a moment.
	eventually(t, "taken", func() bool { return db.Write(t.Context(), lines(2, 0, 10, hourAgo().Add(-time.Minute))) == nil })
	all = append(lines(2, 0, 10, hourAgo().Add(-time.Minute)), all...)

	// A start on a full disk serves what there is.
	require.NoError(t, db.Close())
	db = open(t, Options{Dir: dir, MinFreeBytes: 1, HeadBytes: 16 * mib})
	require.Equal(t, texts(all), texts(read(t, db, always())))
	free()
	eventually(t, "written", func() bool { return db.State().Segments == 1 })
	require.Equal(t, texts(all), texts(read(t, db, always())))
	require.Equal(t, db.wal.path, only(t, dir, walSuffix), "the old log is gone")
}

// TestCutFailed: writers are told once the head is full, also those that wait,
// and Close does not leave any behind.
func TestCutFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, Options{Dir: dir, HeadBytes: minHeadBytes})
	// A folder in the place of the segment.
	require.NoError(t, os.Mkdir(segmentPath(dir, db.active.seq)+tmpSuffix, 0o777))
	all, acked := noise(lines(1, 0, 5000, hourAgo())), 0
	var err error
	for err == nil {
		if err = db.Write(t.Context(), all[acked:acked+50]); err == nil {
			acked += 50
		}
	}
	require.ErrorContains(t, err, "create segment")
	require.NotErrorIs(t, err, storage.ErrFull)
	require.Equal(t, texts(all[:acked]), texts(read(t, db, always())))
	require.NoError(t, os.Remove(segmentPath(dir, 1)+tmpSuffix))
	eventually(t, "written", func() bool { return db.Write(t.Context(), all[acked:]) == nil })
	require.Equal(t, texts(all), texts(read(t, db, always())))
}
