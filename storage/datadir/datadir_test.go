package datadir

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMinFree(t *testing.T) {
	for _, c := range []struct{ configured, total, want int64 }{
		{0, 100 << 30, 1 << 30},
		{0, 10 << 30, 10 << 30 / 100},
		{0, 2 << 30, 64 << 20},
		{0, 100 << 20, 10 << 20},
		{5, 100 << 30, 5},
	} {
		require.Equal(t, c.want, NewSpace("", c.configured).MinFree(c.total), c)
	}
}

// TestSpace compares the disk with what is asked for.
func TestSpace(t *testing.T) {
	s := NewSpace(t.TempDir(), 1)
	require.NoError(t, s.Measure())
	free, minFree := s.Last()
	require.Positive(t, free)
	require.Equal(t, int64(1), minFree)
	require.False(t, s.Full(false))
	dir := t.TempDir()
	s = NewSpace(dir, free*2)
	require.NoError(t, s.Measure())
	require.True(t, s.Full(false))
	require.ErrorIs(t, s.FullError(), storage.ErrFull)
	require.ErrorContains(t, s.FullError(), "the disk of "+dir+" has ")
	s.free, s.min = 100, 96
	require.False(t, s.Full(false))
	require.True(t, s.Full(true), "an eighth more once it was full")
	require.Error(t, NewSpace(dir+"/absent", 0).Measure())
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	f, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorContains(t, err, "data folder "+dir+" is in use by another process (process ")
	require.NoError(t, f.Close())
	f, err = Lock(dir)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.RemoveAll(dir))
	_, err = Lock(dir)
	require.ErrorContains(t, err, "open lock file")
}

// TestLockIsGivenBack: a process that is being started has copies of all
// descriptors for a moment.
func TestLockIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	held, err := Lock(dir)
	require.NoError(t, err)
	inherited, err := unix.Dup(int(held.file.Fd()))
	require.NoError(t, err)
	defer unix.Close(inherited)
	require.NoError(t, held.Close())
	again, err := Lock(dir)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
