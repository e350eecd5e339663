// Package storage holds what the producers of metrics and their stores share:
// samples, series identity, sentinel errors and the Appender interface. It
// does no I/O and imports none of our other packages.
package storage

import (
	"context"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Family describes a metric family: what all series of one name share.
type Family struct {
	Name string
	Help string
	// Unit is an OpenMetrics unit ("seconds", "bytes"), or "".
	Unit string
	Type model.MetricType
}

// Series is the identity of one time series. Its producer makes it once and
// points every sample of the series at it, so that an Appender can keep its
// own reference beside the labels instead of looking them up again.
type Series struct {
	// Labels are the complete labels, __name__ included. They never change.
	Labels labels.Labels
	// Family may be shared by any number of series. It is never nil.
	Family *Family
	// Ref belongs to the one Appender that this series' samples go to; it
	// means nothing to the producer, who leaves it at 0.
	Ref uint64
}

// Sample is one float value of a series at one time. The value StaleNaN of
// upstream's model/value package marks the end of a series.
type Sample struct {
	Series *Series
	// T is milliseconds since the Unix epoch.
	T int64
	V float64
}

// Appender stores metric samples. Implementations are safe for concurrent use
// as long as no two concurrent batches share a *Series.
type Appender interface {
	// Append stores every acceptable sample. Samples refused for good are
	// counted in a *RejectedError; after any other error the whole batch may
	// be sent again, equal samples being no-ops. It keeps no reference to
	// batch, but may keep the *Series that the samples point to.
	Append(ctx context.Context, batch []Sample) error
}
