package corpus

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMixed(t *testing.T) {
	read := func() (n int, size int64, needles, words int, text []byte) {
		m := NewMixed(200, 2<<20, time.Unix(1000, 0), time.Hour)
		batch := make([]storage.Record, 500)
		last := int64(0)
		for {
			got := m.Next(batch)
			if got == 0 {
				return n, size, needles, words, text
			}
			for _, r := range batch[:got] {
				require.Greater(t, r.Time, last)
				last = r.Time
				size += int64(len(r.Line))
				needles += bytes.Count(r.Line, []byte(Needle))
				words += bytes.Count(r.Line, []byte(NeedleWord))
				text = append(text, r.Line...)
			}
			n += got
		}
	}
	n, size, needles, words, text := read()
	require.Equal(t, 1, needles)
	require.Equal(t, 1, words)
	require.InDelta(t, 2<<20, size, 1000)
	require.InDelta(t, 190, float64(size)/float64(n), 30, "bytes a line")
	_, _, _, _, again := read()
	require.Equal(t, text, again)
}
