package logdb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// damaged makes a folder with one segment of several blocks and a needle, and
// returns its records.
func damaged(t *testing.T) (dir string, all []storage.Record, blocks []blockMeta) {
	dir = t.TempDir()
	db := open(t, Options{Dir: dir, BlockBytes: minBlock})
	for pod := range 4 {
		records := lines(pod, 0, 120, hourAgo())
		records[60].Level = storage.LevelError
		all = append(all, records...)
	}
	write(t, db, all)
	cutNow(t, db)
	blocks = db.segments[0].blocks
	require.NoError(t, db.Close())
	return dir, all, blocks
}

// TestFlippedSegment flips bits in every region of a segment: a block costs
// itself, the skip index only time, and the rest the segment, which is set
// aside. In no case is there a record that was not written.
func TestFlippedSegment(t *testing.T) {
	t.Parallel()
	source, all, blocks := damaged(t)
	require.GreaterOrEqual(t, len(blocks), 8)
	wrote := make(map[string]bool)
	for _, text := range texts(all) {
		wrote[text] = true
	}
	whole, err := os.ReadFile(only(t, source, segmentSuffix))
	require.NoError(t, err)
	data := int64(headerSize)
	for i := range blocks {
		data += blocks[i].size()
	}
	skips := data
	for i := range blocks {
		skips += int64(skipBytes(blocks[i].skipLog))
	}
	for at := int64(0); at < int64(len(whole)); at += 37 {
		dir := t.TempDir()
		copyDir(t, source, dir)
		b := append([]byte{}, whole...)
		b[at] ^= 1 << (at % 8)
		require.NoError(t, os.WriteFile(only(t, dir, segmentSuffix), b, 0o666))
		var logs logBuffer
		db, err := Open(Options{Dir: dir, BlockBytes: minBlock, Logger: logs.logger()})
		require.NoError(t, err, at)
		found := texts(read(t, db, always()))
		for _, text := range found {
			require.True(t, wrote[text])
		}
		needle, err := storage.NewLineMatcher(false, storage.LinePattern{Text: "line 60 of"})
		require.NoError(t, err)
		q := always()
		q.Lines = []*storage.LineMatcher{needle}
		needles := len(read(t, db, q))
		corrupt := func(part string) float64 { return testutil.ToFloat64(db.metrics.corrupt.WithLabelValues(part)) }
		switch {
		case at >= headerSize && at < data:
			require.Greater(t, len(found), len(all)*3/4, "one block is lost, at most")
			require.Less(t, len(found), len(all))
			require.InDelta(t, 1, corrupt("block"), 0, at)
			require.Equal(t, 1, logs.count("A damaged block is left out"))
			require.GreaterOrEqual(t, needles, 3)
		case at >= data && at < skips:
			require.Len(t, found, len(all))
			require.Equal(t, 4, needles)
			require.InDelta(t, 1, corrupt("skip_index"), 0)
		default:
			require.Empty(t, found, at)
			require.InDelta(t, 1, corrupt("segment"), 0, at)
			require.FileExists(t, filepath.Join(dir, quarantineName, filepath.Base(only(t, source, segmentSuffix))))
		}
		require.NoError(t, db.Write(t.Context(), lines(1, 5000, 10, hourAgo())), "it goes on")
		require.NoError(t, db.Close())
	}
}

// TestTruncatedSegment sets a segment aside that was cut off.
func TestTruncatedSegment(t *testing.T) {
	t.Parallel()
	dir, _, _ := damaged(t)
	path := only(t, dir, segmentSuffix)
	for _, size := range []int64{1000, 50, 0} {
		require.NoError(t, os.Truncate(path, size))
		db := open(t, Options{Dir: dir})
		require.Empty(t, read(t, db, always()))
		require.NoError(t, db.Close())
		require.NoError(t, os.Rename(filepath.Join(dir, quarantineName, filepath.Base(path)), path))
	}
}

// TestMergeOfDamage merges what can be read.
func TestMergeOfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, Options{Dir: dir, BlockBytes: minBlock})
	for i := range mergeCount {
		write(t, db, lines(1, i*200, 200, hourAgo()))
		if i < mergeCount-1 {
			cutNow(t, db)
		}
	}
	first := db.segments[0]
	at := first.blocks[0].offset
	require.NoError(t, db.Close())
	f, err := os.OpenFile(first.path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xff, 0xff, 0xff}, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	db = open(t, Options{Dir: dir, BlockBytes: minBlock})
	cutNow(t, db)
	want := read(t, db, always())
	require.Less(t, len(want), 200*mergeCount)
	eventually(t, "merged", func() bool { return db.State().Segments == 1 })
	require.Equal(t, texts(want), texts(read(t, db, always())))
	require.InDelta(t, 1, testutil.ToFloat64(db.metrics.corrupt.WithLabelValues("block")), 0)
}

