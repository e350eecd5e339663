package tsdb

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// written is one acknowledged batch and where the log ended after it.
type written struct {
	segment int
	end     int64
	batch   []storage.Sample
}

// crashed makes a folder as a killed process leaves it: three log files, of
// which every acknowledged batch is known.
func crashed(t *testing.T, batches int) (dir string, all []written) {
	t.Helper()
	base := time.Now().Add(-time.Hour).UnixMilli()
	live := t.TempDir()
	for segment := range 3 {
		db, err := Open(context.Background(), Options{Dir: live})
		require.NoError(t, err)
		series := newSeries(fmt.Sprint("segment_", segment), 20)
		for i := range batches {
			b := samples(series, base+int64(segment*batches+i)*1000)
			require.NoError(t, db.Append(t.Context(), b))
			info, err := os.Stat(wlog.SegmentName(filepath.Join(live, walName), segment))
			require.NoError(t, err)
			all = append(all, written{segment, info.Size(), b})
		}
		if segment == 2 {
			dir = t.TempDir()
			copyFolder(t, live, dir)
		}
		require.NoError(t, db.Close())
	}
	return dir, all
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

func expect(batches ...written) map[string][]storagetest.Point {
	out := map[string][]storagetest.Point{}
	for _, w := range batches {
		for _, s := range w.batch {
			key := s.Series.Labels.String()
			out[key] = append(out[key], storagetest.Point{T: s.T, V: s.V})
		}
	}
	return out
}

// flip changes one byte of a file.
func flip(t testing.TB, path string, at int64, mask byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{b[0] ^ mask}, at)
	require.NoError(t, err)
}

// TestWALFlipped changes one byte at many places: at most the batch that the
// byte belongs to is gone. The first batch of a file carries the series' record.
func TestWALFlipped(t *testing.T) {
	t.Parallel()
	pristine, all := crashed(t, 150)
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		segment := random.IntN(3)
		var inFile, others []written
		for _, w := range all {
			if w.segment == segment {
				inFile = append(inFile, w)
			} else {
				others = append(others, w)
			}
		}
		at, mask := random.Int64N(inFile[len(inFile)-1].end), byte(1)<<random.IntN(8)
		t.Run(fmt.Sprintf("file %d at %d mask %x", segment, at, mask), func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, pristine, dir)
			flip(t, wlog.SegmentName(filepath.Join(dir, walName), segment), at, mask)
			var logs logBuffer
			db := open(t, Options{Dir: dir, Logger: logs.logger()})
			got := readAll(t, db)
			requireContains(t, got, expect(others...))
			if at >= inFile[0].end {
				var hit, rest []written
				begin := inFile[0].end
				for _, w := range inFile {
					if at >= begin && at < w.end {
						hit = append(hit, w)
					} else {
						rest = append(rest, w)
					}
					begin = w.end
				}
				require.LessOrEqual(t, len(hit), 1)
				requireContains(t, got, expect(rest...))
			}
			if len(logs.lines("Dropped unreadable parts of the metrics log")) == 0 {
				// The byte was padding that is not checked, or in a record's unused part.
				requireContains(t, got, expect(all...))
			}
			require.Empty(t, logs.lines("attempting repair"), "left to upstream")
			require.NoError(t, db.Append(t.Context(), samples(newSeries("after", 1), time.Now().UnixMilli())))
		})
	}
}

// TestWALTruncated cuts a file off at many places, as a crash of the machine does.
func TestWALTruncated(t *testing.T) {
	t.Parallel()
	pristine, all := crashed(t, 60)
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		cut := all[random.IntN(len(all))]
		at := cut.end - random.Int64N(30)
		t.Run(fmt.Sprintf("file %d at %d", cut.segment, at), func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, pristine, dir)
			require.NoError(t, os.Truncate(wlog.SegmentName(filepath.Join(dir, walName), cut.segment), at))
			var logs logBuffer
			db := open(t, Options{Dir: dir, Logger: logs.logger()})
			var kept []written
			for _, w := range all {
				if w.segment != cut.segment || w.end <= at {
					kept = append(kept, w)
				}
			}
			require.Equal(t, expect(kept...), readAll(t, db))
			if at != cut.end {
				lines := logs.lines("Dropped unreadable parts")
				require.Len(t, lines, 1)
				require.Contains(t, lines[0], "files=1 missing_files=0 places=1")
				require.FileExists(t, filepath.Join(dir, quarantineName, fmt.Sprintf("wal-%08d", cut.segment)))
				require.InDelta(t, 1, testutil.ToFloat64(db.metrics.quarantined.WithLabelValues(reasonLog)), 0)
				require.Positive(t, testutil.ToFloat64(db.metrics.salvagedBytes))
			}
		})
	}
}

