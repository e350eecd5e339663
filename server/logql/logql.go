// Package logql parses LogQL and evaluates it over a storage.LogStore.
package logql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/binnacle-obs/binnacle/storage"
)

// Query is one evaluation of an expression.
type Query struct {
	Text string
	// Start and End are nanoseconds since the Unix epoch. Log queries return
	// records with Start <= Time < End. Metric queries are evaluated at Start,
	// Start+Step, … up to and including End.
	Start, End int64
	// Step is 0 for an instant metric query, which is evaluated at End.
	Step time.Duration
	// Order and Limit are for log queries; a Limit of 0 is none.
	Order storage.Order
	Limit int
}

// Entry is a line of a log query's result. It and what it points to are valid
// until the function it was passed to returns, labels aside.
type Entry struct {
	Time int64
	Line []byte
	// Labels are all labels after the pipeline. They are made of Stream (those
	// of the record's stream), Metadata (the level and the record's own labels)
	// and Parsed (what the pipeline extracted or changed).
	Labels, Stream, Metadata, Parsed labels.Labels
	// Record is where the line came from; its Line is the stored text.
	Record *storage.Record
}

// Stats says what a query cost.
type Stats struct {
	storage.LogStats
	// Entries returned.
	Entries int64
	Took    time.Duration
}

// Evaluator is what this package offers to HTTP endpoints; *Engine implements it.
type Evaluator interface {
	// Logs evaluates a log query and calls emit for each entry in order. An
	// error of emit ends it. When it ends early because of a limit the error is
	// storage.ErrQueryLimit, and what was emitted is right but not all.
	Logs(ctx context.Context, q Query, emit func(*Entry) error) (Stats, error)
	// Metric evaluates a metric query: a promql.Vector or promql.Scalar for an
	// instant query, else a promql.Matrix.
	Metric(ctx context.Context, q Query) (parser.Value, Stats, error)
	// Tail emits the last q.Limit entries from q.Start on and then every entry
	// as it is written, until ctx ends. idle is called whenever nothing more is
	// waiting, so that the caller can flush what it gathered.
	Tail(ctx context.Context, q Query, emit func(*Entry) error, idle func(dropped int64) error) error
}

// ParseError says what is wrong with a query and where.
type ParseError struct {
	// Line and Column count from 1; Column counts characters.
	Line, Column int
	Msg          string
}

// Error is "parse error at line L, col C: MSG", Loki's form.
func (e *ParseError) Error() string {
	return fmt.Sprintf("parse error at line %d, col %d: %s", e.Line, e.Column, e.Msg)
}
