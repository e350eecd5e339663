package logdb

import (
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// TestTornWAL cuts a log at every byte: what was written whole before is found,
// what was torn is gone, and sending everything again stores the rest once.
func TestTornWAL(t *testing.T) {
	t.Parallel()
	source, all := t.TempDir(), lines(1, 0, 6, hourAgo())
	db := open(t, Options{Dir: source})
	var ends []int64
	for i := range all {
		require.NoError(t, db.Write(t.Context(), all[i:i+1]))
		ends = append(ends, db.wal.size)
	}
	require.NoError(t, db.Close())
	whole, err := os.ReadFile(only(t, source, walSuffix))
	require.NoError(t, err)
	require.Len(t, whole, int(ends[len(ends)-1]))

	dir := t.TempDir()
	path := walPath(dir, 1)
	for size := range len(whole) {
		require.NoError(t, os.WriteFile(path, whole[:size], 0o666))
		want := 0
		for want < len(ends) && int64(size) >= ends[want] {
			want++
		}
		db, err := Open(Options{Dir: dir})
		require.NoError(t, err, size)
		require.Equal(t, texts(all[:want]), texts(read(t, db, always())), size)
		if want == 0 || int64(size) > ends[want-1] {
			require.Equal(t, size > headerSize || size < headerSize && size > 0, testutil.ToFloat64(db.metrics.walDamage) > 0, size)
		}
		require.NoError(t, db.Write(t.Context(), all))
		require.NoError(t, db.Close())
		db, err = Open(Options{Dir: dir})
		require.NoError(t, err)
		require.Equal(t, texts(all), texts(read(t, db, always())), size)
		require.NoError(t, db.Close())
		require.NoError(t, os.Remove(path))
	}
}

// TestFlippedWAL flips a bit in every byte: frames before it are read, those
// from it on are not, and nothing else is.
func TestFlippedWAL(t *testing.T) {
	t.Parallel()
	source, all := t.TempDir(), lines(1, 0, 4, hourAgo())
	db := open(t, Options{Dir: source})
	var ends []int64
	for i := range all {
		require.NoError(t, db.Write(t.Context(), all[i:i+1]))
		ends = append(ends, db.wal.size)
	}
	require.NoError(t, db.Close())
	whole, err := os.ReadFile(only(t, source, walSuffix))
	require.NoError(t, err)
	dir := t.TempDir()
	for i := headerSize; i < len(whole); i++ {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 1 << (i % 8)
		require.NoError(t, os.WriteFile(walPath(dir, 1), damaged, 0o666))
		want := 0
		for int64(i) >= ends[want] {
			want++
		}
		var logs logBuffer
		db, err := Open(Options{Dir: dir, Logger: logs.logger()})
		require.NoError(t, err)
		require.Equal(t, texts(all[:want]), texts(read(t, db, always())), i)
		require.Equal(t, 1, logs.count("ends in a torn record"))
		require.NoError(t, db.Close())
	}
}

// TestNewerWAL leaves a log of a later version alone.
func TestNewerWAL(t *testing.T) {
	dir := t.TempDir()
	header := newHeader(walMagic)
	header[8] = formatVersion + 1
	header = append(header[:12], newCRC(header[:12])...)
	require.NoError(t, os.WriteFile(walPath(dir, 1), header, 0o666))
	_, err := Open(Options{Dir: dir})
	require.ErrorIs(t, err, errNewerFormat)
	require.ErrorContains(t, err, "version 2, this program knows version 1")
	require.FileExists(t, walPath(dir, 1))
}

func newCRC(b []byte) []byte {
	c := checksum(b)
	return []byte{byte(c), byte(c >> 8), byte(c >> 16), byte(c >> 24)}
}

// TestReplayAfterCut: a process that ends between a segment and the removal of
// its log, or before the segment, stores nothing twice and loses nothing.
func TestReplayAfterCut(t *testing.T) {
	t.Parallel()
	dir, all := t.TempDir(), lines(1, 0, 3000, hourAgo())
	pushed := lines(2, 0, 500, hourAgo())
	for i := range pushed {
		pushed[i].Source = storage.SourceID{}
	}
	db := open(t, Options{Dir: dir})
	write(t, db, all[:2000])
	write(t, db, pushed)
	before := t.TempDir()
	copyDir(t, dir, before)
	cutNow(t, db)
	write(t, db, all[2000:])
	after := t.TempDir()
	copyDir(t, dir, after)
	both := t.TempDir()
	copyDir(t, before, both)
	copyDir(t, dir, both)
	want := texts(read(t, db, always()))
	require.Len(t, want, 3500)
	require.NoError(t, db.Close())

	for name, dir := range map[string]string{"after the cut": after, "segment and log": both} {
		again := open(t, Options{Dir: dir})
		require.Equal(t, want, texts(read(t, again, always())), name)
		require.NoError(t, again.Close())
	}
	// Two logs and no segment: the first one was being written.
	require.NoError(t, os.Remove(segmentPath(after, 1)))
	copyDir(t, before, after)
	again := open(t, Options{Dir: after})
	require.Equal(t, want, texts(read(t, again, always())))
	eventually(t, "written", func() bool { return again.State().Segments == 1 })
	write(t, again, all)
	require.Equal(t, want, texts(read(t, again, always())), "sent again")
}

func FuzzFrame(f *testing.F) {
	var e frameEncoder
	batch := lines(1, 0, 3, hourAgo())
	batch[1].Metadata = podStream(1).Labels
	c := &chunk{batch: batch, rows: []accepted{{index: 0, source: 1}, {index: 1}, {index: 2, source: 1}}}
	c.newStreams = []*stream{{Stream: *batch[0].Stream}}
	c.newSources = []newSource{{source: batch[0].Source}}
	frame := append([]byte{}, e.encode(c)...)
	f.Add(frame)
	f.Add(e.raw)
	f.Fuzz(func(_ *testing.T, b []byte) {
		if raw, n, err := nextFrame(nil, b); err == nil {
			if n > len(b) {
				panic("a frame longer than its file")
			}
			_, _ = parseFrame(raw)
		}
		// A frame whose checksum holds may still be of another program.
		_, _ = parseFrame(b)
	})
}
