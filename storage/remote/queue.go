// Package remote sends samples to other servers by Prometheus remote write,
// version 2.0 or, where a receiver does not know that, 1.0. Samples are encoded
// once into ready-made requests and kept in a buffer on disk from where each
// receiver gets them at its own speed.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// DefaultMaxBytes is the size of the buffer unless configured.
	DefaultMaxBytes = 1 << 30
	// minMaxBytes is the least that can hold a few requests.
	minMaxBytes = 1 << 20
)

// Options configure a Queue.
type Options struct {
	// Dir holds the buffer. It is made if missing; one process may use it.
	Dir string
	// MaxBytes bounds the buffer; 0 means DefaultMaxBytes. When it is used up
	// the oldest samples go, whoever has not got them yet.
	MaxBytes int64
	// Endpoints are the receivers. Each gets all samples. One that is new gets
	// everything that is still in the buffer.
	Endpoints []Endpoint
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the binnacle_remote_* metrics; it may be nil.
	Registerer prometheus.Registerer
}

// Queue is a storage.Appender whose store is a buffer on disk, and which sends
// what is in there to its endpoints while Run runs.
type Queue struct {
	logger      *slog.Logger
	metrics     *metrics
	unregisters []func()
	lock        *os.File
	buffer      *buffer
	senders     []*sender

	mu       sync.Mutex // guards what follows; held before buffer.mu
	encoder  *encoder
	loggedAt time.Time // of the last refusal
}

var _ storage.Appender = (*Queue)(nil)

// Open opens the buffer and checks the endpoints. It does not connect to them.
func Open(o Options) (*Queue, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxBytes < minMaxBytes {
		return nil, fmt.Errorf("a remote write buffer of %d bytes is too small, it needs at least %d", o.MaxBytes, minMaxBytes)
	}
	if len(o.Endpoints) == 0 {
		return nil, errors.New("remote write needs at least one endpoint")
	}
	q := &Queue{logger: o.Logger, metrics: newMetrics(), encoder: &encoder{cache: newSeriesCache()}}
	if err := q.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("remote write: %w", err), q.Close())
	}
	return q, nil
}

func (q *Queue) open(o Options) error {
	cursors := make([]string, len(o.Endpoints))
	for i, e := range o.Endpoints {
		if err := q.addEndpoint(e); err != nil {
			return err
		}
		cursors[i] = cursorName(e.URL)
	}
	if err := q.openBuffer(o, cursors); err != nil {
		return err
	}
	return q.register(o.Registerer)
}

// addEndpoint makes the sender of an endpoint, as yet without a reader.
func (q *Queue) addEndpoint(e Endpoint) error {
	c, err := newClient(e)
	if err != nil {
		return err
	}
	name := c.name
	for i, s := range q.senders {
		if s.client.URL() == c.URL() {
			return fmt.Errorf("endpoint %s is configured twice", c.name)
		}
		if s.client.name == c.name { // they differ in the query
			c.name = fmt.Sprintf("%s#%d", name, i+2)
		}
	}
	q.senders = append(q.senders, &sender{
		client:  c,
		metrics: q.metrics.endpoint(c.name),
		logger:  q.logger.With("endpoint", c.name),
		backoff: minBackoff,
	})
	return nil
}

func (q *Queue) openBuffer(o Options, cursors []string) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the buffer directory: %w", err)
	}
	var err error
	if q.lock, err = lockDir(o.Dir); err != nil {
		return err
	}
	q.buffer, err = openBuffer(o.Dir, o.MaxBytes, cursors, q.onShed, q.logger)
	if err != nil {
		return fmt.Errorf("open the buffer in %s: %w", o.Dir, err)
	}
	for i, s := range q.senders {
		s.reader = &reader{buffer: q.buffer, cursor: q.buffer.cursors[i], onDamage: s.onDamage}
	}
	return nil
}

// lockDir makes sure that no other process uses the directory.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", dir, err), f.Close())
	}
	return f, nil
}

// onShed counts and logs samples that were removed before they were sent.
func (q *Queue) onShed(index, points int, reason string) {
	s := q.senders[index]
	s.metrics.shed.WithLabelValues(reason).Add(float64(points))
	s.logger.Error("Samples were removed from the remote write buffer before they were sent", "samples", points, "reason", reason)
}

// onDamage counts and logs what could not be read from the buffer.
func (s *sender) onDamage(points int, err error) {
	s.metrics.damaged.Inc()
	s.metrics.shed.WithLabelValues(reasonDamaged).Add(float64(points))
	s.logger.Error("Skipped a damaged place in the remote write buffer", "samples", points, "err", err)
}

// Append implements storage.Appender. It returns nil when the kernel has the
// samples: they survive the end of this process, not a power failure. The
// error is storage.ErrFull, wrapped, only when the disk is full and removing
// all older samples from the buffer did not make room.
func (q *Queue) Append(ctx context.Context, batch []storage.Sample) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.newWriter()
	var p point
	for i := range batch {
		p.series, p.t, p.v = batch[i].Series, batch[i].T, batch[i].V
		if err := w.add(&p); err != nil {
			return err
		}
	}
	return w.finish()
}

// Run sends until ctx ends. It returns nil.
func (q *Queue) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range q.senders {
		wg.Go(func() { s.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Close closes the buffer. Run must have returned.
func (q *Queue) Close() error {
	var errs []error
	q.unregister()
	if q.buffer != nil {
		errs = append(errs, q.buffer.close())
	}
	for _, s := range q.senders {
		s.client.Close()
	}
	if q.lock != nil {
		errs = append(errs, q.lock.Close())
		q.lock = nil
	}
	return errors.Join(errs...)
}
