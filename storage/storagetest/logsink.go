package storagetest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// LogSinkSuite says how to open the sink under test and how to find out what
// it stored.
type LogSinkSuite struct {
	// Open returns an empty sink. It registers its own clean-up with t.
	Open func(t *testing.T) storage.LogSink
	// Read returns every record stored through s, in any order.
	Read func(t *testing.T, s storage.LogSink) []storage.Record
	// Throttle, where the suite can bring it about, makes what is behind the
	// sink turn away the next n records once: later ones, and the same ones
	// sent again, are taken.
	Throttle func(t *testing.T, s storage.LogSink, n int)
}

// LogSink checks that a sink keeps the contract of storage.LogSink.
func LogSink(t *testing.T, suite LogSinkSuite) {
	t.Run("stores every record", suite.storesRecords)
	t.Run("empty batch", suite.emptyLogBatch)
	t.Run("batch sent again", suite.sentAgain)
	t.Run("batches that overlap", suite.overlapping)
	t.Run("record twice in a batch", suite.twiceInABatch)
	t.Run("same offset in other sources", suite.otherSources)
	t.Run("does not keep the batch", suite.recordsReused)
	t.Run("canceled context", suite.logCanceled)
	t.Run("concurrent sources", suite.concurrentSources)
	if suite.Throttle != nil { // something behind the sink turns records away
		t.Run("partial failure", suite.partialFailure)
	}
}

// logStart is a time in whole milliseconds that every store accepts.
func logStart() int64 { return time.Now().Add(-time.Hour).Truncate(time.Second).UnixNano() }

// logStream makes the stream of a container.
func logStream(namespace, pod, container, stream string) *storage.Stream {
	return &storage.Stream{Labels: labels.FromStrings(
		storage.LabelCluster, "test", storage.LabelNode, "node-1", storage.LabelNamespace, namespace, storage.LabelPod, pod,
		storage.LabelUID, "uid-"+pod, storage.LabelContainer, container, storage.LabelRestart, "0", storage.LabelStream, stream,
	)}
}

// logSource makes a source.
func logSource(n byte) storage.SourceID { return storage.SourceID{1, 2, 3, 15: n} }

// numbered makes n records of a source, a millisecond apart from start.
func numbered(stream *storage.Stream, source storage.SourceID, start int64, n int) []storage.Record {
	out := make([]storage.Record, n)
	for i := range out {
		line := fmt.Appendf(nil, "source %x line %d", source[15], i)
		out[i] = storage.Record{
			Stream: stream, Time: start + int64(i)*int64(time.Millisecond), Source: source, Offset: int64(i) * 40,
			Line: line, Size: int32(len(line)), Level: storage.LevelInfo,
		}
	}
	return out
}

// renderRecord shows everything that a store must give back.
func renderRecord(r storage.Record) string {
	line := fmt.Sprintf("%q", r.Line[:min(len(r.Line), 200)])
	if len(r.Line) > 200 {
		line += fmt.Sprintf("… %d bytes, checksum %08x", len(r.Line), crc32.ChecksumIEEE(r.Line))
	}
	return fmt.Sprintf("%d %s size=%d level=%s flags=%#x %s %s %s",
		r.Time, r.ID(), r.Size, r.Level, r.Flags, r.Stream.Labels, r.Metadata, line)
}

// renderRecords is renderRecord of each, sorted.
func renderRecords(records []storage.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = renderRecord(r)
	}
	slices.Sort(out)
	return out
}

// requireStored checks that exactly these records are stored, each once.
func (suite LogSinkSuite) requireStored(t *testing.T, s storage.LogSink, want []storage.Record) {
	t.Helper()
	require.Equal(t, renderRecords(want), renderRecords(suite.Read(t, s)))
}

func (suite LogSinkSuite) storesRecords(t *testing.T) {
	s, all := suite.Open(t), mixedRecords(logStart())
	for batch := range slices.Chunk(all, 37) {
		require.NoError(t, s.Write(t.Context(), batch))
	}
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) emptyLogBatch(t *testing.T) {
	s := suite.Open(t)
	require.NoError(t, s.Write(t.Context(), nil))
	suite.requireStored(t, s, nil)
}

func (suite LogSinkSuite) sentAgain(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 50)
	for range 3 {
		require.NoError(t, s.Write(t.Context(), all))
	}
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) overlapping(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 60)
	require.NoError(t, s.Write(t.Context(), all[:40]))
	require.NoError(t, s.Write(t.Context(), all[20:]))
	require.NoError(t, s.Write(t.Context(), all[:10]))
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) twiceInABatch(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 4)
	require.NoError(t, s.Write(t.Context(), []storage.Record{all[0], all[0], all[1], all[2], all[2], all[3]}))
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) otherSources(t *testing.T) {
	s := suite.Open(t)
	var all []storage.Record
	for i := range byte(3) {
		all = append(all, numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(i), logStart(), 10)...)
	}
	require.NoError(t, s.Write(t.Context(), all))
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) recordsReused(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 30)
	reused := make([]storage.Record, 10)
	for batch := range slices.Chunk(all, len(reused)) {
		for i, r := range batch {
			r.Line = slices.Clone(r.Line)
			reused[i] = r
		}
		require.NoError(t, s.Write(t.Context(), reused))
		for i := range reused {
			for j := range reused[i].Line {
				reused[i].Line[j] = '!'
			}
		}
		clear(reused)
	}
	suite.requireStored(t, s, all)
}

// logCanceled allows both outcomes: an error, after which the batch is sent
// again, or nil and all of it stored.
func (suite LogSinkSuite) logCanceled(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, all); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, s.Write(t.Context(), all))
	suite.requireStored(t, s, all)
}

func (suite LogSinkSuite) concurrentSources(t *testing.T) {
	s := suite.Open(t)
	const workers = 6
	var all []storage.Record
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		stream := logStream("shop", fmt.Sprintf("cart-%d", i/2), "app", "stdout")
		own := numbered(stream, logSource(byte(i)), logStart(), 200)
		all = append(all, own...)
		wg.Go(func() {
			for batch := range slices.Chunk(own, 50) {
				errs[i] = errors.Join(errs[i], s.Write(t.Context(), batch), s.Write(t.Context(), batch))
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	suite.requireStored(t, s, all)
}

// partialFailure sends what is worth it again, as the contract says, until
// everything is stored.
func (suite LogSinkSuite) partialFailure(t *testing.T) {
	s := suite.Open(t)
	all := numbered(logStream("shop", "cart-1", "app", "stdout"), logSource(1), logStart(), 30)
	suite.Throttle(t, s, 7)
	left := all
	for range 10 {
		err := s.Write(t.Context(), left)
		if partial, ok := errors.AsType[*storage.PartialError](err); ok {
			require.Error(t, partial.First)
			require.Empty(t, partial.Refused)
			require.True(t, slices.IsSorted(partial.Retry), "indexes ascend: %v", partial.Retry)
			again := make([]storage.Record, 0, len(partial.Retry))
			for _, i := range partial.Retry {
				again = append(again, left[i])
			}
			left = again
			continue
		}
		if err == nil {
			suite.requireStored(t, s, all)
			return
		}
	}
	t.Fatal("still turned away after ten attempts")
}
