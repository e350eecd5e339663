package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// ErrTooLarge means that a receiver takes no batch of this size: the same
// records may be sent in smaller batches.
var ErrTooLarge = errors.New("batch is too large")

// ErrQueryLimit means that a query ended early because it reached a limit;
// what was returned before it is right but not all.
var ErrQueryLimit = errors.New("query reached a limit")

// LogSink stores log records. Implementations are safe for concurrent use; the
// records of one source must not be in two calls at the same time.
type LogSink interface {
	// Write returns nil once every record is durable. A *PartialError tells
	// which records are not: those worth retrying by their indexes, those
	// refused for good by number and reason. After any other error the whole
	// batch may be sent again; records that are stored already are no-ops.
	// ErrFull and ErrTooLarge come wrapped. It keeps no reference to batch nor
	// to what the records point to, Streams aside.
	Write(ctx context.Context, batch []Record) error
}

// PartialError reports the records of a batch that were not stored. All others
// are.
type PartialError struct {
	// Retry are indexes of records that may be accepted later, ascending.
	Retry []int
	// RetryAfter is how long the receiver asks to wait, 0 when it does not say.
	RetryAfter time.Duration
	// Refused counts by reason the records for which a retry is pointless.
	Refused map[string]int
	// First is the first failure.
	First error
}

// Error counts the records to retry and the refused ones by reason.
func (e *PartialError) Error() string {
	parts := make([]string, 0, len(e.Refused)+1)
	for reason, n := range e.Refused {
		parts = append(parts, fmt.Sprintf("%d refused as %s", n, reason))
	}
	slices.Sort(parts)
	if len(e.Retry) > 0 {
		parts = append(parts, fmt.Sprintf("%d to retry", len(e.Retry)))
	}
	return fmt.Sprintf("log records not stored (%s), first: %v", strings.Join(parts, ", "), e.First)
}

// Unwrap returns the first failure.
func (e *PartialError) Unwrap() error { return e.First }

// Order is the order in which a query returns records.
type Order uint8

const (
	// Unordered leaves the order to the store. Aggregations use it.
	Unordered Order = iota
	// Ascending is oldest first. Records of the same time are in the order of
	// their source and offset.
	Ascending
	// Descending is the exact reverse of Ascending.
	Descending
)

// LogQuery selects records.
type LogQuery struct {
	// Matchers must all hold for the labels of a record's stream; a label that
	// a stream does not have is "". None selects every stream.
	Matchers []*labels.Matcher
	// Start and End bound the times of records: Start <= Time < End.
	Start, End int64
	// Lines must all hold for the text of a record.
	Lines []*LineMatcher
	// Levels has bit 1<<Level set for each level wanted; 0 wants all.
	Levels uint8
	Order  Order
	// Limit ends an ordered query after this many records; 0 is no limit.
	Limit int
	// NoLine leaves Record.Line nil (Size is set): a store can then do without
	// reading text. Lines are matched all the same.
	NoLine bool
	// MaxBytes ends the query with ErrQueryLimit when more text than this had
	// to be read; 0 is no limit.
	MaxBytes int64
}

// LogStats says what a query cost.
type LogStats struct {
	// Lines and Bytes of text that were looked at, before filtering.
	Lines, Bytes int64
	// Blocks that could have matched, and those skipped by an index.
	Blocks, BlocksSkipped int64
	// Dropped counts the records that a live tail had to leave out because
	// its reader was too slow.
	Dropped int64
}

// LogIterator returns the records of a query. It is not for concurrent use.
type LogIterator interface {
	// Next returns the next records, at least one, or io.EOF at the end. They
	// and all they point to, Streams aside, are valid until the next call.
	Next() ([]Record, error)
	// Stats tells what the query cost up to now.
	Stats() LogStats
	// Close releases resources; it must be called once, also after an error.
	Close() error
}

// StreamInfo tells of a stream that has records in a span of time.
type StreamInfo struct {
	Labels labels.Labels
	// Records and Bytes in the span; they may include some outside of it that
	// are stored beside those inside.
	Records, Bytes int64
	// First and Last are the times of the stream's outermost records known.
	First, Last int64
}

// LogStore stores and finds log records. It is safe for concurrent use.
type LogStore interface {
	LogSink
	// Select returns the records that match. It sees every record whose Write
	// returned before the call. Context errors end it.
	Select(ctx context.Context, q LogQuery) (LogIterator, error)
	// Tail returns the last q.Limit records (0: all) from q.Start on that are
	// stored already, ascending, and then every matching record as it is
	// written, none missing and none twice, until ctx ends (io.EOF). End and
	// Order of q are ignored. Next blocks until there is a record.
	Tail(ctx context.Context, q LogQuery) (LogIterator, error)
	// Streams lists the streams that match and have records in the span
	// [start, end), in no order.
	Streams(ctx context.Context, matchers []*labels.Matcher, start, end int64) ([]StreamInfo, error)
}

// LogCounter is implemented by stores that can count without returning
// records.
type LogCounter interface {
	// Count counts the matching records of q per bucket [Start+i*step,
	// Start+(i+1)*step) and per combination of the labels named by (stream
	// labels and LabelLevel; an absent label is ""). exact is false where the
	// store cannot evaluate q.Lines to the letter; nothing is counted then and
	// the caller counts records itself. Order, Limit and NoLine are ignored.
	Count(ctx context.Context, q LogQuery, step int64, by []string) (counts []LogCount, exact bool, err error)
}

// LogCount is a group of Count.
type LogCount struct {
	Labels labels.Labels
	// Records and Bytes have one value a bucket.
	Records, Bytes []int64
}

// Delivery is a run of records of one file on its way from a reader to a sink.
type Delivery struct {
	Records []Record
	// Bytes is what the records keep in memory until Done.
	Bytes int
	// Lane is the same for all deliveries of a file: those of a lane are
	// written in the order in which they came.
	Lane uint32
	// Done is called once, when every record is durable or refused for good,
	// and never when the program stops before that. The records' memory is the
	// reader's again from then on.
	Done func()
}
