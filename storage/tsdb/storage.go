package tsdb

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	upstream "github.com/prometheus/prometheus/storage"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"
)

// Storage returns the store as upstream's scraper, rule manager, PromQL engine
// and remote-write receiver use it.
//
// While nothing can be written its appenders return an error wrapping
// storage.ErrFull or ErrNotReady from Append and Commit. Upstream's
// remote-write and OTLP receivers answer it with status 500, which senders
// retry. Samples refused for good are upstream's own errors, or one that is
// upstream's ErrOutOfBounds to errors.Is: status 400, not retried.
//
// Close closes the DB.
func (db *DB) Storage() upstream.Storage { return frontend{db} }

// Exemplars returns the store of exemplars, which is in memory only.
func (db *DB) Exemplars() upstream.ExemplarQueryable { return frontend{db} }

// frontend passes calls on to the handle that is current at the time.
type frontend struct{ db *DB }

// Close implements upstream's storage.Storage.
func (f frontend) Close() error { return f.db.Close() }

// StartTime returns the oldest time of which there may be samples, in
// milliseconds; now, while there are none. Prometheus adds a margin for blocks
// still to come, because it asks a remote storage for everything older; we ask
// nobody else.
func (f frontend) StartTime() (int64, error) {
	h, err := f.db.acquire()
	if err != nil {
		return 0, err
	}
	defer h.users.Done()
	if len(h.Blocks()) == 0 && h.Head().NumSeries() == 0 {
		return time.Now().UnixMilli(), nil
	}
	return h.StartTime()
}

// Querier implements upstream's storage.Queryable.
func (f frontend) Querier(mint, maxt int64) (upstream.Querier, error) {
	h, err := f.db.acquire()
	if err != nil {
		return nil, err
	}
	q, err := h.Querier(mint, maxt)
	if err != nil {
		h.users.Done()
		return nil, err
	}
	return &querier{Querier: q, release: h.users.Done}, nil
}

// ChunkQuerier implements upstream's storage.ChunkQueryable.
func (f frontend) ChunkQuerier(mint, maxt int64) (upstream.ChunkQuerier, error) {
	h, err := f.db.acquire()
	if err != nil {
		return nil, err
	}
	q, err := h.ChunkQuerier(mint, maxt)
	if err != nil {
		h.users.Done()
		return nil, err
	}
	return &chunkQuerier{ChunkQuerier: q, release: h.users.Done}, nil
}

// ExemplarQuerier implements upstream's storage.ExemplarQueryable. Exemplars
// are not mapped from a file, so that the querier need not hold the handle.
func (f frontend) ExemplarQuerier(ctx context.Context) (upstream.ExemplarQuerier, error) {
	h, err := f.db.acquire()
	if err != nil {
		return nil, err
	}
	defer h.users.Done()
	return h.ExemplarQuerier(ctx)
}

// querier holds its handle until it is closed.
type querier struct {
	upstream.Querier
	once    sync.Once
	release func()
}

// Close implements upstream's storage.LabelQuerier.
func (q *querier) Close() error {
	defer q.once.Do(q.release)
	return q.Querier.Close()
}

// chunkQuerier holds its handle until it is closed.
type chunkQuerier struct {
	upstream.ChunkQuerier
	once    sync.Once
	release func()
}

// Close implements upstream's storage.LabelQuerier.
func (q *chunkQuerier) Close() error {
	defer q.once.Do(q.release)
	return q.ChunkQuerier.Close()
}

// transaction ends an upstream appender and gives its handle back, once.
type transaction struct {
	upstream.AppenderTransaction
	db          *DB
	h           *handle
	oooFailures float64
	ended       bool
}

// Commit implements upstream's storage.AppenderTransaction.
func (t *transaction) Commit() error {
	if t.ended {
		return upstreamtsdb.ErrAppenderClosed
	}
	t.ended = true
	defer t.h.users.Done()
	return t.db.commit(t.h, t.AppenderTransaction, t.oooFailures)
}

// Rollback implements upstream's storage.AppenderTransaction. It writes too:
// series made for the batch stay, and upstream logs them.
func (t *transaction) Rollback() error {
	if t.ended {
		return upstreamtsdb.ErrAppenderClosed
	}
	t.ended = true
	defer t.h.users.Done()
	return t.db.rollback(t.h, t.AppenderTransaction)
}

// Appender implements upstream's storage.Appendable.
func (f frontend) Appender(ctx context.Context) upstream.Appender {
	h, err := f.db.acquireForWrite()
	if err != nil {
		return refusingAppender{refusing{err}}
	}
	app := h.Appender(ctx)
	return &appender{Appender: app, transaction: transaction{
		AppenderTransaction: app, db: f.db, h: h, oooFailures: h.oooFailures.value(),
	}}
}

