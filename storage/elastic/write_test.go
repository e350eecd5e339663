package elastic

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

const someFail = `{"errors":true,"items":[
	{"create":{"status":201}},
	{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}},
	{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"there"}}},
	{"create":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"no primary"}}},
	{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"no date"}}}]}`

func TestWriteDecidesPerItem(t *testing.T) {
	f := newFake(t)
	f.on("POST /logs/_bulk", 200, someFail)
	f.on("POST /dead-letters-logs/_bulk", 200, `{"errors":false}`)
	s := f.open(t, nil)
	err := s.Write(t.Context(), fresh(5))
	partial, ok := errors.AsType[*storage.PartialError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []int{1, 3}, partial.Retry)
	require.Empty(t, partial.Refused)
	require.ErrorContains(t, partial.First, "full")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.stored), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.repeated), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.deadLetters.WithLabelValues(reasonMapping)), 0)
	require.Len(t, f.sent("POST /dead-letters-logs/_bulk"), 1)
}

func TestDeadLetterThatFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		answer  string
		retry   []int
		refused map[string]int
	}{
		{"refused", 200, `{"errors":true,"items":[{"create":{"status":400,"error":{"type":"x","reason":"y"}}}]}`, []int{1, 3}, map[string]int{"mapping": 1}},
		{"overload", 429, `{}`, []int{1, 3, 4}, nil},
		{"not there", 404, `{}`, []int{1, 3, 4}, nil},
		{"stored before", 200, `{"errors":true,"items":[{"create":{"status":409}}]}`, []int{1, 3}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.on("POST /logs/_bulk", 200, someFail)
			f.on("POST /dead-letters-logs/_bulk", c.status, c.answer)
			err := f.open(t, nil).Write(t.Context(), fresh(5))
			partial, ok := errors.AsType[*storage.PartialError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.retry, partial.Retry)
			require.Equal(t, c.refused, partial.Refused)
		})
	}
}

func TestWriteWholeRequest(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter time.Duration // of a PartialError
		is         error
		text       string
		certain    bool
	}{
		{status: 429, retryAfter: 7 * time.Second, certain: true},
		{status: 503, retryAfter: 7 * time.Second},
		{status: 502, retryAfter: 7 * time.Second},
		{status: 413, is: storage.ErrTooLarge, certain: true},
		{status: 401, text: "status 401", certain: true},
		{status: 404, text: "status 404"},
	} {
		t.Run(http.StatusText(c.status), func(t *testing.T) {
			f := newFake(t)
			f.do("POST /logs/_bulk", func(w http.ResponseWriter, _ string) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(c.status)
			})
			f.on("POST /logs/_search", 200, `{"hits":{"hits":[]}}`)
			s := f.open(t, nil)
			batch := fresh(3)
			err := s.Write(t.Context(), batch)
			require.Error(t, err)
			if partial, ok := errors.AsType[*storage.PartialError](err); ok {
				require.Equal(t, []int{0, 1, 2}, partial.Retry)
				require.Equal(t, c.retryAfter, partial.RetryAfter)
			} else {
				require.Zero(t, c.retryAfter)
			}
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.ErrorContains(t, err, c.text)

			// What is certainly not stored is not searched for.
			f.on("POST /logs/_bulk", 200, `{"errors":false}`)
			require.NoError(t, s.Write(t.Context(), batch))
			require.Equal(t, c.certain, len(f.sent("POST /logs/_search")) == 0)
		})
	}
}

// A document that alone is too large is a dead letter: no split helps.
func TestOneTooLarge(t *testing.T) {
	f := newFake(t)
	f.on("POST /logs/_bulk", 413, "")
	f.on("POST /dead-letters-logs/_bulk", 200, `{"errors":false}`)
	batch := fresh(1)
	batch[0].Line = []byte(strings.Repeat("é", 1<<20))
	require.NoError(t, f.open(t, nil).Write(t.Context(), batch))
	sent := f.sent("POST /dead-letters-logs/_bulk")
	require.Len(t, sent, 1)
	require.Less(t, len(sent[0]), 2*maxLetter, "a bounded document")
}

