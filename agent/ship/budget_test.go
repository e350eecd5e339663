package ship

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestPushBlocksAtTheBudget(t *testing.T) {
	s, d := &sink{}, &done{}
	release := make(chan struct{})
	s.answer = func(context.Context, int, []storage.Record) error { <-release; return nil }
	o := options(s)
	o.Budget = NewBudget(1000)
	f := start(t, o)
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 6)))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, f.Push(ctx, delivery(d, 1, 0, 6, 6)), context.DeadlineExceeded)
	require.ErrorContains(t, f.Push(t.Context(), delivery(d, 1, 0, 6, 11)), "larger than the budget")
	pushed := make(chan error)
	go func() { pushed <- f.Push(t.Context(), delivery(d, 1, 0, 6, 6)) }()
	close(release)
	require.NoError(t, <-pushed)
	eventually(t, func() bool { return len(d.list()) == 2 })
	require.Zero(t, o.Budget.Used())
}

func TestABlockedSinkLeavesRoomForOthers(t *testing.T) {
	budget := NewBudget(10_000)
	hung, healthy, d := &sink{}, &sink{}, &done{}
	hung.answer = func(ctx context.Context, _ int, _ []storage.Record) error { <-ctx.Done(); return ctx.Err() }
	o := options(hung)
	o.Budget, o.Lanes, o.Grace = budget, 2, time.Millisecond
	blocked := start(t, o)
	o = options(healthy)
	o.Budget, o.Lanes = budget, 2
	f := start(t, o)
	require.Equal(t, 2500, budget.Share())
	for lane := range 2 { // as much as is let in
		for i := 0; ; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			err := blocked.Push(ctx, delivery(d, -1, lane, i, 1))
			cancel()
			if err != nil {
				require.Equal(t, 25, i)
				break
			}
		}
	}
	for i := range 200 {
		require.NoError(t, f.Push(t.Context(), delivery(d, i, i, i, 3)))
	}
	eventually(t, func() bool { return len(d.list()) == 200 })
}

// TestChaos has many readers push into lanes of a sink that fails in all ways.
func TestChaos(t *testing.T) {
	const files, deliveries, perDelivery = 12, 40, 7
	s := &sink{}
	random := rand.New(rand.NewPCG(3, 4))
	s.answer = func(_ context.Context, _ int, batch []storage.Record) error {
		s.mu.Lock()
		dice := random.IntN(10)
		s.mu.Unlock()
		switch {
		case dice < 2:
			return errors.New("cut off")
		case dice < 4 && len(batch) > 1:
			return storage.ErrTooLarge
		case dice < 7:
			e := &storage.PartialError{First: errors.New("429")}
			for i := range batch {
				if (i+dice)%5 == 0 {
					e.Retry = append(e.Retry, i)
				}
			}
			return e
		}
		return nil
	}
	o := options(s)
	o.Lanes, o.BatchBytes, o.Budget = 3, 2000, NewBudget(9000)
	f := start(t, o)
	var wg sync.WaitGroup
	all := make([]done, files)
	for file := range files {
		wg.Go(func() {
			for i := range deliveries {
				if err := f.Push(t.Context(), delivery(&all[file], i, file, i*perDelivery, perDelivery)); err != nil {
					t.Error(err)
				}
				if used := o.Budget.Used(); used > 9000 {
					t.Errorf("%d bytes in flight", used)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() bool { return o.Budget.Used() == 0 })
	stored := map[string]int{}
	for _, r := range s.stored {
		stored[fmt.Sprint(r.Source, r.Offset)]++
	}
	require.Len(t, stored, files*deliveries*perDelivery)
	require.Len(t, s.stored, len(stored)) // nothing twice
	require.Zero(t, s.clashes)
	for i := range all {
		order := all[i].list()
		require.Len(t, order, deliveries)
		require.True(t, slices.IsSorted(order))
	}
}