// AppenderV2 implements upstream's storage.AppendableV2.
func (f frontend) AppenderV2(ctx context.Context) upstream.AppenderV2 {
	h, err := f.db.acquireForWrite()
	if err != nil {
		return refusingAppenderV2{refusing{err}}
	}
	app := h.AppenderV2(ctx)
	return &appenderV2{AppenderV2: app, transaction: transaction{
		AppenderTransaction: app, db: f.db, h: h, oooFailures: h.oooFailures.value(),
	}}
}

type appender struct {
	upstream.Appender
	transaction transaction
}

// Commit implements upstream's storage.AppenderTransaction.
func (a *appender) Commit() error { return a.transaction.Commit() }

// Rollback implements upstream's storage.AppenderTransaction.
func (a *appender) Rollback() error { return a.transaction.Rollback() }

// UpdateMetadata keeps metadata by family in memory; upstream would write it
// to the log for every series and not serve it.
func (a *appender) UpdateMetadata(ref upstream.SeriesRef, ls labels.Labels, m metadata.Metadata) (upstream.SeriesRef, error) {
	a.transaction.db.families.learnSeries(ls, m)
	return ref, nil
}

type appenderV2 struct {
	upstream.AppenderV2
	transaction transaction
}

// Append passes the sample on and notes the metadata that comes with it.
func (a *appenderV2) Append(ref upstream.SeriesRef, ls labels.Labels, st, t int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, o upstream.AOptions,
) (upstream.SeriesRef, error) {
	// Who passes a reference has appended to the series, and its metadata, before.
	if ref == 0 && !o.Metadata.IsEmpty() {
		if o.MetricFamilyName != "" {
			a.transaction.db.families.learn(o.MetricFamilyName, o.Metadata)
		} else {
			a.transaction.db.families.learnSeries(ls, o.Metadata)
		}
	}
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
}

// Commit implements upstream's storage.AppenderTransaction.
func (a *appenderV2) Commit() error { return a.transaction.Commit() }

// Rollback implements upstream's storage.AppenderTransaction.
func (a *appenderV2) Rollback() error { return a.transaction.Rollback() }

// refusing answers every write with the same error.
type refusing struct{ err error }

// Commit implements upstream's storage.AppenderTransaction.
func (r refusing) Commit() error { return r.err }

// Rollback has nothing to take back.
func (r refusing) Rollback() error { return nil }

type refusingAppenderV2 struct{ refusing }

// Append implements upstream's storage.AppenderV2.
func (r refusingAppenderV2) Append(upstream.SeriesRef, labels.Labels, int64, int64, float64,
	*histogram.Histogram, *histogram.FloatHistogram, upstream.AOptions,
) (upstream.SeriesRef, error) {
	return 0, r.err
}

type refusingAppender struct{ refusing }

// SetOptions implements upstream's storage.Appender.
func (r refusingAppender) SetOptions(*upstream.AppendOptions) {}

// Append implements upstream's storage.Appender.
func (r refusingAppender) Append(upstream.SeriesRef, labels.Labels, int64, float64) (upstream.SeriesRef, error) {
	return 0, r.err
}

// AppendExemplar implements upstream's storage.ExemplarAppender.
func (r refusingAppender) AppendExemplar(upstream.SeriesRef, labels.Labels, exemplar.Exemplar) (upstream.SeriesRef, error) {
	return 0, r.err
}

// AppendHistogram implements upstream's storage.HistogramAppender.
func (r refusingAppender) AppendHistogram(upstream.SeriesRef, labels.Labels, int64,
	*histogram.Histogram, *histogram.FloatHistogram,
) (upstream.SeriesRef, error) {
	return 0, r.err
}

// AppendHistogramSTZeroSample implements upstream's storage.HistogramAppender.
func (r refusingAppender) AppendHistogramSTZeroSample(upstream.SeriesRef, labels.Labels, int64, int64,
	*histogram.Histogram, *histogram.FloatHistogram,
) (upstream.SeriesRef, error) {
	return 0, r.err
}

// UpdateMetadata implements upstream's storage.MetadataUpdater.
func (r refusingAppender) UpdateMetadata(upstream.SeriesRef, labels.Labels, metadata.Metadata) (upstream.SeriesRef, error) {
	return 0, r.err
}

// AppendSTZeroSample implements upstream's storage.StartTimestampAppender.
func (r refusingAppender) AppendSTZeroSample(upstream.SeriesRef, labels.Labels, int64, int64) (upstream.SeriesRef, error) {
	return 0, r.err
}
