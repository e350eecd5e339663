package logdb

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// open opens a store that is closed when the test ends.
func open(t testing.TB, o Options) *DB {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	db, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// TestConformance runs the suite with everything in the head, and with small
// heads and blocks, so that most of it is in segments.
func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{
		"head":     {},
		"segments": {HeadBytes: minHeadBytes, BlockBytes: minBlock, MaxQueryBytes: 64 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.LogStore(t, func(t *testing.T) storage.LogStore { return open(t, o) })
		})
	}
}
