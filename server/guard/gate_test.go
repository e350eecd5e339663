package guard

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestGateBoundsWorkAndQueue(t *testing.T) {
	t.Parallel()
	g := newGate(1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	require.NoError(t, g.Enter(ctx))

	waited := make(chan error)
	go func() { waited <- g.Enter(ctx) }()
	for g.waiting.Load() != 1 { // until the second one queues
		runtime.Gosched()
	}
	require.ErrorIs(t, g.Enter(ctx), ErrBusy, "the queue is full")

	g.Leave()
	require.NoError(t, <-waited, "the one that waited has its turn")
	go func() { waited <- g.Enter(ctx) }()
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	require.Zero(t, g.waiting.Load())
}

func TestTryEnterDoesNotWait(t *testing.T) {
	t.Parallel()
	g := NewGate(1)
	require.True(t, g.TryEnter())
	require.False(t, g.TryEnter())
	g.Leave()
	require.True(t, g.TryEnter())
}
