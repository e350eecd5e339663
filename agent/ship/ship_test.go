package ship

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestEverythingInOrder(t *testing.T) {
	s, d := &sink{}, &done{}
	f := start(t, options(s))
	for i := range 50 {
		require.NoError(t, f.Push(t.Context(), delivery(d, i, 0, 10*i, 10)))
	}
	require.NoError(t, f.Push(t.Context(), delivery(d, 50, 0, 500, 0))) // has no records
	eventually(t, func() bool { return len(d.list()) == 51 })
	require.True(t, slices.IsSorted(d.list()))
	require.Equal(t, upTo(500), s.offsets())
	require.EqualValues(t, 500, f.value(t, "records_total", ""))
	require.EqualValues(t, 500*len("line ")+10+90*2+400*3, f.value(t, "line_bytes_total", ""))
	require.Zero(t, f.value(t, "inflight_bytes", ""))
	problems, err := testutil.GatherAndLint(f.reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestBatchesAreBounded(t *testing.T) {
	s, d := &sink{}, &done{}
	block := make(chan struct{})
	s.answer = func(_ context.Context, n int, _ []storage.Record) error {
		if n == 0 {
			<-block
		}
		return nil
	}
	o := options(s)
	o.BatchBytes = 1000
	f := start(t, o)
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 1)))
	eventually(t, func() bool { return len(s.calls()) == 1 })
	for i := range 20 { // gather while the Write is under way
		require.NoError(t, f.Push(t.Context(), delivery(d, i+1, 0, 1+5*i, 5)))
	}
	close(block)
	eventually(t, func() bool { return len(d.list()) == 21 })
	require.Equal(t, upTo(101), s.offsets())
	for _, offsets := range s.calls() {
		require.LessOrEqual(t, len(offsets), 15) // 70 bytes and more each
	}
	require.Less(t, len(s.calls()), 12) // not one by one
}

func TestPartialErrorsAreRetriedPerRecord(t *testing.T) {
	s, d := &sink{}, &done{}
	s.answer = func(_ context.Context, n int, batch []storage.Record) error {
		if n == 0 {
			return &storage.PartialError{Retry: []int{1, 3}, Refused: map[string]int{"mapping": 2}, First: errors.New("full")}
		}
		return nil
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 6)))
	eventually(t, func() bool { return len(d.list()) == 1 })
	require.Equal(t, [][]int64{{0, 1, 2, 3, 4, 5}, {1, 3}}, s.calls())
	require.EqualValues(t, 2, f.value(t, "retried_records_total", "error"))
	require.EqualValues(t, 2, f.value(t, "refused_records_total", "mapping"))
	require.EqualValues(t, 4, f.value(t, "records_total", ""))
}

func TestLeftoversGoWithWhatComesNext(t *testing.T) {
	s, d := &sink{}, &done{}
	pushed := make(chan struct{})
	s.answer = func(_ context.Context, n int, _ []storage.Record) error {
		if n == 0 {
			<-pushed
			return &storage.PartialError{Retry: []int{0}, First: errors.New("busy")}
		}
		return nil
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 2)))
	eventually(t, func() bool { return len(s.calls()) == 1 })
	require.NoError(t, f.Push(t.Context(), delivery(d, 1, 0, 2, 2)))
	close(pushed)
	eventually(t, func() bool { return len(d.list()) == 2 })
	require.Equal(t, [][]int64{{0, 1}, {0, 2, 3}}, s.calls())
	require.Equal(t, []int{0, 1}, d.list())
}

func TestOtherErrorsRetryTheSameBatch(t *testing.T) {
	s, d := &sink{}, &done{}
	s.answer = func(_ context.Context, n int, _ []storage.Record) error {
		switch n {
		case 0:
			return errors.New("broken")
		case 1:
			return fmt.Errorf("disk: %w", storage.ErrFull)
		case 2:
			return context.DeadlineExceeded
		case 3: // promises what it does not keep
			return &storage.PartialError{Retry: []int{7}, First: errors.New("nonsense")}
		}
		return nil
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 3)))
	eventually(t, func() bool { return len(s.calls()) > 1 })
	require.NoError(t, f.Push(t.Context(), delivery(d, 1, 0, 3, 3)))
	eventually(t, func() bool { return len(d.list()) == 2 })
	for _, offsets := range s.calls()[:5] {
		require.Equal(t, []int64{0, 1, 2}, offsets)
	}
	for _, reason := range []string{"error", "full", "timeout"} {
		require.Positive(t, f.value(t, "retried_records_total", reason), reason)
	}
}

