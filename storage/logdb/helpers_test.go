package logdb

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// TestMain runs the child process of TestKill9 when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(writeUntilKilled(dir))
	}
	goleak.VerifyTestMain(m)
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(text))
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 10*time.Millisecond, what)
}

func podStream(i int) *storage.Stream {
	return &storage.Stream{Labels: labels.FromStrings("namespace", fmt.Sprint("ns", i%5), "pod", fmt.Sprint("pod", i), "stream", "stdout")}
}

// lines makes n records of a pod from number first on, a millisecond apart.
func lines(pod, first, n int, start time.Time) []storage.Record {
	s := podStream(pod)
	out := make([]storage.Record, n)
	for i := range out {
		text := fmt.Appendf(nil, "pod %d line %d of a test, with some text to fill it up: %x", pod, first+i, (first+i)*7919)
		out[i] = storage.Record{
			Stream: s, Time: start.Add(time.Duration(first+i) * time.Millisecond).UnixNano(), Source: storage.SourceID{byte(pod), byte(pod >> 8), 1},
			Offset: int64(first+i) * 100, Line: text, Size: int32(len(text)), Level: storage.LevelInfo,
		}
	}
	return out
}

func hourAgo() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Second) }

// always selects everything.
func always() storage.LogQuery { return storage.LogQuery{End: 1 << 62, Order: storage.Ascending} }

func read(t testing.TB, db storage.LogStore, q storage.LogQuery) []storage.Record {
	t.Helper()
	it, err := db.Select(context.Background(), q)
	require.NoError(t, err)
	records, err := storagetest.AllRecords(it)
	require.NoError(t, err)
	return records
}

func texts(records []storage.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = string(r.Line)
	}
	return out
}

// write writes records in batches.
func write(t testing.TB, db storage.LogStore, records []storage.Record) {
	t.Helper()
	for len(records) > 0 {
		n := min(len(records), 500)
		require.NoError(t, db.Write(context.Background(), records[:n]))
		records = records[n:]
	}
}

// cutNow puts what is in the head into a segment.
func cutNow(t testing.TB, db *DB) {
	t.Helper()
	db.writeMu.Lock()
	require.NoError(t, db.rotate())
	db.writeMu.Unlock()
	eventually(t, "segment written", func() bool { return !db.isCutting() })
}

// copyDir copies the files of a store.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, e.Name()), b, 0o666))
	}
}

// only returns the one file of dir with that suffix.
func only(t testing.TB, dir, suffix string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}
