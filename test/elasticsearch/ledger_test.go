//go:build system

package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// ledger numbers every record that was to be stored.
type ledger struct {
	sources int
	records [][]storage.Record // by source
}

// newLedger makes the records of files written from the time start on.
func newLedger(sources, records int, start time.Time) *ledger {
	l := &ledger{sources: sources}
	for i := range sources {
		stream := &storage.Stream{Labels: labels.FromStrings(
			storage.LabelNamespace, "ledger", storage.LabelPod, fmt.Sprintf("pod-%d", i), storage.LabelContainer, "app", storage.LabelStream, "stdout",
		)}
		of := make([]storage.Record, records)
		for n := range of {
			line := fmt.Appendf(nil, "source %d line %d of the ledger, with some text to fill it", i, n)
			of[n] = storage.Record{
				Stream: stream, Time: start.UnixNano() + int64(n)*1000, Source: storage.SourceID{7, byte(i >> 8), byte(i)}, Offset: int64(n) * 90,
				Line: line, Size: int32(len(line)), Level: storage.LevelInfo,
			}
		}
		l.records = append(l.records, of)
	}
	return l
}

// outcomes counts what the sink said.
type outcomes struct {
	partial, tooLarge, failed atomic.Int64
}

// deliver writes records until they are stored, as a shipper does.
func deliver(ctx context.Context, sink storage.LogSink, batch []storage.Record, seen *outcomes) error {
	for len(batch) > 0 {
		err := sink.Write(ctx, batch)
		var partial *storage.PartialError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("not stored in time: %w", err)
		case errors.As(err, &partial):
			seen.partial.Add(1)
			if len(partial.Refused) > 0 {
				return err
			}
			again := make([]storage.Record, 0, len(partial.Retry))
			for _, i := range partial.Retry {
				again = append(again, batch[i])
			}
			batch = again
		case errors.Is(err, storage.ErrTooLarge) && len(batch) > 1:
			seen.tooLarge.Add(1)
			half := len(batch) / 2
			if err := deliver(ctx, sink, batch[:half], seen); err != nil {
				return err
			}
			batch = batch[half:]
			continue
		default:
			seen.failed.Add(1)
		}
		time.Sleep(20 * time.Millisecond) // back-off, not for the test's sake
	}
	return nil
}

// deliverAll delivers every source by a goroutine of its own.
func (l *ledger) deliverAll(t *testing.T, sink storage.LogSink, batch int, each func()) *outcomes {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var seen outcomes
	errs := make([]error, l.sources)
	var wg sync.WaitGroup
	for i, records := range l.records {
		wg.Go(func() {
			for len(records) > 0 && errs[i] == nil {
				n := min(batch, len(records))
				errs[i] = deliver(ctx, sink, records[:n], &seen)
				records = records[n:]
				if each != nil {
					each()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	return &seen
}

// requireExact checks that every record is stored and none twice, in all
// indices.
func (l *ledger) requireExact(t *testing.T, store storage.LogStore) {
	t.Helper()
	it, err := store.Select(t.Context(), storage.LogQuery{End: math.MaxInt64, NoLine: true})
	require.NoError(t, err)
	stored, err := storagetest.AllRecords(it)
	require.NoError(t, err)
	times := make(map[storage.RecordID]int, len(stored))
	for _, r := range stored {
		times[r.ID()]++
	}
	lost, twice, total := 0, 0, 0
	for _, of := range l.records {
		for _, r := range of {
			total++
			switch n := times[r.ID()]; {
			case n == 0:
				lost++
			case n > 1:
				twice++
			}
		}
	}
	require.Zero(t, lost, "lost, of %d", total)
	require.Zero(t, twice, "stored twice, of %d", total)
	require.Len(t, times, total, "stored")
}