func TestTooLargeIsSplit(t *testing.T) {
	s, d := &sink{}, &done{}
	limit := 3
	s.answer = func(_ context.Context, _ int, batch []storage.Record) error {
		for i := range batch {
			if batch[i].Offset == 5 {
				return fmt.Errorf("413: %w", storage.ErrTooLarge)
			}
		}
		if len(batch) > limit {
			return fmt.Errorf("413: %w", storage.ErrTooLarge)
		}
		return nil
	}
	f := start(t, options(s))
	require.NoError(t, f.Push(t.Context(), delivery(d, 0, 0, 0, 8)))
	require.NoError(t, f.Push(t.Context(), delivery(d, 1, 0, 8, 8)))
	eventually(t, func() bool { return len(d.list()) == 2 })
	require.Equal(t, slices.Delete(upTo(16), 5, 6), s.offsets())
	require.EqualValues(t, 1, f.value(t, "refused_records_total", "too_large"))
	require.EqualValues(t, 15, f.value(t, "records_total", ""))
}

func TestSmallerBatchesAreRemembered(t *testing.T) {
	s, d := &sink{}, &done{}
	s.answer = func(_ context.Context, _ int, batch []storage.Record) error {
		if len(batch) > 30 {
			return storage.ErrTooLarge
		}
		return nil
	}
	o := options(s)
	o.BatchBytes = 50 * (recordBytes + 8)
	f := start(t, o)
	for i := range 40 {
		require.NoError(t, f.Push(t.Context(), delivery(d, i, 0, 50*i, 50)))
	}
	eventually(t, func() bool { return len(d.list()) == 40 })
	require.Equal(t, upTo(2000), s.offsets())
	tooLarge := 0
	for _, offsets := range s.calls() {
		if len(offsets) > 30 {
			tooLarge++
		}
	}
	require.Less(t, tooLarge, 10)
}

func TestRetryAfterIsHonoured(t *testing.T) {
	s := &sink{}
	f := start(t, options(s))
	l := f.lanes[0]
	require.Equal(t, 7*time.Second, l.retry(1, errors.New("x"), 7*time.Second))
	require.Equal(t, maxRetryAfter, l.retry(1, errors.New("x"), 100*time.Hour))
	l.failures = 0
	for i := range 100 {
		longest := min(f.minBackoff<<min(i, 20), f.maxBackoff)
		pause := l.retry(1, errors.New("x"), 0)
		require.GreaterOrEqual(t, pause, longest/2)
		require.LessOrEqual(t, pause, longest)
	}
}

func TestEditSeesEachRecordOnceAndChangesACopy(t *testing.T) {
	s, d := &sink{}, &done{}
	s.answer = func(_ context.Context, n int, _ []storage.Record) error {
		if n == 0 {
			return errors.New("once more")
		}
		return nil
	}
	edits := 0
	o := options(s)
	o.Edit = func(r *storage.Record) { edits++; r.Line = []byte("edited") }
	f := start(t, o)
	given := delivery(d, 0, 0, 0, 3)
	require.NoError(t, f.Push(t.Context(), given))
	eventually(t, func() bool { return len(d.list()) == 1 })
	require.Equal(t, 3, edits)
	require.Equal(t, "edited", string(s.stored[0].Line))
	require.Equal(t, "line 0", string(given.Records[0].Line))
}

func TestOptionsAreChecked(t *testing.T) {
	reg := prometheus.NewRegistry()
	good := options(&sink{})
	good.Registerer = reg
	_, err := New(good)
	require.NoError(t, err)
	_, err = New(good)
	require.ErrorContains(t, err, "duplicate")
	good.Name = "another"
	_, err = New(good)
	require.NoError(t, err)
	for _, bad := range []Options{{}, {Name: "x"}, {Name: "x", Sink: &sink{}}, {Name: "x", Sink: &sink{}, Budget: NewBudget(1), Lanes: -1}} {
		_, err := New(bad)
		require.ErrorContains(t, err, "shipper")
	}
}

func BenchmarkShip(b *testing.B) {
	s := &nullSink{}
	o := options(s)
	o.Lanes, o.Budget = 2, NewBudget(32<<20)
	f, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = f.Run(ctx) }()
	line := []byte(strings.Repeat("x", 180))
	records := make([]storage.Record, 500)
	for i := range records {
		records[i] = storage.Record{Stream: stream, Line: line}
	}
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.SetBytes(500 * 180)
	i := uint32(0)
	for b.Loop() {
		wg.Add(1)
		i++
		if err := f.Push(ctx, storage.Delivery{Records: records, Bytes: 500 * 300, Lane: i, Done: wg.Done}); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	cancel()
	<-ended
}

type nullSink struct{}

func (*nullSink) Write(context.Context, []storage.Record) error { return nil }
