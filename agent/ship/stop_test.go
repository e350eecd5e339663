package ship

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestStopLetsAWriteEnd(t *testing.T) {
	s, d := &sink{}, &done{}
	entered, finish := make(chan struct{}), make(chan struct{})
	s.answer = func(ctx context.Context, _ int, _ []storage.Record) error {
		close(entered)
		<-finish
		return ctx.Err()
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
	<-entered
	require.NoError(t, f.Push(t.Context(), delivery(d, 1, 0, 2, 2)))
	time.AfterFunc(10*time.Millisecond, func() { close(finish) })
	f.stop()
	require.Equal(t, []int{0}, d.list()) // in time; the other is not written any more
	require.Len(t, s.calls(), 1)
	require.ErrorIs(t, f.Push(t.Context(), delivery(d, 2, 0, 4, 1)), storage.ErrClosed)
	require.Zero(t, f.inFlight())
}

func TestStopEndsAWriteThatHangs(t *testing.T) {
	s, d := &sink{}, &done{}
	entered := make(chan struct{})
	s.answer = func(ctx context.Context, _ int, _ []storage.Record) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	o := options(s)
	o.Grace = time.Millisecond
	f := start(t, o)
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
	<-entered
	f.stop()
	require.Empty(t, d.list())
}

func TestStopWhileRetrying(t *testing.T) {
	s, d := &sink{}, &done{}
	s.answer = func(context.Context, int, []storage.Record) error {
		return &storage.PartialError{Retry: []int{1}, RetryAfter: time.Hour, First: errors.New("later")}
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
	eventually(t, func() bool { return len(s.offsets()) == 1 })
	f.stop()
	require.Empty(t, d.list())
}