func FuzzFooter(f *testing.F) {
	foot := footer{
		wal: 3, replaces: []uint64{1, 2}, sources: []sourceMark{{source: storage.SourceID{1}, offset: 5, time: 7}},
		blocks: []blockMeta{{minTime: 5, maxTime: 9, rows: 2, textBytes: 20, countsLen: 9, identityLen: 20, textLen: 30, skipLog: 6}},
	}
	foot.streams = append(foot.streams, podStream(1).Labels)
	f.Add(foot.append(nil), int64(59), int64(8))
	f.Fuzz(func(t *testing.T, b []byte, data, skips int64) {
		got, err := parseFooter(b, data, skips)
		if err != nil {
			return
		}
		again, err := parseFooter(got.append(nil), data, skips)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func FuzzTrailer(f *testing.F) {
	f.Add(trailer{dataBytes: 7, footerLen: 5}.append(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseTrailer(b)
		_ = checkHeader(b, segmentMagic)
	})
}

// FuzzBlock decodes frames whose checksums are taken to hold.
func FuzzBlock(f *testing.F) {
	codec, err := newCodec()
	require.NoError(f, err)
	var c columns
	from := columns{}
	table := []storage.SourceID{{}, {1}, {2}}
	for i, r := range lines(1, 0, 20, hourAgo()) {
		from.times, from.levels = append(from.times, r.Time), append(from.levels, r.Level)
		from.text = append(from.text, r.Line...)
		from.ends = append(from.ends, uint32(len(from.text)))
		from.offsets = append(from.offsets, r.Offset)
		c.appendRow(&from, i, uint32(i%3))
	}
	c.flags[3] = storage.FlagJoined
	c.metadata = []rowLabels{{4, podStream(1).Labels}}
	e := newBlockEncoder(codec)
	frames := e.encode(&c, table)
	f.Add(frames.counts, e.raw, 20)
	f.Fuzz(func(t *testing.T, counts, identity []byte, rows int) {
		var got columns
		if decodeCounts(&got, counts, rows) != nil {
			return
		}
		var d identityDecoder
		packed := codec.enc.EncodeAll(identity, nil)
		if d.decode(codec, &got, packed, uint32(len(identity))) != nil {
			return
		}
		for i := range got.times {
			got.identity(i, d.table)
			got.metadataOf(i)
			got.flagsOf(i)
		}
	})
}

// TestBlockRoundTrip: what is encoded is decoded, whatever is in it.
func TestBlockRoundTrip(t *testing.T) {
	codec, err := newCodec()
	require.NoError(t, err)
	table := []storage.SourceID{{}, {1}, {2}}
	for name, c := range map[string]*columns{
		"plain":    {times: []int64{5}, ends: []uint32{3}, levels: []storage.Level{1}, flags: []storage.RecordFlags{0}, sources: []uint32{1}, offsets: []int64{9}, text: []byte("abc")},
		"empty":    {times: []int64{5, 5}, ends: []uint32{0, 0}, levels: []storage.Level{1, 6}, flags: []storage.RecordFlags{0, 3}, sources: []uint32{0, 0}, offsets: []int64{0, 0}, text: []byte{}},
		"mixed":    {times: []int64{-7_000_000_000, 1_000_000_000}, ends: []uint32{1, 2}, levels: []storage.Level{0, 0}, flags: []storage.RecordFlags{0, 0}, sources: []uint32{2, 0}, offsets: []int64{-1 << 63, 0}, text: []byte("xy")},
		"metadata": {times: []int64{1, 2}, ends: []uint32{1, 2}, levels: []storage.Level{0, 0}, flags: []storage.RecordFlags{0, 0}, sources: []uint32{1, 2}, offsets: []int64{1<<63 - 1, 4}, text: []byte("xy"), metadata: []rowLabels{{1, podStream(1).Labels}}},
	} {
		frames := newBlockEncoder(codec).encode(c, table)
		var got columns
		require.NoError(t, decodeCounts(&got, frames.counts, c.len()), name)
		var d identityDecoder
		require.NoError(t, d.decode(codec, &got, frames.identity, frames.identityRaw), name)
		got.text, err = codec.unpack(nil, frames.text, len(c.text))
		require.NoError(t, err)
		for i := range c.times {
			require.Equal(t, c.times[i], got.times[i], name)
			require.Equal(t, c.levels[i], got.levels[i], name)
			require.Equal(t, c.flagsOf(i), got.flagsOf(i), name)
			require.Equal(t, string(c.line(i)), string(got.line(i)), name)
			require.Equal(t, c.metadataOf(i), got.metadataOf(i), name)
			source, offset := c.identity(i, table)
			gotSource, gotOffset := got.identity(i, d.table)
			require.Equal(t, source, gotSource, name)
			require.Equal(t, offset, gotOffset, name)
		}
	}
}
