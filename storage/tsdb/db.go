package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"

	upstreamtsdb "github.com/prometheus/prometheus/tsdb"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/datadir"
)

// ErrNotReady is what reads and writes get while the folder is being opened.
// The same call can be made again later.
var ErrNotReady = errors.New("tsdb is being opened")

// DB is a Prometheus time series database in a folder. It implements
// storage.Appender; all methods may be called at any time from any goroutine.
type DB struct {
	opts     Options
	logger   *slog.Logger
	metrics  *metrics
	families *families
	stats    *upstreamtsdb.DBStats
	space    *space

	// mu guards what follows. It is never held while anything is read or written.
	mu sync.RWMutex
	// cur is nil while the folder is not open.
	cur *handle
	// unavailable says why cur is nil: ErrNotReady, storage.ErrClosed, or more.
	unavailable error
	// refusal is why writes are refused although cur is there; nil if they are not.
	refusal error
	// broken is the failed write after which cur must be replaced, or nil.
	broken error

	// check asks the watch goroutine to look at once.
	check chan struct{}

	// lifecycle is held by Start and Close, and guards what follows.
	lifecycle sync.Mutex
	lock      *datadir.Held
	closed    bool
	// closeErr is what the first Close returned.
	closeErr error
	// stop ends the watch goroutine, which then closes done; nil if it never ran.
	stop context.CancelFunc
	done chan struct{}
}

// New makes a store that is not open yet: until Start has returned, reads and
// writes get ErrNotReady, while Admin and State tell how far it is.
func New(o Options) (*DB, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("tsdb: register metrics: %w", err)
	}
	return &DB{
		opts: o, logger: o.Logger, metrics: m, families: newFamilies(m), stats: upstreamtsdb.NewDBStats(),
		space: newSpace(o.Dir, o.MinFreeBytes), unavailable: ErrNotReady,
		check: make(chan struct{}, 1), done: make(chan struct{}),
	}, nil
}

// Open is New and Start.
func Open(ctx context.Context, o Options) (*DB, error) {
	db, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := db.Start(ctx); err != nil {
		return nil, err
	}
	return db, nil
}

// Start takes the folder, sets aside what is broken in it, replays the log and
// then lets reads and writes in. It is called once; after an error the DB is
// closed. ctx only matters before the replay begins, which cannot be stopped.
func (db *DB) Start(ctx context.Context) error {
	db.lifecycle.Lock()
	defer db.lifecycle.Unlock()
	if db.closed {
		return storage.ErrClosed
	}
	if err := db.start(ctx); err != nil {
		db.closed = true
		db.closeErr = db.close()
		return errors.Join(err, db.closeErr)
	}
	return nil
}

func (db *DB) start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(db.opts.Dir, 0o777); err != nil {
		return fmt.Errorf("tsdb: make data folder: %w", err)
	}
	var err error
	if db.lock, err = datadir.Lock(db.opts.Dir); err != nil {
		return fmt.Errorf("tsdb: %w", err)
	}
	if err := db.space.measure(); err != nil {
		return err
	}
	h, err := db.recoverAndOpen()
	if err != nil {
		return db.fullOr(fmt.Errorf("tsdb: open %s: %w", db.opts.Dir, err))
	}
	db.install(h)
	db.checkSpace()
	var watchCtx context.Context
	watchCtx, db.stop = context.WithCancel(context.Background())
	go db.watch(watchCtx)
	return nil
}

// recoverAndOpen opens the folder after setting aside what is broken in it.
func (db *DB) recoverAndOpen() (*handle, error) {
	if err := db.recoverBlocks(); err != nil {
		return nil, err
	}
	if err := db.recoverLogs(); err != nil {
		return nil, err
	}
	h, err := db.openHandle()
	if err == nil || !db.recoverHeadChunks(err) {
		return h, err
	}
	return db.openHandle()
}

// install makes h current.
func (db *DB) install(h *handle) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.cur, db.unavailable, db.broken = h, nil, nil
	db.metrics.upstream.current.Store(h.reg)
}

// detach takes the current handle away from new users and says why.
func (db *DB) detach(why error) *handle {
	db.mu.Lock()
	defer db.mu.Unlock()
	h := db.cur
	db.cur, db.unavailable = nil, why
	return h
}

// acquire returns the current handle; users.Done gives it back. The handle is
// not closed until then, because upstream unmaps files that readers still use.
func (db *DB) acquire() (*handle, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.cur == nil {
		return nil, db.unavailable
	}
	db.cur.users.Add(1)
	return db.cur, nil
}

// acquireForWrite is acquire, and refuses while nothing may be written.
func (db *DB) acquireForWrite() (*handle, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	switch {
	case db.cur == nil:
		return nil, db.unavailable
	case db.refusal != nil:
		return nil, db.refusal
	}
	db.cur.users.Add(1)
	return db.cur, nil
}

// commitFailed stops writing through h: a failed write may have left half a
// record in the log, and series that exist in memory only.
func (db *DB) commitFailed(h *handle, cause error) error {
	cause = db.fullOr(fmt.Errorf("tsdb: write to the log of %s failed, the batch is not stored: %w", db.opts.Dir, cause))
	db.mu.Lock()
	if db.cur == h && db.broken == nil {
		db.broken, db.refusal = cause, cause
	}
	db.mu.Unlock()
	select {
	case db.check <- struct{}{}:
	default:
	}
	return cause
}

// fullOr wraps err in storage.ErrFull when a full disk or quota is behind it.
func (db *DB) fullOr(err error) error {
	if errors.Is(err, storage.ErrFull) || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	_ = db.space.measure() // For the figures in the text only.
	return fmt.Errorf("%w: %w", db.space.FullError(), err)
}

// Close gives the folder back. Everything acknowledged is on disk already. It
// waits for Start, and for open queries and appenders, for these a minute at most.
func (db *DB) Close() error {
	db.lifecycle.Lock()
	defer db.lifecycle.Unlock()
	if !db.closed {
		db.closed = true
		db.closeErr = db.close()
	}
	return db.closeErr
}

func (db *DB) close() error {
	defer db.metrics.unregister()
	if db.stop != nil {
		db.stop()
		<-db.done
	}
	if h := db.detach(storage.ErrClosed); h != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := h.drain(ctx); err != nil {
			// The files stay mapped and the folder locked: unmapping what a
			// query reads would end the process.
			return fmt.Errorf("tsdb: close %s: %w", db.opts.Dir, err)
		}
		// Upstream writes head chunks as it closes, which the reserve makes room for.
		db.space.release()
		if err := h.closeUpstream(); err != nil {
			return errors.Join(fmt.Errorf("tsdb: close %s: %w", db.opts.Dir, err), db.unlock())
		}
	}
	return db.unlock()
}

func (db *DB) unlock() error {
	if db.lock == nil {
		return nil
	}
	return db.lock.Close()
}
