package storagetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// TestMemory shows that the reference passes its own suite: queries are
// compared with a second one, all else is checked by the suite.
func TestMemory(t *testing.T) {
	LogStore(t, func(t *testing.T) storage.LogStore {
		m := NewMemory()
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		return m
	})
}

func TestMemoryClosed(t *testing.T) {
	m := NewMemory()
	it, err := m.Tail(t.Context(), storage.LogQuery{})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.ErrorIs(t, m.Write(t.Context(), nil), storage.ErrClosed)
	_, err = it.Next()
	require.ErrorIs(t, err, storage.ErrClosed)
}
