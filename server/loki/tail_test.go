package loki

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// tailMessage is what a tail sends.
type tailMessage struct {
	EncodingFlags []string
	Streams       []struct {
		Stream map[string]string
		Values [][]json.RawMessage
	}
	Dropped []struct {
		Labels    map[string]string
		Timestamp string
	} `json:"dropped_entries"`
}

func (m tailMessage) lines(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, s := range m.Streams {
		for _, v := range s.Values {
			var line string
			require.NoError(t, json.Unmarshal(v[1], &line))
			out = append(out, line)
		}
	}
	return out
}

// tailServer serves f in contexts that end by stop, as a server's do.
func tailServer(t *testing.T, f *fixture) (srv *httptest.Server, stop context.CancelCauseFunc) {
	t.Helper()
	ctx, stop := context.WithCancelCause(context.Background())
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
		f.ServeHTTP(w, r.WithContext(request))
	}))
	t.Cleanup(func() {
		stop(errors.New("the test ends"))
		srv.Close()
	})
	return srv, stop
}

func tailPath(query string, more ...string) string {
	return Prefix + "/tail?" + strings.Join(append([]string{"query=" + url.QueryEscape(query)}, more...), "&")
}

func dial(t *testing.T, srv *httptest.Server, path string, header http.Header) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.Dial(context.Background(), srv.URL+path, &websocket.DialOptions{HTTPHeader: header})
	require.NoError(t, err)
	if res.Body != nil {
		t.Cleanup(func() { res.Body.Close() })
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func read(t *testing.T, conn *websocket.Conn) tailMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, data, err := conn.Read(ctx)
	require.NoError(t, err)
	var m tailMessage
	require.NoError(t, json.Unmarshal(data, &m), string(data))
	return m
}

// writeConcurrently stores n numbered records in small batches, from several
// goroutines, each of which has a stream of its own.
func (f *fixture) writeConcurrently(t *testing.T, writers, n int) (wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range writers {
		s := &storage.Stream{Labels: labels.FromStrings("app", "x", "writer", fmt.Sprint(w))}
		wg.Go(func() {
			for i := range n {
				err := f.store.Write(context.Background(), []storage.Record{{
					Stream: s, Time: epoch.Add(time.Duration(i) * time.Microsecond).UnixNano(),
					Source: storage.SourceID{byte(w + 1)}, Offset: int64(i), Line: fmt.Appendf(nil, "%d/%d", w, i),
				}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	return wg.Wait
}

// TestTailHasNoGapAndNoRepeat connects while records are being written: every
// one must come exactly once, those of a writer in their order.
func TestTailHasNoGapAndNoRepeat(t *testing.T) {
	t.Parallel()
	const writers, n = 4, 2000
	for _, form := range []string{"socket", "lines"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(o *Options) { o.MaxEntries = writers * n })
			srv, _ := tailServer(t, f)
			wait := f.writeConcurrently(t, writers, n)
			defer wait()
			next := make([]int, writers)
			for total := 0; total < writers*n; {
				var lines []string
				if form == "socket" {
					conn := dial(t, srv, tailPath("{}", fmt.Sprint("limit=", writers*n), "start=1"), nil)
					for total+len(lines) < writers*n {
						lines = append(lines, read(t, conn).lines(t)...)
					}
				} else {
					lines = followLines(t, srv, tailPath("{}", "limit=0", "start=1"), writers*n)
				}
				for _, line := range lines {
					var w, i int
					_, err := fmt.Sscanf(line, "%d/%d", &w, &i)
					require.NoError(t, err)
					require.Equal(t, next[w], i, "writer %d", w)
					next[w]++
					total++
				}
			}
		})
	}
}

// followLines reads n entries of a tail over plain HTTP.
func followLines(t *testing.T, srv *httptest.Server, path string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", linesType)
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	var lines []string
	scanner := bufio.NewScanner(res.Body)
	for len(lines) < n && scanner.Scan() {
		var e struct{ Line *string }
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &e), scanner.Text())
		if e.Line != nil {
			lines = append(lines, *e.Line)
		}
	}
	return lines
}

func TestTailBackfillsTheLastEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.write(t, 20, numbered)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}", "limit=3", "start=1"), nil)
	var lines []string
	for len(lines) < 3 {
		lines = append(lines, read(t, conn).lines(t)...)
	}
	require.Equal(t, []string{"line 17", "line 18", "line 19"}, lines)
	f.write(t, 1, func(int) string { return "new" })
	require.Equal(t, []string{"new"}, read(t, conn).lines(t))
}

func TestTailCategorizesLabels(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath(`{pod="cart-1"} | logfmt`, "start=1"), http.Header{encodingHeader: {categorizeLabels}})
	m := read(t, conn)
	require.Equal(t, []string{categorizeLabels}, m.EncodingFlags)
	require.Len(t, m.Streams, 1)
	require.NotContains(t, m.Streams[0].Stream, "level")
	require.JSONEq(t, `{"structuredMetadata":{"level":"error"},"parsed":{"msg":"payment refused","status":"500","took":"1.5s"}}`, string(m.Streams[0].Values[0][2]))
}

func TestTailDelaySortsByTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}", "delay_for=2"), nil)
	s := &storage.Stream{Labels: labels.FromStrings("app", "x")}
	awaitTails(t, f, 1)
	for _, at := range []int{3, 1, 2} {
		require.NoError(t, f.store.Write(context.Background(), []storage.Record{{Stream: s, Time: epoch.UnixNano() + int64(at), Line: []byte(fmt.Sprint(at))}}))
	}
	require.Equal(t, []string{"1", "2", "3"}, read(t, conn).lines(t))
}

// awaitTails waits until so many tails are under way.
func awaitTails(t *testing.T, f *fixture, n float64) {
	t.Helper()
	require.Eventually(t, func() bool { return f.metric(t, "binnacle_log_tails") == n }, time.Minute, time.Millisecond)
}

func TestTailReportsDroppedEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	var dropped atomic.Int64
	f.fake.dropped = dropped.Load
	f.write(t, 1, numbered)
	srv, _ := tailServer(t, f)
	conn := dial(t, srv, tailPath("{}", "start=1"), nil)
	require.Empty(t, read(t, conn).Dropped)
	for _, n := range []int64{7, 12} {
		dropped.Store(n)
		f.write(t, 1, numbered)
		for {
			m := read(t, conn)
			if len(m.Dropped) == 0 {
				continue // the entry itself
			}
			require.Equal(t, map[string]string{"dropped": map[int64]string{7: "7", 12: "5"}[n]}, m.Dropped[0].Labels)
			break
		}
		require.InDelta(t, n, f.metric(t, "binnacle_log_tail_dropped_entries_total"), 0)
	}
}

func TestTailLinesReportDroppedEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	var dropped atomic.Int64
	f.fake.dropped = dropped.Load
	f.write(t, 1, numbered)
	srv, stop := tailServer(t, f)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL+tailPath("{}", "start=1"), nil)
	require.NoError(t, err)
	req.Header.Set("Accept", linesType)
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	scanner := bufio.NewScanner(res.Body)
	until := func(text string) string {
		for scanner.Scan() {
			if strings.Contains(scanner.Text(), text) {
				return scanner.Text()
			}
		}
		require.Fail(t, "the answer ends", "before %q", text)
		return ""
	}
	until(`"line":"line 0"`)
	dropped.Store(7)
	f.write(t, 1, func(int) string { return "next" })
	until(`"line":"next"`)
	require.Equal(t, `{"progress":{"entries":2,"dropped":7}}`, until(`"progress"`))
	require.InDelta(t, 7, f.metric(t, "binnacle_log_tail_dropped_entries_total"), 0)
	stop(errors.New("the server is stopping"))
	end := until(`"end"`)
	require.Contains(t, end, `{"end":{"entries":2,`)
	require.Contains(t, end, `"warnings":["the server is stopping"],"error":""`)
	require.False(t, scanner.Scan())
}

func TestTailRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxTails = 1 })
	for path, want := range map[string]string{
		tailPath("vector(1)"):             "a log query is needed",
		tailPath("{a=}"):                  "parse error at line 1",
		tailPath("{}", "limit=9999"):      "max_entries_limit_per_query",
		tailPath("{}", "delay_for=6"):     "delay_for can't be greater than 5",
		tailPath("{}", "start=yesterday"): "invalid start",
		Prefix + "/tail":                  "parameter query is needed",
	} {
		rec := f.do(http.MethodGet, path, "")
		require.Equal(t, http.StatusBadRequest, rec.Code, path)
		require.Contains(t, rec.Body.String(), want)
	}
	require.Equal(t, http.StatusUpgradeRequired, f.do(http.MethodGet, tailPath("{}"), "").Code)
	srv, _ := tailServer(t, f)
	dial(t, srv, tailPath("{}"), nil)
	awaitTails(t, f, 1)
	rec := f.do(http.MethodGet, tailPath("{}"), "")
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.Contains(t, rec.Body.String(), "max concurrent tail requests limit exceeded (1)")
}

func TestTailRefusesPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	srv, _ := tailServer(t, f)
	_, res, err := websocket.Dial(context.Background(), srv.URL+tailPath("{}"), &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	require.Error(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusForbidden, res.StatusCode)
}

// TestTailBatchIsBounded holds the client up: the batch must not grow, but hold
// up the store.
func TestTailBatchIsBounded(t *testing.T) {
	t.Parallel()
	var sent [][]byte
	b := newTailBatch(tailQuery{delay: maxDelay}, func(message []byte) error {
		sent = append(sent, message)
		return nil
	}, newMetrics(prometheus.NewRegistry()).dropped)
	defer b.close()
	e := benchmarkEntry()
	for range 10 * maxTailEntries {
		require.NoError(t, b.add(e))
		require.LessOrEqual(t, len(b.entries), maxTailEntries)
	}
	require.GreaterOrEqual(t, len(sent), 10)
	e.Line = []byte(strings.Repeat("x", 3*maxTailBytes))
	require.NoError(t, b.add(e))
	require.Empty(t, b.entries)
	require.Zero(t, cap(b.arena), "the room for a very long line is given back")
}
