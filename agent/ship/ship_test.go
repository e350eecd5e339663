package ship

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var stream = &storage.Stream{Labels: labels.FromStrings("pod", "a")}

// sink is a storage.LogSink whose answers are scripted.
type sink struct {
	mu      sync.Mutex
	stored  []storage.Record
	writes  [][]int64 // offsets
	active  map[storage.SourceID]bool
	clashes int
	// answer decides on Write number n, counted from 0. Records that the error
	// does not keep are stored. nil takes everything.
	answer func(ctx context.Context, n int, batch []storage.Record) error
}

func (s *sink) Write(ctx context.Context, batch []storage.Record) error {
	s.mu.Lock()
	n := len(s.writes)
	var offsets []int64
	for _, r := range batch {
		offsets = append(offsets, r.Offset)
	}
	s.writes = append(s.writes, offsets)
	s.enter(batch)
	answer := s.answer
	s.mu.Unlock()
	var err error
	if answer != nil {
		err = answer(ctx, n, batch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		delete(s.active, batch[i].Source)
	}
	var partial *storage.PartialError
	if err == nil || errors.As(err, &partial) {
		for i, r := range batch {
			if partial == nil || !slices.Contains(partial.Retry, i) {
				r.Line = slices.Clone(r.Line)
				s.stored = append(s.stored, r)
			}
		}
	}
	return err
}

// enter notes the sources that are in two Writes at once.
func (s *sink) enter(batch []storage.Record) {
	mine := map[storage.SourceID]bool{}
	for i := range batch {
		mine[batch[i].Source] = true
	}
	for id := range mine {
		if s.active[id] {
			s.clashes++
		}
		if s.active == nil {
			s.active = map[storage.SourceID]bool{}
		}
		s.active[id] = true
	}
}

func (s *sink) offsets() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int64
	for _, r := range s.stored {
		all = append(all, r.Offset)
	}
	return all
}

func (s *sink) calls() [][]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// done counts the calls of Done by delivery, in their order.
type done struct {
	mu    sync.Mutex
	order []int
}

func (d *done) of(id int) func() {
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.order = append(d.order, id)
	}
}

func (d *done) list() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.order)
}

func delivery(d *done, id, lane, first, n int) storage.Delivery {
	records := make([]storage.Record, n)
	for i := range records {
		records[i] = storage.Record{
			Stream: stream, Source: storage.SourceID{byte(lane), 1}, Offset: int64(first + i), Line: fmt.Appendf(nil, "line %d", first+i),
		}
	}
	return storage.Delivery{Records: records, Bytes: 100 * n, Lane: uint32(lane), Done: d.of(id)}
}

type fixture struct {
	*Shipper
	reg  *prometheus.Registry
	stop func()
}

func options(s storage.LogSink) Options {
	return Options{
		Name: "test", Sink: s, Budget: NewBudget(1 << 20), Lanes: 1, BatchAge: time.Millisecond,
		MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond, Grace: 10 * time.Second,
	}
}

func start(t *testing.T, o Options) *fixture {
	f := &fixture{reg: prometheus.NewPedanticRegistry()}
	o.Registerer = f.reg
	var err error
	f.Shipper, err = New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.Run(ctx)
	}()
	f.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(f.stop)
	return f
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond)
}

// value is that of a counter or gauge, by the values of its labels but sink.
func (f *fixture) value(t *testing.T, name, reason string) float64 {
	families, err := f.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != "binnacle_ship_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if reason == "" || l.GetValue() == reason {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}

func upTo(n int) (all []int64) {
	for i := range n {
		all = append(all, int64(i))
	}
	return all
}

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
