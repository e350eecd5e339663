package remote

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	upstream "github.com/prometheus/prometheus/storage"

	"github.com/binnacle-obs/binnacle/storage"
)

// appendable lets upstream's scrape manager write to the queue.
type appendable struct{ queue *Queue }

// AppendableV2 returns an adapter for producers that use upstream's interface:
// floats, native histograms, exemplars, metadata and start timestamps. Commit
// is what Append is: durable when it returns nil.
func (q *Queue) AppendableV2() upstream.AppendableV2 { return appendable{queue: q} }

// AppenderV2 implements upstream's AppendableV2.
func (a appendable) AppenderV2(ctx context.Context) upstream.AppenderV2 {
	return &appenderV2{ctx: ctx, queue: a.queue}
}

// appenderV2 collects the points of one transaction.
type appenderV2 struct {
	ctx    context.Context
	queue  *Queue
	points []point
}

// Append implements upstream's AppenderV2. It keeps histograms until Commit, as
// upstream's own stores do.
func (a *appenderV2) Append(ref upstream.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts upstream.AppendV2Options) (upstream.SeriesRef, error) {
	s, place, err := a.queue.series(uint64(ref), ls, opts.Metadata)
	if err != nil {
		return 0, err
	}
	a.points = append(a.points, point{
		series: s, st: st, t: t, v: v, h: h, fh: fh,
		exemplars: cloneExemplars(opts.Exemplars),
	})
	return upstream.SeriesRef(place), nil
}

func cloneExemplars(list []exemplar.Exemplar) []exemplar.Exemplar {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

// Commit implements upstream's AppenderV2.
func (a *appenderV2) Commit() error {
	points := a.points
	a.points = nil
	if err := a.ctx.Err(); err != nil {
		return err
	}
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	w := a.queue.newWriter()
	for i := range points {
		if err := w.add(&points[i]); err != nil {
			return err
		}
	}
	return w.finish()
}

// Rollback implements upstream's AppenderV2.
func (a *appenderV2) Rollback() error {
	a.points = nil
	return nil
}

// series returns the series with these labels, made at first use, and its place
// in the cache. Metadata that is not empty replaces what the series had.
func (q *Queue) series(ref uint64, ls labels.Labels, meta metadata.Metadata) (*storage.Series, uint64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	cache := q.encoder.cache
	if s := cache.find(ref, ls); s != nil {
		f := s.Family
		if !meta.IsEmpty() && (f.Help != meta.Help || f.Unit != meta.Unit || f.Type != meta.Type) {
			s.Family = newFamily(ls, meta)
		}
		return s, s.Ref, nil
	}
	s := &storage.Series{Labels: ls, Family: newFamily(ls, meta)}
	if err := checkSeries(s); err != nil {
		return nil, 0, &seriesError{labels: ls.String(), err: err}
	}
	now := time.Now().Unix()
	cache.shrink(now)
	cache.addHashed(s, now)
	return s, s.Ref, nil
}

func newFamily(ls labels.Labels, meta metadata.Metadata) *storage.Family {
	return &storage.Family{Name: ls.Get(model.MetricNameLabel), Help: meta.Help, Unit: meta.Unit, Type: meta.Type}
}
