package remote

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// shedCounts adds up what a buffer sheds by endpoint and reason.
type shedCounts map[string]int

// testBuffer opens a buffer with one cursor per name.
func testBuffer(t *testing.T, dir string, budget int64, names ...string) (*buffer, shedCounts) {
	t.Helper()
	counts := shedCounts{}
	b, err := openBuffer(dir, budget, names, func(i, points int, reason string) {
		counts[names[i]+" "+reason] += points
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	return b, counts
}

// drain reads what is left for a cursor without waiting: the fill bytes.
func drain(t *testing.T, b *buffer, i int) (fills []byte, damages int) {
	t.Helper()
	r := &reader{buffer: b, cursor: b.cursors[i]}
	defer r.close()
	for {
		pos, limit, ok := b.locate(b.cursors[i])
		if !ok {
			return fills, damages
		}
		e, err := r.read(pos, limit)
		if err != nil {
			damages++
		} else {
			fills = append(fills, byte(e.samples))
		}
		require.True(t, b.advance(b.cursors[i], pos, e.next))
	}
}

func sequence(from, to int) (out []byte) {
	for i := from; i <= to; i++ {
		out = append(out, byte(i))
	}
	return out
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	require.NoError(t, err)
	return files
}

func diskUse(t *testing.T, dir string) (n int64) {
	t.Helper()
	for _, f := range segmentFiles(t, dir) {
		info, err := os.Stat(f)
		require.NoError(t, err)
		n += info.Size()
	}
	return n
}

func TestBufferKeepsPositionsOverRestarts(t *testing.T) {
	dir := t.TempDir()
	b, _ := testBuffer(t, dir, minMaxBytes, "cursor-a", "cursor-b")
	for i := 1; i <= 6; i++ {
		require.NoError(t, b.append(testFrame(40<<10, byte(i)))) // one or two to a segment
	}
	fills, _ := drain(t, b, 0)
	require.Equal(t, sequence(1, 6), fills)
	require.Len(t, segmentFiles(t, dir), 6, "the other endpoint needs them")
	require.NoError(t, b.close())

	b, _ = testBuffer(t, dir, minMaxBytes, "cursor-a", "cursor-b", "cursor-new")
	for i, want := range [][]byte{nil, sequence(1, 6), sequence(1, 6)} {
		fills, _ := drain(t, b, i)
		require.Equal(t, want, fills, i)
	}
	require.Len(t, segmentFiles(t, dir), 1, "what all have got is deleted")
	require.Equal(t, diskUse(t, dir), b.bytes())
	require.NoError(t, b.close())

	// Endpoints that are gone are forgotten, and need nothing kept.
	b, _ = testBuffer(t, dir, minMaxBytes, "cursor-b")
	require.NoFileExists(t, filepath.Join(dir, "cursor-a"))
	fills, _ = drain(t, b, 0)
	require.Empty(t, fills)
}

func TestBufferShedsTheOldest(t *testing.T) {
	dir := t.TempDir()
	b, shed := testBuffer(t, dir, minMaxBytes, "cursor-a", "cursor-b")
	total := 0
	for i := 1; i <= 100; i++ {
		require.NoError(t, b.append(testFrame(30<<10, byte(i))))
		total += i
		require.LessOrEqual(t, diskUse(t, dir), int64(minMaxBytes))
		require.Equal(t, diskUse(t, dir), b.bytes())
		if i == 50 {
			fills, _ := drain(t, b, 0)
			require.Equal(t, byte(50), fills[len(fills)-1])
		}
	}
	for i, name := range []string{"cursor-a", "cursor-b"} {
		fills, damages := drain(t, b, i)
		require.Zero(t, damages)
		require.Equal(t, sequence(int(fills[0]), 100), fills, "the newest are kept")
		got := 0
		for _, f := range fills {
			got += int(f)
		}
		if name == "cursor-b" {
			require.Equal(t, total, got+shed[name+" budget"], "every sample is delivered or counted")
		}
	}
	require.Less(t, shed["cursor-a budget"], shed["cursor-b budget"])
}

func TestBufferShedsAroundAHeldEntry(t *testing.T) {
	b, shed := testBuffer(t, t.TempDir(), minMaxBytes, "cursor-a")
	require.NoError(t, b.append(testFrame(10, 1)))
	require.NoError(t, b.append(testFrame(10, 2)))
	r := &reader{buffer: b, cursor: b.cursors[0]}
	defer r.close()
	e, err := r.next(t.Context())
	require.NoError(t, err)
	for i := 0; b.kept(b.cursors[0], e.pos); i++ {
		require.NoError(t, b.append(testFrame(60<<10, 0)))
	}
	require.Equal(t, shedCounts{"cursor-a budget": 2}, shed, "entry 1 is in the hands of the sender")
	require.False(t, b.advance(b.cursors[0], e.pos, e.next))
}

func TestBufferSurvivesAFullDisk(t *testing.T) {
	dir := t.TempDir()
	b, shed := testBuffer(t, dir, minMaxBytes, "cursor-a")
	room := int64(200 << 10)
	b.writeAt = func(f *os.File, data []byte, off int64) (int, error) {
		if free := room - diskUse(t, dir); int64(len(data)) > free {
			n, err := f.WriteAt(data[:max(free, 0)], off)
			require.NoError(t, err)
			return n, syscall.ENOSPC
		}
		return f.WriteAt(data, off)
	}
	for i := 1; i <= 50; i++ {
		require.NoError(t, b.append(testFrame(30<<10, byte(i))))
	}
	require.Positive(t, shed["cursor-a disk_full"])
	require.LessOrEqual(t, diskUse(t, dir), room)

	room = 0 // others took everything
	err := b.append(testFrame(30<<10, 51))
	require.ErrorIs(t, err, storage.ErrFull)
	require.ErrorIs(t, err, syscall.ENOSPC)
	room = 1 << 30
	require.NoError(t, b.append(testFrame(30<<10, 52)), "it goes on by itself")
	fills, damages := drain(t, b, 0)
	require.Zero(t, damages)
	require.Equal(t, byte(52), fills[len(fills)-1])
	require.NotContains(t, fills, byte(51))
}

func TestBufferCutsOffATornEnd(t *testing.T) {
	dir := t.TempDir()
	b, _ := testBuffer(t, dir, minMaxBytes, "cursor-a")
	require.NoError(t, b.append(testFrame(100, 1)))
	require.NoError(t, b.append(testFrame(100, 2)))
	require.NoError(t, b.close())
	path := segmentFiles(t, dir)[0]
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-1))

	b, _ = testBuffer(t, dir, minMaxBytes, "cursor-a")
	require.NoError(t, b.append(testFrame(100, 3)))
	fills, damages := drain(t, b, 0)
	require.Equal(t, []byte{1, 3}, fills)
	require.Zero(t, damages)
}

