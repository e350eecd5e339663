package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSuperviseStopsLastFirst(t *testing.T) {
	var mu sync.Mutex
	var stopped []string
	piece := func(name string) part {
		return part{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			stopped = append(stopped, name)
			return ctx.Err()
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, supervise(ctx, slog.New(slog.DiscardHandler), time.Minute, piece("store"), piece("listener"), piece("agent")))
	require.Equal(t, []string{"agent", "listener", "store"}, stopped)
}

func TestSuperviseFailure(t *testing.T) {
	waiting := part{"listener", func(ctx context.Context) error { <-ctx.Done(); return nil }}
	broken := part{"agent", func(context.Context) error { return errors.New("disk on fire") }}
	err := supervise(t.Context(), slog.New(slog.DiscardHandler), time.Minute, waiting, broken)
	require.EqualError(t, err, "agent stopped by itself\nagent: disk on fire")

	quits := part{"agent", func(context.Context) error { return nil }}
	err = supervise(t.Context(), slog.New(slog.DiscardHandler), time.Minute, waiting, quits)
	require.EqualError(t, err, "agent stopped by itself")
}

func TestSuperviseGivesUpOnAHangingPart(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hangs := part{"store", func(context.Context) error { <-release; return nil }}
	err := supervise(ctx, slog.New(slog.DiscardHandler), time.Millisecond, hangs)
	require.EqualError(t, err, "store did not stop within 1ms")
}

func TestReloadPart(t *testing.T) {
	hangup := make(chan os.Signal)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	p := reloadPart(&process{hangup: func() <-chan os.Signal { return hangup }}, slog.New(slog.DiscardHandler), func() error {
		calls++
		return errors.New("broken file")
	})
	done := make(chan error)
	go func() { done <- p.run(ctx) }()
	hangup <- syscall.SIGHUP
	hangup <- syscall.SIGHUP
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, 2, calls)
}
