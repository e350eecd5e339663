package tsdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// withBlocks makes a folder with blocks, a checkpoint, head chunks, late
// samples and a log, as a killed process leaves it.
func withBlocks(t *testing.T) (dir string, want map[string][]storagetest.Point) {
	t.Helper()
	live := t.TempDir()
	series, late := newSeries("blocks", 10), newSeries("late", 2)
	ts := time.Now().Add(-15 * time.Hour).UnixMilli()
	var db *DB
	for part := range 5 { // Each opening begins a log file, and a checkpoint needs several.
		var err error
		db, err = Open(context.Background(), Options{Dir: live})
		require.NoError(t, err)
		for end := ts + (3 * time.Hour).Milliseconds(); ts < end; ts += 60_000 {
			require.NoError(t, db.Append(t.Context(), samples(series, ts)))
		}
		require.NoError(t, current(db).Compact(t.Context()))
		if part < 4 {
			require.NoError(t, db.Close())
		}
	}
	for ts := time.Now().Add(-100 * time.Minute).UnixMilli(); ts < time.Now().UnixMilli(); ts += 30_000 {
		require.NoError(t, db.Append(t.Context(), samples(late, ts)))
		require.NoError(t, db.Append(t.Context(), samples(late, ts-15_000)))
	}
	current(db).ForceHeadMMap()
	want = readAll(t, db)
	dir = t.TempDir()
	copyFolder(t, live, dir)
	require.NoError(t, db.Close())
	metas, err := filepath.Glob(filepath.Join(dir, "*", metaName))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(metas), 3)
	return dir, want
}

// oneBlock returns the folder of the oldest block.
func oneBlock(t *testing.T, dir string) string {
	t.Helper()
	metas, err := filepath.Glob(filepath.Join(dir, "*", metaName))
	require.NoError(t, err)
	require.NotEmpty(t, metas)
	return filepath.Dir(metas[0])
}

func TestBlocksDamaged(t *testing.T) {
	t.Parallel()
	pristine, want := withBlocks(t)
	half := func(path string) func(*testing.T, string) {
		return func(t *testing.T, block string) {
			info, err := os.Stat(filepath.Join(block, path))
			require.NoError(t, err)
			require.NoError(t, os.Truncate(filepath.Join(block, path), info.Size()/2))
		}
	}
	shorter := func(path string) func(*testing.T, string) {
		return func(t *testing.T, block string) {
			info, err := os.Stat(filepath.Join(block, path))
			require.NoError(t, err)
			require.NoError(t, os.Truncate(filepath.Join(block, path), info.Size()-1))
		}
	}
	empty := func(path string) func(*testing.T, string) {
		return func(t *testing.T, block string) {
			require.NoError(t, os.Truncate(filepath.Join(block, path), 0))
		}
	}
	remove := func(path string) func(*testing.T, string) {
		return func(t *testing.T, block string) { require.NoError(t, os.RemoveAll(filepath.Join(block, path))) }
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, block string)
		// restored says that nothing is lost.
		restored bool
	}{
		{"meta.json empty", empty(metaName), true},
		{"meta.json cut off", half(metaName), true},
		{"meta.json missing", remove(metaName), true},
		{"meta.json of another block", func(t *testing.T, block string) {
			text, err := os.ReadFile(filepath.Join(block, metaName))
			require.NoError(t, err)
			other := strings.ReplaceAll(string(text), filepath.Base(block), "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			require.NoError(t, os.WriteFile(filepath.Join(block, metaName), []byte(other), 0o600))
		}, true},
		{"index cut off", half("index"), false},
		{"index one byte short", shorter("index"), false},
		{"index empty", empty("index"), false},
		{"index missing", remove("index"), false},
		{"chunks cut off", half("chunks/000001"), false},
		{"chunks one byte short", shorter("chunks/000001"), false},
		{"chunks empty", empty("chunks/000001"), false},
		{"chunks file missing", remove("chunks/000001"), false},
		{"chunks folder missing", remove("chunks"), false},
		{"tombstones damaged", func(t *testing.T, block string) {
			require.NoError(t, os.WriteFile(filepath.Join(block, "tombstones"), []byte("not tombstones"), 0o600))
		}, false},
		{"everything missing", func(t *testing.T, block string) {
			entries, err := os.ReadDir(block)
			require.NoError(t, err)
			for _, e := range entries {
				require.NoError(t, os.RemoveAll(filepath.Join(block, e.Name())))
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, pristine, dir)
			block := oneBlock(t, dir)
			meta, err := readMeta(block)
			require.NoError(t, err)
			c.damage(t, block)
			var logs logBuffer
			db := open(t, Options{Dir: dir, Logger: logs.logger()})
			got := readAll(t, db)
			if c.restored {
				require.Equal(t, want, got)
				require.Len(t, logs.lines("Wrote the description of a metrics block anew"), 1)
				return
			}
			rest := map[string][]storagetest.Point{}
			for key, points := range want {
				for _, p := range points {
					if p.T < meta.MinTime || p.T >= meta.MaxTime {
						rest[key] = append(rest[key], p)
					}
				}
			}
			require.Equal(t, rest, got)
			lines := logs.lines("Dropped a broken metrics block")
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], filepath.Base(block))
			require.DirExists(t, filepath.Join(dir, quarantineName, filepath.Base(block)))
			require.InDelta(t, 1, testutil.ToFloat64(db.metrics.quarantined.WithLabelValues(reasonBlock)), 0)
		})
	}
}
