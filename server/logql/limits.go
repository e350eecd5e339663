package logql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// LimitError means that a query reached a limit of Options. It wraps
// storage.ErrQueryLimit.
type LimitError struct {
	// What is the limit in words, Flag the option that raises it.
	What, Flag string
}

// Error names the limit and what raises it.
func (e *LimitError) Error() string {
	if e.Flag == "" {
		return e.What
	}
	return fmt.Sprintf("the query reached its limit of %s; narrow it down, or raise %s", e.What, e.Flag)
}

// Unwrap is storage.ErrQueryLimit.
func (e *LimitError) Unwrap() error { return storage.ErrQueryLimit }

// maxSteps is how many points a series may have, as in Prometheus and Loki.
const maxSteps = 11_000

var errSteps = &LimitError{What: fmt.Sprintf("exceeded maximum resolution of %d points per time series. Try increasing the value of the step parameter", maxSteps)}

// sampleBytes is what a sample takes that is held in memory.
const sampleBytes = 40

// budget counts what a query uses up of its limits.
type budget struct {
	opts    *Options
	series  int
	samples int
	stats   storage.LogStats
}

// addSeries counts a series and the bytes of its labels, which count as the
// samples that would have room there: values come out of lines and may be long.
func (b *budget) addSeries(bytes int) error {
	b.series++
	if b.series > b.opts.MaxSeries {
		return &LimitError{fmt.Sprintf("%d series", b.opts.MaxSeries), "--logs-query-max-series"}
	}
	return b.addSamples(bytes / sampleBytes)
}

// addSamples counts samples held in memory; a negative n gives some back.
func (b *budget) addSamples(n int) error {
	b.samples += n
	if b.samples > b.opts.MaxSamples {
		return &LimitError{fmt.Sprintf("%d samples in memory", b.opts.MaxSamples), "--logs-query-max-samples"}
	}
	return nil
}

// maxBytes is what the next query of the store may read.
func (b *budget) maxBytes() int64 {
	if b.opts.MaxBytes == 0 {
		return 0
	}
	return max(b.opts.MaxBytes-b.stats.Bytes, 1)
}

func (b *budget) addStats(s storage.LogStats) {
	b.stats.Lines += s.Lines
	b.stats.Bytes += s.Bytes
	b.stats.Blocks += s.Blocks
	b.stats.BlocksSkipped += s.BlocksSkipped
	b.stats.Dropped += s.Dropped
}

// explain names the limit behind an error of a store or of a context.
func (b *budget) explain(parent context.Context, err error) error {
	var limit *LimitError
	switch {
	case err == nil || errors.As(err, &limit):
		return err
	case errors.Is(err, storage.ErrQueryLimit):
		return &LimitError{fmt.Sprintf("%d bytes read", b.opts.MaxBytes), "--logs-query-max-bytes"}
	case errors.Is(err, context.DeadlineExceeded) && parent.Err() == nil:
		return &LimitError{fmt.Sprintf("%v of time", b.opts.Timeout.Round(time.Millisecond)), "--query-timeout"}
	}
	return err
}
