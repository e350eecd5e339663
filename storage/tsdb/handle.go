package tsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	// stripeSize is the number of buckets of the series table. Upstream's
	// 16,384 take 3.3 MiB when empty; with 2,048 a store of 100,000 series
	// still has only 50 in a bucket, which is a map of its own.
	stripeSize = 2048
	// writeBufferBytes is what head chunks are collected in before they are
	// written. Upstream's 4 MiB stay resident once they have been filled.
	writeBufferBytes = 256 << 10
	// walCompression: the log takes 16.8 bytes a sample without, 7.3 with
	// Snappy and 4.8 with Zstd, which takes the most CPU (BenchmarkWALCompression).
	// Zstd would do, as the log lives for three hours only, but promtool 2.42,
	// which distributions have, cannot read it.
	walCompression = compression.Snappy
	// closeTimeout bounds waiting for queries and appenders when closing.
	closeTimeout = time.Minute
)

// handles numbers every opening of a folder in this process, so that a
// reference into one head is never taken for one into another.
var handles atomic.Uint64

// handle is one opening of the folder by upstream. Another takes its place
// when writing to the log failed.
type handle struct {
	*upstreamtsdb.DB
	id uint64
	// users are the queriers and appenders in use; see DB.acquire.
	users sync.WaitGroup
	// reg holds upstream's metrics of this handle.
	reg *prometheus.Registry
	// oooFailures counts failed writes to the log of out-of-order samples,
	// which upstream reports in no other way.
	oooFailures *counterReader
}

// openHandle opens the folder. The caller holds the folder's lock and has set
// aside what is broken.
func (db *DB) openHandle() (*handle, error) {
	h := &handle{id: handles.Add(1), reg: prometheus.NewRegistry(), oooFailures: &counterReader{}}
	watched := watchingRegisterer{
		Registerer: h.reg, name: `"prometheus_tsdb_out_of_order_wbl_writes_failed_total"`, found: h.oooFailures,
	}
	keeper := &gatekeeper{opts: &db.opts}
	o := upstreamtsdb.DefaultOptions()
	o.RetentionDuration = db.opts.Retention.Milliseconds()
	o.MaxBytes = db.opts.RetentionSize
	// Like Prometheus: blocks of at most a tenth of the retention, so that
	// deleting whole blocks keeps near it.
	o.MaxBlockDuration = max(min(o.RetentionDuration/10, (31*24*time.Hour).Milliseconds()), o.MinBlockDuration)
	o.OutOfOrderTimeWindow = db.opts.OutOfOrderWindow.Milliseconds()
	o.EnableExemplarStorage = db.opts.MaxExemplars > 0
	o.MaxExemplars = db.opts.MaxExemplars
	o.WALCompression = walCompression
	o.StripeSize = stripeSize
	o.HeadChunksWriteBufferSize = writeBufferBytes
	o.NoLockfile = true // We hold the lock before and between openings.
	o.SeriesLifecycleCallback = keeper
	up, err := openUpstream(func() (*upstreamtsdb.DB, error) {
		return upstreamtsdb.Open(db.opts.Dir, db.logger, watched, o, db.stats)
	})
	if err != nil {
		return nil, err
	}
	h.DB = up
	keeper.open.Store(true)
	return h, nil
}

// openUpstream and closeUpstream turn upstream's panics into errors: it
// panics when head chunks cannot be written.
func openUpstream(open func() (*upstreamtsdb.DB, error)) (up *upstreamtsdb.DB, err error) {
	defer recoverTo(&err)
	return open()
}

func (h *handle) closeUpstream() (err error) {
	defer recoverTo(&err)
	return h.Close()
}

func recoverTo(err *error) {
	if p := recover(); p != nil {
		if cause, ok := p.(error); ok {
			*err = fmt.Errorf("panic in upstream's tsdb: %w", cause)
			return
		}
		*err = fmt.Errorf("panic in upstream's tsdb: %v", p)
	}
}

var errStillInUse = errors.New("queries or appenders are still open")

// drain waits until nobody uses the handle. The caller has made sure that
// nobody acquires it any more.
func (h *handle) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		h.users.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errStillInUse, ctx.Err())
	}
}

// watchingRegisterer notes the counter of the given name as it is registered.
type watchingRegisterer struct {
	prometheus.Registerer
	name  string
	found *counterReader
}

// Register implements prometheus.Registerer.
func (w watchingRegisterer) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 16)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		if strings.Contains(d.String(), "fqName: "+w.name) {
			w.found.counter = c
		}
	}
	return w.Registerer.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (w watchingRegisterer) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := w.Register(c); err != nil {
			panic(err) // Upstream's registry is new, and openUpstream recovers.
		}
	}
}

// counterReader reads a counter that upstream keeps to itself. The counter is
// nil when upstream has no log of out-of-order samples.
type counterReader struct {
	counter prometheus.Collector
}

func (r *counterReader) value() float64 {
	if r.counter == nil {
		return 0
	}
	ch := make(chan prometheus.Metric, 1)
	r.counter.Collect(ch)
	var out dto.Metric
	if err := (<-ch).Write(&out); err != nil {
		return 0
	}
	return out.GetCounter().GetValue()
}
