package logqltest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// tailStored records are there before the tail begins, tailLive come then.
	tailStored, tailLive = 60, 60
	// tailStart is the time of the first of them.
	tailStart = 50 * time.Minute
	// tailDeadline is for stores that are asked again and again.
	tailDeadline = 30 * time.Second
)

// tail follows a pipeline that leaves out records: the last entries that are
// left, then what is written, none missing and none twice.
func (s suite) tail(t *testing.T) {
	require.NoError(t, s.store.Write(t.Context(), s.tailRecords(0, tailStored)))
	ctx, cancel := context.WithTimeout(t.Context(), tailDeadline)
	defer cancel()
	q := logql.Query{Text: `{namespace="tail"} | logfmt | rest = 1 | line_format "{{.n}}"`, Start: s.base.UnixNano(), Limit: 3}
	want := []string{"51", "55", "59"}
	for n := tailStored; n < tailStored+tailLive; n++ {
		if n%4 == 3 {
			want = append(want, fmt.Sprint(n))
		}
	}
	var got []string
	var writer sync.WaitGroup
	err := s.engine.Tail(ctx, q, func(e *logql.Entry) error {
		got = append(got, string(e.Line))
		if len(got) == q.Limit {
			writer.Go(func() { s.writeLive(t) })
		}
		return nil
	}, func(int64) error {
		if len(got) >= len(want) {
			cancel()
		}
		return nil
	})
	writer.Wait()
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// writeLive writes records one by one and some at once.
func (s suite) writeLive(t *testing.T) {
	for n := tailStored; n < tailStored+tailLive; {
		size := 1 + n%3
		if err := s.store.Write(context.WithoutCancel(t.Context()), s.tailRecords(n, min(size, tailStored+tailLive-n))); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		n += size
	}
}

func (s suite) tailRecords(first, n int) []storage.Record {
	stream := &storage.Stream{Labels: labels.FromStrings(storage.LabelNamespace, "tail", storage.LabelPod, "t-0")}
	start := s.base.Add(tailStart)
	records := make([]storage.Record, n)
	for i := range records {
		records[i] = storage.Record{
			Stream: stream, Time: start.Add(time.Duration(first+i) * time.Millisecond).UnixNano(), Source: storage.SourceID{13},
			Offset: int64(first + i), Line: fmt.Appendf(nil, "n=%d rest=%d", first+i, (first+i)%4/3),
		}
	}
	return records
}