func TestUncertainOutcomeIsLookedUp(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(w http.ResponseWriter, _ string)
	}{
		{"cut", func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }},
		{"cut answer", func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(200)
			panic(http.ErrAbortHandler)
		}},
		{"no answer to the items", func(w http.ResponseWriter, _ string) { _, _ = w.Write([]byte(`{"took":1}`)) }},
		{"too few items", func(w http.ResponseWriter, _ string) {
			_, _ = w.Write([]byte(`{"errors":true,"items":[{"create":{"status":201}}]}`))
		}},
		{"gateway", func(w http.ResponseWriter, _ string) { w.WriteHeader(504) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.do("POST /logs/_bulk", c.fail)
			batch := fresh(3)
			s := f.open(t, nil)
			require.Error(t, s.Write(t.Context(), batch))
			require.Empty(t, f.sent("POST /logs/_search"))

			f.on("POST /logs/_search", 200, `{"hits":{"hits":[{"_id":"`+documentID(&batch[1])+`"}]}}`)
			f.on("POST /logs/_bulk", 200, `{"errors":false}`)
			require.NoError(t, s.Write(t.Context(), batch))
			require.Len(t, f.sent("POST /logs/_search"), 1)
			require.Len(t, f.sent("POST /logs/_refresh"), 1)
			sent := f.sent("POST /logs/_bulk")
			require.Len(t, sent, 2)
			require.Contains(t, sent[1], documentID(&batch[0]))
			require.NotContains(t, sent[1], documentID(&batch[1]), "it is stored")
			require.Contains(t, sent[1], documentID(&batch[2]))
		})
	}
}

// A request of before may still be under way: it is waited for.
func TestLookUpWaitsForBulkTasks(t *testing.T) {
	f := newFake(t)
	polls := 0
	f.do("GET /_tasks", func(w http.ResponseWriter, _ string) {
		if polls++; polls < 4 {
			_, _ = w.Write([]byte(`{"tasks":[{"node":"a","id":17}]}`))
			return
		}
		_, _ = w.Write([]byte(`{"tasks":[{"node":"a","id":18}]}`))
	})
	f.on("POST /logs/_bulk", 200, `{"errors":false}`)
	f.on("POST /logs/_search", 200, `{"hits":{"hits":[]}}`)
	s := f.open(t, nil)
	old := recordsAt(time.Now().Add(-time.Hour), 2)
	old[0].Source, old[1].Source = storage.SourceID{}, storage.SourceID{}
	require.NoError(t, s.Write(t.Context(), old))
	require.Equal(t, 4, polls, "others' later requests are not waited for")
}

func TestWriteHangs(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	f.do("POST /logs/_bulk", func(http.ResponseWriter, string) { <-release })
	defer close(release)
	s := f.open(t, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	s.state.Store(&state{caps: capabilities{DataStreams: true}})
	require.ErrorIs(t, s.Write(t.Context(), fresh(2)), context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	batch := fresh(1)
	batch[0].Source = storage.SourceID{5}
	require.ErrorIs(t, s.Write(ctx, batch), context.Canceled)
}

func TestClosed(t *testing.T) {
	s := newFake(t).open(t, nil)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Write(t.Context(), fresh(1)), storage.ErrClosed)
	_, err := s.Select(t.Context(), storage.LogQuery{End: 1})
	require.ErrorIs(t, err, storage.ErrClosed)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newFake(t).open(t, func(o *Options) { o.Registerer = reg })
	s.metrics.show(capabilities{DataStreams: true, Lifecycle: lifecycleILM})
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
	_, err = New(Options{URLs: []string{"http://127.0.0.1:1"}, Registerer: reg})
	require.ErrorContains(t, err, "register metrics")
	require.NoError(t, s.Close())
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}
