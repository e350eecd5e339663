package loki

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// faultyEngine is an engine that does at will what engines seldom do.
type faultyEngine struct {
	*logql.Engine

	// failAfter ends a log query or a tail with fail after so many entries.
	failAfter int
	fail      error
	// metric answers metric queries in the engine's place.
	metric func(ctx context.Context, q logql.Query) (parser.Value, error)
	// dropped is what a tail reports when it is idle.
	dropped func() int64
}

// failing wraps emit to end with f.fail, which it returns from the whole
// query by outcome.
func (f *faultyEngine) failing(emit func(*logql.Entry) error) (wrapped func(*logql.Entry) error, outcome func(error) error) {
	if f.fail == nil {
		return emit, func(err error) error { return err }
	}
	n, failed := 0, false
	wrapped = func(e *logql.Entry) error {
		if n == f.failAfter {
			failed = true
			return errors.New("the query fails")
		}
		n++
		return emit(e)
	}
	return wrapped, func(err error) error {
		if failed {
			return f.fail
		}
		return err
	}
}

func (f *faultyEngine) Logs(ctx context.Context, q logql.Query, emit func(*logql.Entry) error) (logql.Stats, error) {
	wrapped, outcome := f.failing(emit)
	stats, err := f.Engine.Logs(ctx, q, wrapped)
	return stats, outcome(err)
}

func (f *faultyEngine) Metric(ctx context.Context, q logql.Query) (parser.Value, logql.Stats, error) {
	if f.metric == nil {
		return f.Engine.Metric(ctx, q)
	}
	v, err := f.metric(ctx, q)
	return v, logql.Stats{}, err
}

func (f *faultyEngine) Tail(ctx context.Context, q logql.Query, emit func(*logql.Entry) error, idle func(int64) error) error {
	wrapped, outcome := f.failing(emit)
	return outcome(f.Engine.Tail(ctx, q, wrapped, func(dropped int64) error {
		if f.dropped != nil {
			dropped = f.dropped()
		}
		return idle(dropped)
	}))
}
