package ship

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
