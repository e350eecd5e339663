package logql

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// follower is a tail at work; lines and idles come as they are told.
type follower struct {
	lines chan string
	done  chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, e *Engine, q Query) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{lines: make(chan string, 1000), done: make(chan error, 1), stop: cancel}
	go func() {
		f.done <- e.Tail(ctx, q, func(entry *Entry) error {
			f.lines <- string(entry.Line)
			return nil
		}, func(int64) error {
			f.lines <- "idle"
			return nil
		})
	}()
	return f
}

// untilIdle returns the lines up to the next idle call.
func (f *follower) untilIdle(t *testing.T) []string {
	t.Helper()
	var got []string
	for {
		select {
		case line := <-f.lines:
			if line == "idle" && len(got) > 0 {
				return got
			}
			if line != "idle" {
				got = append(got, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no idle call, got %v", got)
		}
	}
}

// take returns the next n lines.
func (f *follower) take(t *testing.T, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		select {
		case line := <-f.lines:
			if line != "idle" {
				got = append(got, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%d lines of %d: %v", len(got), n, got)
		}
	}
	return got
}

func recentRecords(first, n int) []storage.Record {
	records := numbered(first + n)[first:]
	base := time.Now().Add(-time.Hour).UnixNano()
	for i := range records {
		records[i].Time += base
	}
	return records
}

func TestTail(t *testing.T) {
	e, store := newEngine(t, Options{}, recentRecords(0, 50)...)
	f := follow(t, e, Query{Text: `{app="cart"} | logfmt | user="u1" | line_format "{{.n}}"`, Limit: 2})
	require.Equal(t, []string{"36", "43"}, f.take(t, 2), "the last two that the filter leaves")
	require.NoError(t, store.Write(t.Context(), recentRecords(50, 20)))
	require.Equal(t, []string{"50", "57", "64"}, f.untilIdle(t))
	f.stop()
	require.NoError(t, <-f.done)
}

func TestTailWithoutFilter(t *testing.T) {
	e, store := newEngine(t, Options{}, recentRecords(0, 50)...)
	f := follow(t, e, Query{Text: `{app="cart"} |= "n=4"`, Limit: 3})
	require.Equal(t, []string{"level=info n=47 user=u5", "level=info n=48 user=u6", "level=info n=49 user=u0"}, f.untilIdle(t))
	require.Empty(t, store.queries, "the store knows the last ones")
	var want []string
	for i := 400; i < 500; i++ {
		r := recentRecords(i, 1)
		require.NoError(t, store.Write(t.Context(), r))
		want = append(want, string(r[0].Line))
	}
	require.Equal(t, want, f.take(t, 100))
	f.stop()
	require.NoError(t, <-f.done)
}

func TestTailOfNothing(t *testing.T) {
	e, _ := newEngine(t, Options{})
	f := follow(t, e, Query{Text: `{} | level="loud"`})
	f.stop()
	require.NoError(t, <-f.done)
}

func TestTailEndsByCallbacks(t *testing.T) {
	gone := errors.New("client is gone")
	e, _ := newEngine(t, Options{}, recentRecords(0, 5)...)
	err := e.Tail(t.Context(), Query{Text: `{}`}, func(*Entry) error { return gone }, nil)
	require.ErrorIs(t, err, gone)
	err = e.Tail(t.Context(), Query{Text: `{}`}, func(*Entry) error { return nil }, func(int64) error { return gone })
	require.ErrorIs(t, err, gone)
}

func TestTailBackFillWithinLimits(t *testing.T) {
	e, _ := newEngine(t, Options{MaxBytes: 300}, recentRecords(0, 50)...)
	f := follow(t, e, Query{Text: `{} | logfmt | n >= 0`, Limit: 40})
	got := f.untilIdle(t)
	require.Equal(t, fmt.Sprintf("level=info n=%d user=u%d", 49, 0), got[len(got)-1])
	require.Less(t, len(got), 40, "as far back as the limit of bytes allows")
	f.stop()
	require.NoError(t, <-f.done)
}
