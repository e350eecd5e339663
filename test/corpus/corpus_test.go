package corpus

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWriteIsCheckable(t *testing.T) {
	for name, shape := range map[string]Shape{
		"default":      {},
		"no long ones": {LongEvery: -1},
		"real splits":  {LongEvery: 10, LongLine: 40000, Fragment: 16384},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			files, err := Write(t.TempDir(), 3, 300_000, shape, start)
			require.NoError(t, err)
			require.Len(t, files.Paths, 3)
			for i, path := range files.Paths {
				require.Equal(t, files.Lines[i], checkFile(t, path, i, shape))
			}
		})
	}
}

// checkFile joins fragments, checks every line and its place, and returns
// their number.
func checkFile(t *testing.T, path string, container int, shape Shape) int64 {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var n int64
	text, last := "", time.Time{}
	for s := bufio.NewScanner(f); s.Scan(); {
		parts := strings.SplitN(s.Text(), " ", 4)
		require.Len(t, parts, 4)
		at, err := time.Parse(time.RFC3339Nano, parts[0])
		require.NoError(t, err)
		require.False(t, at.Before(last))
		last = at
		text += parts[3]
		if parts[2] == "P" {
			continue
		}
		gotContainer, gotLine, err := shape.Check([]byte(text))
		require.NoError(t, err)
		require.Equal(t, container, gotContainer)
		require.Equal(t, n, gotLine)
		text = ""
		n++
	}
	require.Empty(t, text)
	return n
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	good := Shape{}.AppendText(nil, 7, 42)
	container, n, err := Shape{}.Check(good)
	require.NoError(t, err)
	require.Equal(t, 7, container)
	require.EqualValues(t, 42, n)
	for _, bad := range []string{
		"", "hello", "container=x line=1 ", "container=1 line=x ", "container=1 line=1",
		string(good[:len(good)-1]), string(good) + "x", strings.Replace(string(good), "line=42", "line=43", 1),
	} {
		_, _, err := Shape{}.Check([]byte(bad))
		require.Error(t, err, bad)
	}
}