// TestBufferSurvivesAnyDamage flips bits and cuts files of a closed buffer: it
// opens again, delivers only what was appended, and takes new entries.
func TestBufferSurvivesAnyDamage(t *testing.T) {
	pristine := t.TempDir()
	b, _ := testBuffer(t, pristine, minMaxBytes, "cursor-a")
	for i := 1; i <= 6; i++ {
		require.NoError(t, b.append(testFrame(30<<10, byte(i))))
	}
	require.NoError(t, b.close())
	files := segmentFiles(t, pristine)
	files = append(files, filepath.Join(pristine, "cursor-a"))
	for round := range 120 {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(pristine)))
		path := filepath.Join(dir, filepath.Base(files[round%len(files)]))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		at := (round * 2654435761) % max(len(data), 1)
		if len(data) > 0 && round%3 > 0 {
			data[at] ^= 1 << (round % 8)
		} else {
			data = data[:at]
		}
		require.NoError(t, os.WriteFile(path, data, 0o600))

		b, _ := testBuffer(t, dir, minMaxBytes, "cursor-a")
		require.NoError(t, b.append(testFrame(10, 7)))
		fills, _ := drain(t, b, 0)
		require.True(t, slices.IsSorted(fills))
		require.GreaterOrEqual(t, len(fills), 5-1, "round %d: %v", round, fills)
		require.Equal(t, byte(7), fills[len(fills)-1])
		require.NoError(t, b.close())
	}
}

func TestCursorSurvivesATornWrite(t *testing.T) {
	dir := t.TempDir()
	c, err := openCursor(dir, "cursor-a")
	require.NoError(t, err)
	for i := range 5 {
		c.pos = position{segment: 1, offset: int64(i)}
		require.NoError(t, c.save())
	}
	newest := int64(c.serial%2) * cursorSlotSize
	_, err = c.file.WriteAt([]byte("torn"), newest+30)
	require.NoError(t, err)
	require.NoError(t, c.file.Close())
	c, err = openCursor(dir, "cursor-a")
	require.NoError(t, err)
	require.Equal(t, position{segment: 1, offset: 3}, c.pos)
	require.NoError(t, c.file.Close())
}

func TestPositionPastTheEndAfterPowerFailure(t *testing.T) {
	dir := t.TempDir()
	b, _ := testBuffer(t, dir, minMaxBytes, "cursor-a")
	require.NoError(t, b.append(testFrame(100, 1)))
	drain(t, b, 0)
	require.NoError(t, b.close())
	// The segment is lost, the cursor is not.
	require.NoError(t, os.Remove(segmentFiles(t, dir)[0]))
	b, _ = testBuffer(t, dir, minMaxBytes, "cursor-a")
	require.NoError(t, b.append(testFrame(100, 2)))
	fills, _ := drain(t, b, 0)
	require.Equal(t, []byte{2}, fills)
}
