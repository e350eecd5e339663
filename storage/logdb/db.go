package logdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/datadir"
)

// DB is an embedded log store. It implements storage.LogStore and
// storage.LogCounter.
//
// Lock order: writeMu, then mu, then those of tails, streams and segments.
type DB struct {
	options Options
	logger  *slog.Logger
	metrics *metrics
	codec   *codec
	space   *datadir.Space
	streams *streamIndex
	tails   tails
	skips   skipCache
	// lock is the locked file of the data folder.
	lock        *datadir.Held
	unregisters []func()
	// lastSeq is the highest sequence number in use.
	lastSeq atomic.Uint64
	// cutBytes is when a head part is complete: two fit into the head, one
	// being filled and one being written.
	cutBytes   int64
	chunkBytes int

	// writeMu makes one writer at a time. It guards what follows.
	writeMu sync.Mutex
	closed  bool
	wal     *walFile
	frames  frameEncoder
	chunk   chunk
	marks   *marks
	digest  *xxhash.Digest
	// previous are the sourceless records of the head part before the active one.
	previous map[sourceless]struct{}

	// mu guards what readers see.
	mu sync.RWMutex
	// active is the part of the head that is written to. The pointer changes
	// with writeMu held as well.
	active *part
	// sealed is the part that is being written to a segment, or nil, and
	// sealedWAL its log.
	sealed    *part
	sealedWAL *walFile
	// cutDone is closed when the present attempt to write sealed has ended.
	cutDone chan struct{}
	// segments are in the order of their sequence numbers. The slice is
	// replaced, never changed.
	segments []*segment
	// refused is why nothing is written at present; cutErr is why the last
	// attempt to write sealed failed.
	refused, cutErr error

	// compactMu makes one compactor at a time: nobody else removes segments. It
	// comes first in the lock order.
	compactMu sync.Mutex

	cutWanted     chan struct{}
	compactWanted chan struct{}
	stop          context.CancelFunc
	background    sync.WaitGroup
}

// State describes a DB at some moment.
type State struct {
	// HeadBytes is the memory of records that are not in a segment yet.
	HeadBytes int64
	// Segments and Blocks are those on disk, with TextBytes of text.
	Segments, Blocks int
	TextBytes        int64
	// DiskBytes is the size of segments and write-ahead logs.
	DiskBytes int64
	// Streams that have records, and live Tails.
	Streams, Tails int
	// Oldest is the time of the oldest record on disk, 0 without any.
	Oldest int64
	// Full tells that records are refused at present, or will be when the head
	// is full because it cannot be written to a segment, and Reason why.
	Full   bool
	Reason string
	// FreeBytes of the disk, and how many of them are left alone.
	FreeBytes, MinFreeBytes int64
}

// Open opens the store kept in o.Dir, and makes it if there is none. Records
// are written, merged and expired in the background until Close.
func Open(o Options) (*DB, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("logdb: make data folder: %w", err)
	}
	lock, err := datadir.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("logdb: %w", err)
	}
	codec, err := newCodec()
	if err != nil {
		lock.Close()
		return nil, err
	}
	db := &DB{
		options: o, logger: o.Logger.With("component", "logdb"), metrics: newMetrics(), codec: codec,
		space: datadir.NewSpace(o.Dir, o.MinFreeBytes), streams: newStreamIndex(), lock: lock,
		skips: skipCache{max: maxSkipBytes}, marks: newMarks(), digest: xxhash.New(), chunk: chunk{known: make(map[*storage.Stream]*stream)},
		cutWanted: make(chan struct{}, 1), compactWanted: make(chan struct{}, 1),
	}
	db.chunkBytes = int(min(maxChunkBytes, o.HeadBytes/8))
	db.cutBytes = o.HeadBytes/2 - int64(db.chunkBytes)
	if err := db.recover(); err != nil {
		return nil, errors.Join(err, db.closeFiles())
	}
	if err := db.register(o.Registerer); err != nil {
		return nil, errors.Join(err, db.closeFiles())
	}
	ctx, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.watchSpace()
	if db.sealed != nil {
		request(db.cutWanted)
	}
	db.background.Go(func() { db.watch(ctx) })
	db.background.Go(func() { db.syncLoop(ctx) })
	db.background.Go(func() { db.cutLoop(ctx) })
	db.background.Go(func() { db.compactLoop(ctx) })
	return db, nil
}

