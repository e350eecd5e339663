package demo

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newTestLog(t *testing.T) *logFile {
	t.Helper()
	l, err := newLogFile(filepath.Join(t.TempDir(), "0.log"))
	require.NoError(t, err)
	l.now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC) }
	return l
}

func TestLogFormat(t *testing.T) {
	l := newTestLog(t)
	stdout, stderr := l.stream("stdout"), l.stream("stderr")
	for _, part := range []string{"one\ntw", "o\n", "\n", strings.Repeat("x", maxCRILine), "y\n", strings.Repeat("z", maxCRILine) + "\n", "no end"} {
		n, err := io.WriteString(stdout, part)
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	_, err := io.WriteString(stderr, "bad\n")
	require.NoError(t, err)
	require.NoError(t, stdout.end())
	require.NoError(t, stderr.end())
	require.NoError(t, l.Close())
	got, err := os.ReadFile(l.name)
	require.NoError(t, err)
	const at = "2026-03-01T12:00:00.0000005Z "
	require.Equal(t, at+"stdout F one\n"+at+"stdout F two\n"+at+"stdout F \n"+
		at+"stdout P "+strings.Repeat("x", maxCRILine)+"\n"+at+"stdout F y\n"+
		at+"stdout F "+strings.Repeat("z", maxCRILine)+"\n"+
		at+"stderr F bad\n"+at+"stdout F no end\n", string(got))
}

// Rotation keeps a bounded number of files and loses only the oldest lines.
func TestLogRotation(t *testing.T) {
	l := newTestLog(t)
	l.maxSize = 1000
	now := l.now()
	l.now = func() time.Time { now = now.Add(100 * time.Millisecond); return now }
	const lines = 500
	for i := range lines {
		require.NoError(t, l.write("stdout", []byte("line "+strconv.Itoa(i)), false))
		files, err := filepath.Glob(l.name + "*")
		require.NoError(t, err)
		require.LessOrEqual(t, len(files), maxLogFiles)
	}
	require.NoError(t, l.Close())
	files, err := filepath.Glob(l.name + "*")
	require.NoError(t, err)
	require.Len(t, files, maxLogFiles)
	require.Regexp(t, `0\.log\.2026\d{4}-\d{6}\.gz$`, files[1])
	require.Regexp(t, `0\.log\.2026\d{4}-\d{6}$`, files[2])

	var all []string
	for _, name := range []string{files[1], files[2], files[0]} { // the oldest first
		text := readLog(t, name)
		require.Less(t, len(text), 2000)
		all = append(all, strings.Split(strings.TrimSpace(text), "\n")...)
	}
	first := lines - len(all)
	require.Positive(t, first, "the oldest file was deleted")
	for i, line := range all {
		require.True(t, strings.HasSuffix(line, " line "+strconv.Itoa(first+i)), line)
	}
}

func readLog(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(text)
}
