package ship

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// clocked notes when each Write began, by the clock of a synctest bubble.
type clocked struct {
	sink
	begin time.Time

	mu sync.Mutex
	at []time.Duration
}

func (c *clocked) Write(ctx context.Context, batch []storage.Record) error {
	c.mu.Lock()
	c.at = append(c.at, time.Since(c.begin))
	c.mu.Unlock()
	return c.sink.Write(ctx, batch)
}

func (c *clocked) times() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// timed runs a test with a Shipper of default durations and small batches, under a clock that
// jumps when nothing is left to do.
func timed(t *testing.T, answer func(context.Context, int, []storage.Record) error, test func(t *testing.T, f *fixture, c *clocked, d *done)) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocked{begin: time.Now()}
		c.answer = answer
		o := options(c)
		o.BatchAge, o.MinBackoff, o.MaxBackoff, o.Grace = 0, 0, 0, 0
		o.BatchBytes = 1000
		f := start(t, o)
		time.Sleep(time.Hour) // a silence
		c.begin = time.Now()
		test(t, f, c, &done{})
		f.stop()
	})
}

func TestTheFirstAfterASilenceDoNotWait(t *testing.T) {
	timed(t, nil, func(t *testing.T, f *fixture, c *clocked, d *done) {
		for i := range 3 { // the second and third share a batch
			require.NoError(t, f.Push(t.Context(), delivery(d, i, 0, i, 1)))
			synctest.Wait()
		}
		time.Sleep(time.Second)
		require.Equal(t, []time.Duration{0, defaultBatchAge}, c.times())
		require.Equal(t, [][]int64{{0}, {1, 2}}, c.calls())

		c.begin = time.Now()
		require.NoError(t, f.Push(t.Context(), delivery(d, 3, 0, 3, 1)))
		time.Sleep(time.Second)
		require.Equal(t, time.Duration(0), c.times()[2])
	})
}

func TestAFullBatchDoesNotWait(t *testing.T) {
	timed(t, nil, func(t *testing.T, f *fixture, c *clocked, d *done) {
		require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 1)))
		synctest.Wait()
		require.NoError(t, f.Push(t.Context(), delivery(d, 1, 0, 1, 5)))
		require.NoError(t, f.Push(t.Context(), delivery(d, 2, 0, 6, 5)))
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 0}, c.times())
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	timed(t, func(_ context.Context, n int, _ []storage.Record) error {
		if n < 2 {
			return &storage.PartialError{Retry: []int{0}, RetryAfter: 7 * time.Second, First: errors.New("429")}
		}
		return nil
	}, func(t *testing.T, f *fixture, c *clocked, d *done) {
		require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
		time.Sleep(time.Minute)
		require.Equal(t, []time.Duration{0, 7 * time.Second, 14 * time.Second}, c.times())
		require.Equal(t, []int{0}, d.list())
	})
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	timed(t, func(context.Context, int, []storage.Record) error { return errors.New("down") },
		func(t *testing.T, f *fixture, c *clocked, d *done) {
			require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
			time.Sleep(10 * time.Minute)
			times := c.times()
			for i := 1; i < len(times); i++ {
				longest := min(defaultMinBackoff<<min(i-1, 20), defaultMaxBackoff)
				require.LessOrEqual(t, times[i]-times[i-1], longest)
				require.GreaterOrEqual(t, times[i]-times[i-1], longest/2)
			}
			require.Greater(t, len(times), 20)
			require.Empty(t, d.list())
		})
}

func TestPausesStayShortWhileSomeAreStored(t *testing.T) {
	timed(t, func(_ context.Context, _ int, batch []storage.Record) error {
		if len(batch) > 1 {
			e := &storage.PartialError{First: errors.New("429")}
			for i := 1; i < len(batch); i++ {
				e.Retry = append(e.Retry, i)
			}
			return e
		}
		return nil
	}, func(t *testing.T, f *fixture, c *clocked, d *done) {
		require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 20)))
		time.Sleep(20 * defaultMinBackoff)
		require.Equal(t, []int{0}, d.list())
	})
}

func TestGraceIsAllAWriteGets(t *testing.T) {
	timed(t, func(ctx context.Context, _ int, _ []storage.Record) error { <-ctx.Done(); return ctx.Err() },
		func(t *testing.T, f *fixture, _ *clocked, d *done) {
			require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
			synctest.Wait()
			begin := time.Now()
			f.stop()
			require.Equal(t, defaultGrace, time.Since(begin))
			require.Empty(t, d.list())
		})
}
