// Package ship brings log records from readers to a sink: in batches, in order,
// again and again until they are durable. It drops nothing; when a sink does not
// keep up, readers wait.
package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	defaultLanes      = 4
	defaultBatchBytes = 1 << 20
	// defaultBatchAge is well below what a live tail is allowed to lag.
	defaultBatchAge   = 100 * time.Millisecond
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = 30 * time.Second
	defaultGrace      = 5 * time.Second
)

// Options configure a Shipper.
type Options struct {
	// Name of the sink in metrics and logs. It must be different for every
	// Shipper of a Registerer.
	Name string
	// Sink takes the records.
	Sink storage.LogSink
	// Budget bounds what is in flight. Several Shippers may share it.
	Budget *Budget
	// Lanes is how many batches may be written at the same time; 0 means 4.
	Lanes int
	// BatchBytes is about how large a batch is; 0 means 1 MiB.
	BatchBytes int
	// BatchAge is how long records wait for others to come along; 0 means
	// 100 ms. The first ones after a silence do not wait.
	BatchAge time.Duration
	// MinBackoff and MaxBackoff bound the pause after a failure, which doubles
	// with each; 0 means 100 ms and 30 s. A sink may ask for longer ones.
	MinBackoff, MaxBackoff time.Duration
	// Grace is how long a Write may go on after Run is told to stop; 0 means 5 s.
	Grace time.Duration
	// Edit may change a record before it is written. It is called once for each,
	// in their order, from one goroutine per lane. It gets a copy: it may set
	// fields but must not change what they point to, as other Shippers may
	// have the same records.
	Edit func(*storage.Record)
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the binnacle_ship_* metrics; it may be nil.
	Registerer prometheus.Registerer
}

// Shipper writes to one sink.
type Shipper struct {
	sink       storage.LogSink
	edit       func(*storage.Record)
	batchBytes int
	batchAge   time.Duration
	minBackoff time.Duration
	maxBackoff time.Duration
	grace      time.Duration

	logger  *slog.Logger
	trouble *trouble
	metrics *metrics
	lanes   []*lane
	stopped chan struct{} // closed when Run has returned
}

// New makes a Shipper, which writes nothing until Run runs.
func New(o Options) (*Shipper, error) {
	switch {
	case o.Name == "":
		return nil, errors.New("a shipper needs a name for its metrics")
	case o.Sink == nil || o.Budget == nil:
		return nil, fmt.Errorf("shipper %s needs a sink and a budget", o.Name)
	case o.Lanes < 0 || o.BatchBytes < 0 || o.BatchAge < 0 || o.MinBackoff < 0 || o.MaxBackoff < 0 || o.Grace < 0:
		return nil, fmt.Errorf("shipper %s: lanes, bytes and durations must not be negative", o.Name)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Shipper{
		sink: o.Sink, edit: o.Edit,
		batchBytes: orDefault(o.BatchBytes, defaultBatchBytes),
		batchAge:   orDefault(o.BatchAge, defaultBatchAge),
		minBackoff: orDefault(o.MinBackoff, defaultMinBackoff),
		maxBackoff: orDefault(o.MaxBackoff, defaultMaxBackoff),
		grace:      orDefault(o.Grace, defaultGrace),
		logger:     o.Logger.With("sink", o.Name),
		stopped:    make(chan struct{}),
	}
	s.maxBackoff = max(s.maxBackoff, s.minBackoff)
	s.trouble = &trouble{logger: s.logger}
	var err error
	if s.metrics, err = newMetrics(o, s.inFlight); err != nil {
		return nil, fmt.Errorf("shipper %s: %w", o.Name, err)
	}
	for range orDefault(o.Lanes, defaultLanes) {
		s.lanes = append(s.lanes, &lane{
			shipper: s, share: o.Budget.join(), wake: make(chan struct{}, 1), maxBytes: s.batchBytes,
		})
	}
	return s, nil
}

func orDefault[T int | time.Duration](v, preset T) T {
	if v == 0 {
		return preset
	}
	return v
}

// Push hands over a delivery. It blocks while the budget is used up. An error
// means that the delivery was not taken and its Done will not be called: that
// of ctx, storage.ErrClosed after Run has returned, or that the delivery is
// larger than the whole budget.
func (s *Shipper) Push(ctx context.Context, d storage.Delivery) error {
	l := s.lanes[d.Lane%uint32(len(s.lanes))]
	if err := l.share.acquire(ctx, s.stopped, d.Bytes); err != nil {
		return err
	}
	if !l.push(d) {
		l.share.release(d.Bytes)
		return storage.ErrClosed
	}
	return nil
}

// Run writes until ctx ends. A Write that is under way then may end in its own
// time, up to the grace; its deliveries are done if it succeeds. What waits is
// not written any more. Run must be called once; it returns nil.
func (s *Shipper) Run(ctx context.Context) error {
	writes, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(ctx, func() {
		grace := time.NewTimer(s.grace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-writes.Done():
		}
	})
	var wg sync.WaitGroup
	for _, l := range s.lanes {
		wg.Go(func() { l.run(ctx, writes) })
	}
	wg.Wait()
	close(s.stopped)
	for _, l := range s.lanes {
		l.close()
	}
	return nil
}

// inFlight is how many bytes of the budget this Shipper holds.
func (s *Shipper) inFlight() int {
	n := 0
	for _, l := range s.lanes {
		n += l.share.inFlight()
	}
	return n
}