func TestWALDamaged(t *testing.T) {
	t.Parallel()
	pristine, all := crashed(t, 60)
	segment := func(dir string, n int) string { return wlog.SegmentName(filepath.Join(dir, walName), n) }
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		lost   func(written) bool
		log    string
	}{
		{"garbage at the end", func(t *testing.T, dir string) {
			f, err := os.OpenFile(segment(dir, 2), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.Write([]byte("\x01\x00\x10garbage garbage garbage"))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, func(written) bool { return false }, "places=1"},
		{"zeros at the end", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(segment(dir, 2), all[len(all)-1].end+12345))
		}, func(written) bool { return false }, ""},
		{"a file is missing", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(segment(dir, 1)))
		}, func(w written) bool { return w.segment == 1 }, "missing_files=1"},
		{"a file is empty", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(segment(dir, 1), 0))
		}, func(w written) bool { return w.segment == 1 }, ""},
		{"a file is noise", func(t *testing.T, dir string) {
			noise := make([]byte, 100_000)
			for i := range noise {
				noise[i] = byte(rand.Int())
			}
			require.NoError(t, os.WriteFile(segment(dir, 1), noise, 0o600))
		}, func(w written) bool { return w.segment == 1 }, "files=1"},
		{"left over from an interrupted recovery", func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, salvageName, "x"), 0o700))
		}, func(written) bool { return false }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, pristine, dir)
			c.damage(t, dir)
			var logs logBuffer
			db := open(t, Options{Dir: dir, Logger: logs.logger()})
			var kept []written
			for _, w := range all {
				if !c.lost(w) {
					kept = append(kept, w)
				}
			}
			require.Equal(t, expect(kept...), readAll(t, db))
			lines := logs.lines("Dropped unreadable parts")
			if c.log == "" {
				require.Empty(t, lines)
				return
			}
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], c.log)
		})
	}
}

// TestCheckpointDamaged: what the blocks and the rest of the log hold stays.
func TestCheckpointDamaged(t *testing.T) {
	t.Parallel()
	pristine, want := withBlocks(t)
	random := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		dir := t.TempDir()
		copyFolder(t, pristine, dir)
		checkpoint, _, err := wlog.LastCheckpoint(filepath.Join(dir, walName))
		require.NoError(t, err)
		path := wlog.SegmentName(checkpoint, 0)
		info, err := os.Stat(path)
		require.NoError(t, err)
		at := random.Int64N(info.Size())
		flip(t, path, at, 0x55)
		db := open(t, Options{Dir: dir})
		got := readAll(t, db)
		last := int64(0)
		metas, err := db.Admin().BlockMetas()
		require.NoError(t, err)
		for _, m := range metas {
			last = max(last, m.MaxTime)
		}
		inBlocks := map[string][]storagetest.Point{}
		for key, points := range want {
			for _, p := range points {
				if p.T < last || strings.Contains(key, `"late"`) {
					inBlocks[key] = append(inBlocks[key], p)
				}
			}
		}
		requireContains(t, got, inBlocks)
	}
}

// TestHeadChunksDamaged loses nothing: the log holds the same samples.
func TestHeadChunksDamaged(t *testing.T) {
	t.Parallel()
	pristine, want := withBlocks(t)
	files, err := fs.Glob(os.DirFS(pristine), headChunksName+"/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	random := rand.New(rand.NewPCG(7, 8))
	for _, name := range files {
		for i := range 8 {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				dir := t.TempDir()
				copyFolder(t, pristine, dir)
				path := filepath.Join(dir, name)
				info, err := os.Stat(path)
				require.NoError(t, err)
				switch at := random.Int64N(info.Size()); i {
				case 0:
					flip(t, path, 0, 0xff) // The magic number.
				case 1:
					flip(t, path, 4, 0xff) // The version.
				case 2:
					require.NoError(t, os.Truncate(path, 3))
				case 3:
					require.NoError(t, os.Truncate(path, at))
				case 4:
					require.NoError(t, os.Remove(path))
				case 5:
					flip(t, path, 8+at%200, 0x10) // A chunk's header, surely.
				default:
					flip(t, path, at, 0x10)
				}
				db := open(t, Options{Dir: dir})
				require.Equal(t, want, readAll(t, db))
			})
		}
	}
}

// TestWBLDamaged loses at most the late samples of one batch.
func TestWBLDamaged(t *testing.T) {
	t.Parallel()
	pristine, want := withBlocks(t)
	_, last, err := wlog.Segments(filepath.Join(pristine, wlog.WblDirName))
	require.NoError(t, err)
	path := func(dir string) string { return wlog.SegmentName(filepath.Join(dir, wlog.WblDirName), last) }
	info, err := os.Stat(path(pristine))
	require.NoError(t, err)
	require.Positive(t, info.Size())
	random := rand.New(rand.NewPCG(9, 10))
	for range 10 {
		dir := t.TempDir()
		copyFolder(t, pristine, dir)
		flip(t, path(dir), random.Int64N(info.Size()), 0x08)
		got := readAll(t, open(t, Options{Dir: dir}))
		for key, points := range want {
			require.GreaterOrEqual(t, len(got[key]), len(points)-1, key)
		}
	}
}
