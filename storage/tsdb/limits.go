package tsdb

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/binnacle-obs/binnacle/storage"
)

// refusedSeries is why a series may not be created. It counts as upstream's
// ErrOutOfBounds, because upstream's scraper, rule manager and remote-write
// receiver know that error as "drop this sample, do not send it again".
type refusedSeries struct {
	reason string
	text   string
}

func (e *refusedSeries) Error() string { return e.text }

// Is makes errors.Is(e, upstream's ErrOutOfBounds) true.
func (e *refusedSeries) Is(target error) bool { return target == upstream.ErrOutOfBounds }

// gatekeeper is asked by upstream before a series is created, whichever way
// its first sample came in, and never again after that.
type gatekeeper struct {
	opts *Options
	// open is false while the log is replayed: what was accepted once stays.
	open   atomic.Bool
	series atomic.Int64
}

// PreCreation implements upstream's SeriesLifecycleCallback.
func (k *gatekeeper) PreCreation(ls labels.Labels) error {
	if !k.open.Load() {
		return nil
	}
	if err := k.check(ls); err != nil {
		return err
	}
	if limit := k.opts.MaxSeries; limit > 0 && k.series.Load() >= int64(limit) {
		return &refusedSeries{storage.ReasonLimit, fmt.Sprintf("series limit of %d reached, new series %s refused", limit, brief(ls))}
	}
	return nil
}

// PostCreation implements upstream's SeriesLifecycleCallback.
func (k *gatekeeper) PostCreation(labels.Labels) { k.series.Add(1) }

// PostDeletion implements upstream's SeriesLifecycleCallback.
func (k *gatekeeper) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	k.series.Add(-int64(len(gone)))
}

func (k *gatekeeper) check(ls labels.Labels) error {
	invalid := func(format string, args ...any) error {
		return &refusedSeries{storage.ReasonInvalid, fmt.Sprintf(format, args...) + ": series " + brief(ls)}
	}
	if !model.UTF8Validation.IsValidMetricName(ls.Get(model.MetricNameLabel)) {
		return invalid("metric name %q is empty or not UTF-8", ls.Get(model.MetricNameLabel))
	}
	n := 0
	var err error
	ls.Range(func(l labels.Label) {
		n++
		switch {
		case err != nil:
		case !model.UTF8Validation.IsValidLabelName(l.Name) || !model.LabelValue(l.Value).IsValid():
			err = invalid("label %q=%q is not UTF-8 or has no name", cut(l.Name), cut(l.Value))
		case len(l.Name) > k.opts.MaxLabelNameBytes:
			err = invalid("label name of %d bytes is longer than %d", len(l.Name), k.opts.MaxLabelNameBytes)
		case len(l.Value) > k.opts.MaxLabelValueBytes:
			err = invalid("value of label %q has %d bytes, more than %d", cut(l.Name), len(l.Value), k.opts.MaxLabelValueBytes)
		}
	})
	if err == nil && n > k.opts.MaxLabels {
		err = invalid("%d labels are more than %d", n, k.opts.MaxLabels)
	}
	return err
}

// briefBytes bounds what an error or a log line quotes of somebody's labels.
const briefBytes = 256

func brief(ls labels.Labels) string { return cut(ls.String()) }

func cut(s string) string {
	if len(s) <= briefBytes {
		return s
	}
	return s[:briefBytes] + "…"
}
