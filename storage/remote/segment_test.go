package remote

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// testFrame makes a frame with a body of n bytes.
func testFrame(n int, fill byte) []byte {
	f := append(make([]byte, frameHeaderSize), bytes.Repeat([]byte{fill}, n)...)
	putFrameHeader(f, frameHeader{counts: counts{samples: uint32(fill)}, created: 1})
	return f
}

// readAll reads what a reader would deliver of a segment: the fill bytes.
func readAll(t testing.TB, data []byte) (fills []byte, damages int) {
	t.Helper()
	s := segmentReader{r: bytes.NewReader(data), limit: int64(len(data))}
	for off := int64(segmentHeaderSize); off < s.limit; {
		before := off
		h, err := s.header(off)
		switch {
		case err == nil:
			body, err := s.body(off, h, nil)
			if err == nil {
				fills = append(fills, byte(h.samples))
				require.Len(t, body, int(h.bodyLen))
			} else {
				require.ErrorIs(t, err, errBody)
				damages++
			}
			off += h.size()
		case errors.Is(err, errNoFrame):
			damages++
			off, err = s.resync(off)
			require.NoError(t, err)
		default:
			require.ErrorIs(t, err, io.EOF)
		}
		require.Greater(t, off, before)
	}
	return fills, damages
}

func TestSegmentSkipsOnlyTheDamagedEntry(t *testing.T) {
	data := newSegmentHeader()
	var starts []int
	for i := range 5 {
		starts = append(starts, len(data))
		// Bodies hold the magic: it must not be taken for a header.
		f := testFrame(200, byte(i+1))
		copy(f[100:], frameMagic)
		putFrameHeader(f, frameHeader{counts: counts{samples: uint32(i + 1)}})
		data = append(data, f...)
	}
	fills, damages := readAll(t, data)
	require.Equal(t, []byte{1, 2, 3, 4, 5}, fills)
	require.Zero(t, damages)
	for i, start := range starts {
		end := len(data)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		for at := start; at < end; at++ {
			broken := bytes.Clone(data)
			broken[at] ^= 0x10
			fills, damages := readAll(t, broken)
			want := []byte{1, 2, 3, 4, 5}
			want = append(want[:i:i], want[i+1:]...)
			require.Equal(t, want, fills, "byte %d", at)
			require.Equal(t, 1, damages, "byte %d", at)
		}
	}
}

func TestSegmentTornEnd(t *testing.T) {
	whole := append(newSegmentHeader(), testFrame(100, 1)...)
	first := int64(len(whole))
	whole = append(whole, testFrame(100, 2)...)
	for cut := first; cut < int64(len(whole)); cut++ {
		end, err := segmentReader{r: bytes.NewReader(whole[:cut]), limit: cut}.lastValid()
		require.NoError(t, err)
		require.Equal(t, first, end)
	}
}

func TestSegmentOfNewerVersionIsRefused(t *testing.T) {
	h := newSegmentHeader()
	require.NoError(t, checkSegmentHeader(bytes.NewReader(h)))
	h[8] = 9
	require.NoError(t, checkSegmentHeader(bytes.NewReader(h)), "damage, not a version")
	require.NoError(t, checkSegmentHeader(bytes.NewReader(h[:5])))
	putSegmentCRC(h)
	require.ErrorIs(t, checkSegmentHeader(bytes.NewReader(h)), errNewerFormat)
}

func FuzzSegment(f *testing.F) {
	data := newSegmentHeader()
	for i := range 3 {
		data = append(data, testFrame(30, byte(i))...)
	}
	f.Add(data)
	f.Add(data[:len(data)-7])
	f.Add(append(bytes.Clone(data), frameMagic...))
	f.Fuzz(func(t *testing.T, data []byte) {
		readAll(t, data)
		end, err := segmentReader{r: bytes.NewReader(data), limit: int64(len(data))}.lastValid()
		require.NoError(t, err)
		require.LessOrEqual(t, end, max(segmentHeaderSize, int64(len(data))))
		_ = checkSegmentHeader(bytes.NewReader(data))
	})
}
