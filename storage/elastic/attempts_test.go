package elastic

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func all(n int) []int {
	which := make([]int, n)
	for i := range which {
		which[i] = i
	}
	return which
}

func TestAttempts(t *testing.T) {
	a := newAttempts(time.Now())
	young := fresh(10)
	require.Empty(t, a.unknown(young), "younger than the process")
	require.Empty(t, a.suspects(young))
	a.begin(young, all(6))
	require.Equal(t, all(6), a.suspects(young), "sent before, outcome not known")
	a.answered(&young[2], false)
	require.Equal(t, []int{0, 1, 3, 4, 5}, a.suspects(young), "certainly not stored")
	a.begin(young, []int{2})
	require.Equal(t, all(6), a.suspects(young), "sent once more")

	old := recordsAt(time.Now().Add(-time.Hour), 4)
	for i := range old {
		old[i].Source = storage.SourceID{2}
	}
	require.Equal(t, []storage.SourceID{{2}}, a.unknown(old))
	a.learn(storage.SourceID{2}, 10)
	require.Empty(t, a.unknown(old))
	require.Equal(t, []int{0, 1}, a.suspects(old), "up to what the server has")
	a.learn(storage.SourceID{2}, 5)
	require.Equal(t, []int{0, 1}, a.suspects(old), "never less")
}

func TestAttemptsWithoutSource(t *testing.T) {
	a := newAttempts(time.Now())
	young := fresh(3)
	for i := range young {
		young[i].Source = storage.SourceID{}
	}
	require.Empty(t, a.unknown(young))
	require.Empty(t, a.suspects(young))
	a.begin(young, all(3))
	require.Equal(t, all(3), a.suspects(young))
	a.answered(&young[1], true)
	require.Equal(t, []int{0, 2}, a.suspects(young))
	require.Equal(t, []int{0}, a.suspects([]storage.Record{{Stream: young[0].Stream, Time: 1}}), "older than the process")
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts(time.Now())
	r := fresh(1)
	for i := range uint64(maxSources * 2) {
		binary.BigEndian.PutUint64(r[0].Source[8:], i+1)
		a.begin(r, all(1))
		a.answered(&r[0], false)
	}
	require.LessOrEqual(t, len(a.highest)+len(a.before), maxSources)
	require.LessOrEqual(t, len(a.clean), maxClean)
	require.True(t, a.forgot)
	binary.BigEndian.PutUint64(r[0].Source[8:], 1)
	require.Len(t, a.unknown(r), 1, "what was forgotten is asked for, however young")

	r[0].Source = storage.SourceID{}
	for i := range maxUnsure + 10 {
		r[0].Time++
		a.begin(r, all(1))
		_ = i
	}
	require.Len(t, a.unsure, maxUnsure)
	r[0].Time++
	require.Equal(t, []int{0}, a.suspects(r), "any may be one of those that are not remembered")
}