// Close ends background work and live tails and syncs the log. Iterators that
// are open stay valid until they are closed. A second Close does nothing.
func (db *DB) Close() error {
	db.writeMu.Lock()
	if db.closed {
		db.writeMu.Unlock()
		return nil
	}
	db.closed = true
	db.writeMu.Unlock()
	db.stop()
	db.background.Wait()
	// Writers that wait for a segment that is not written any more.
	db.mu.Lock()
	if db.sealed != nil {
		close(db.cutDone)
	}
	db.mu.Unlock()
	db.tails.close()
	db.unregister()
	err := db.wal.sync(db.wal.size)
	return errors.Join(err, db.closeFiles())
}

// closeFiles gives back everything that is open.
func (db *DB) closeFiles() error {
	var errs []error
	db.mu.Lock()
	segments := db.segments
	db.segments = nil
	for _, w := range []*walFile{db.wal, db.sealedWAL} {
		if w != nil {
			errs = append(errs, w.f.Close())
		}
	}
	db.mu.Unlock()
	for _, s := range segments {
		errs = append(errs, s.release())
	}
	errs = append(errs, db.lock.Close())
	return errors.Join(errs...)
}

// State tells how the store is.
func (db *DB) State() State {
	free, minFree := db.space.Last()
	s := State{Streams: db.streams.len(), Tails: db.tails.len(), FreeBytes: free, MinFreeBytes: minFree}
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, p := range []*part{db.active, db.sealed} {
		if p != nil {
			s.HeadBytes += p.memory
		}
	}
	for _, g := range db.segments {
		s.Segments++
		s.Blocks += len(g.blocks)
		s.DiskBytes += g.size
		for i := range g.blocks {
			s.TextBytes += int64(g.blocks[i].textBytes)
		}
		if s.Oldest == 0 || g.minTime < s.Oldest {
			s.Oldest = g.minTime
		}
	}
	s.DiskBytes += db.walBytes()
	if err := cmp.Or(db.refused, db.cutErr); err != nil {
		s.Full, s.Reason = true, err.Error()
	}
	return s
}

// snapshot is what a query reads: it does not change under the query.
type snapshot struct {
	segments []*segment
	parts    []partView
}

// mayRead is why a query does not start, or nil.
func (db *DB) mayRead(ctx context.Context) error {
	if db.tails.isClosed() {
		return storage.ErrClosed
	}
	return ctx.Err()
}

// snapshot takes references that must be released.
func (db *DB) snapshot() snapshot {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.snapshotLocked()
}

// snapshotLocked is snapshot with db.mu held.
func (db *DB) snapshotLocked() snapshot {
	s := snapshot{segments: db.segments}
	for _, g := range s.segments {
		g.acquire()
	}
	if db.sealed != nil {
		s.parts = append(s.parts, db.sealed.view())
	}
	if db.active != nil {
		s.parts = append(s.parts, db.active.view())
	}
	return s
}

// release is for those who have no use for the error.
func (db *DB) release(s *snapshot) {
	if err := s.release(); err != nil {
		db.logger.Warn("A segment that a query was the last to use cannot be removed", "err", err)
	}
}

func (s *snapshot) release() error {
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.release())
	}
	s.segments, s.parts = nil, nil
	return errors.Join(errs...)
}

// refusal is why nothing can be written at present, or nil.
func (db *DB) refusal() error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.refused
}

// cutting returns what is closed when the attempt to write the sealed part has
// ended, and why the last one failed; nil when there is no sealed part.
func (db *DB) cutting() (done <-chan struct{}, failed error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.sealed == nil {
		return nil, nil
	}
	return db.cutDone, db.cutErr
}

func (db *DB) isCutting() bool {
	done, _ := db.cutting()
	return done != nil
}
