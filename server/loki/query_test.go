package loki

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// rangePath is query_range with a query and further parameters.
func rangePath(query string, more ...string) string {
	return Prefix + "/query_range?" + strings.Join(append([]string{"query=" + url.QueryEscape(query)}, more...), "&")
}

// write stores n records of one stream, a millisecond apart.
func (f *fixture) write(t testing.TB, n int, line func(i int) string) {
	t.Helper()
	s := &storage.Stream{Labels: labels.FromStrings("app", "x")}
	batch := make([]storage.Record, n)
	for i := range batch {
		batch[i] = storage.Record{Stream: s, Time: epoch.Add(time.Duration(i) * time.Millisecond).UnixNano(), Line: []byte(line(i))}
	}
	require.NoError(t, f.store.Write(context.Background(), batch))
}

func numbered(i int) string { return fmt.Sprintf("line %d", i) }

// document is an answer in JSON.
type document struct {
	Warnings []string
	Data     struct {
		ResultType string
		Result     []struct {
			Stream map[string]string
			Values [][]string
		}
	}
}

func decode(t testing.TB, rec *httptest.ResponseRecorder) document {
	t.Helper()
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	var d document
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &d))
	return d
}

func TestLimitsAreSaid(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxResultBytes = 20_000 })
	f.write(t, 200, numbered)

	rec := f.do(http.MethodGet, rangePath("{}"), "")
	d := decode(t, rec)
	require.Len(t, d.Data.Result[0].Values, 100, "Loki's default limit")
	require.Equal(t, "line 199", d.Data.Result[0].Values[0][1])
	require.Equal(t, []string{"there are more than 100 entries; these are the first ones in the order asked for"}, d.Warnings)
	require.Equal(t, cutLimit, rec.Header().Get(incompleteHeader))

	rec = f.do(http.MethodGet, rangePath("{}", "limit=200"), "")
	require.Empty(t, decode(t, rec).Warnings)
	require.Empty(t, rec.Header().Get(incompleteHeader), "200 is all that there is")

	f.write(t, 1000, func(int) string { return strings.Repeat("x", 100) })
	rec = f.do(http.MethodGet, rangePath("{} |= `xx`", "limit=1000"), "")
	d = decode(t, rec)
	require.Len(t, d.Warnings, 1)
	require.Contains(t, d.Warnings[0], "the result is larger than 20000 bytes")
	require.Equal(t, cutBytes, rec.Header().Get(incompleteHeader))
	require.LessOrEqual(t, rec.Body.Len(), 21_000)
	require.Greater(t, rec.Body.Len(), 19_000)

	f.fake.fail, f.fake.failAfter = fmt.Errorf("%w: 5 GB were read", storage.ErrQueryLimit), 3
	rec = f.do(http.MethodGet, rangePath("{}"), "")
	d = decode(t, rec)
	require.Len(t, d.Data.Result[0].Values, 3, "what came before is right")
	require.Equal(t, []string{"query reached a limit: 5 GB were read; what was found before is right, but not all"}, d.Warnings)
	require.Equal(t, cutEngine, rec.Header().Get(incompleteHeader))
	for _, reason := range []string{cutLimit, cutBytes, cutEngine} {
		require.InDelta(t, 1, f.metric(t, "binnacle_log_queries_cut_total", reason), 0, reason)
	}
}

func TestErrorsOfQueries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, query string
		err         error
		code        int
		text        string
	}{
		{"syntax", "{app=}", nil, 400, "parse error at line 1, col 6:"},
		{"engine's syntax", "{}", &logql.ParseError{Line: 1, Column: 3, Msg: "no"}, 400, "parse error at line 1, col 3: no"},
		{"limit", "vector(1)", fmt.Errorf("%w: 501 series", storage.ErrQueryLimit), 422, "query reached a limit: 501 series"},
		{"closed", "{}", storage.ErrClosed, 503, "store is closed"},
		{"fault", "{}", errors.New("disk on fire"), 500, "disk on fire"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			f.fill(t)
			f.fake.fail = tc.err
			f.fake.metric = func(context.Context, logql.Query) (parser.Value, error) { return nil, tc.err }
			rec := f.do(http.MethodGet, rangePath(tc.query), "")
			require.Equal(t, tc.code, rec.Code)
			require.Contains(t, rec.Body.String(), tc.text)
			require.True(t, strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain"))
			require.InDelta(t, 1, f.metric(t, "binnacle_http_requests_total", fmt.Sprint(tc.code), Prefix+"/query_range"), 0)
		})
	}
}

func TestQueriesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context, _ logql.Query) (parser.Value, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f := newFixture(t, func(o *Options) { o.QueryTimeout = time.Millisecond })
	f.fake.metric = wait
	rec := f.do(http.MethodGet, rangePath("vector(1)"), "")
	require.Equal(t, http.StatusGatewayTimeout, rec.Code)
	require.Contains(t, rec.Body.String(), "the query took longer than 1ms")

	f = newFixture(t, nil)
	f.fake.metric = wait
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the server is stopping"))
	rec = httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, Prefix+"/query?query=vector(1)", nil))
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Contains(t, rec.Body.String(), "the server is stopping")
	require.Equal(t, retryAfter, rec.Header().Get("Retry-After"))
}

func TestResultTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxResultBytes = 1000 })
	f.fake.metric = func(context.Context, logql.Query) (parser.Value, error) { return promql.Scalar{T: 1500, V: 2}, nil }
	require.Contains(t, f.do(http.MethodGet, Prefix+"/query?query=2", "").Body.String(), `"resultType":"scalar","result":[1.5,"2"]`)
	f.fake.metric = func(context.Context, logql.Query) (parser.Value, error) { return promql.String{}, nil }
	require.Equal(t, http.StatusInternalServerError, f.do(http.MethodGet, Prefix+"/query?query=2", "").Code)
	f.fake.metric = func(context.Context, logql.Query) (parser.Value, error) {
		return promql.Matrix{{Floats: make([]promql.FPoint, 1000)}}, nil
	}
	rec := f.do(http.MethodGet, rangePath("vector(1)"), "")
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "larger than 1000")
}

func TestBusyIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.QueryConcurrency = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan struct{}, 1)
	f.fake.metric = func(ctx context.Context, _ logql.Query) (parser.Value, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	done := make(chan struct{})
	const requests = 12 // one works, ten wait
	for range requests {
		go func() {
			defer func() { done <- struct{}{} }()
			rec := httptest.NewRecorder()
			f.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, Prefix+"/query?query=vector(1)", nil))
			if rec.Code == http.StatusTooManyRequests && rec.Header().Get("Retry-After") != "" {
				cancel() // the one that found no place frees the others
			}
		}()
	}
	<-started
	for range requests {
		<-done
	}
	require.InDelta(t, 1, f.metric(t, "binnacle_http_rejected_total", "busy"), 0)
}

func TestAnswersArePacked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.write(t, 100, numbered)
	for accept, packed := range map[string]bool{"": false, "gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "deflate": false, "gzip; q=0.0": false} {
		for _, form := range []string{"application/json", linesType} {
			rec := f.do(http.MethodGet, rangePath("{}"), "", "Accept-Encoding: "+accept, "Accept: "+form)
			body := io.Reader(rec.Body)
			require.Equal(t, packed, rec.Header().Get("Content-Encoding") == "gzip", accept)
			if packed {
				z, err := gzip.NewReader(rec.Body)
				require.NoError(t, err)
				body = z
			}
			text, err := io.ReadAll(body)
			require.NoError(t, err)
			require.Contains(t, string(text), "line 42")
		}
	}
	rec := f.do(http.MethodGet, Prefix+"/labels", "", "Accept-Encoding: gzip")
	require.Empty(t, rec.Header().Get("Content-Encoding"), "too small to be worth it")
}

func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxResultBytes = 50 })
	f.fill(t)
	rec := f.do(http.MethodGet, Prefix+"/series", "")
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "narrow the selector")
}

func TestTimeCutsEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.QueryTimeout, o.ExportTimeout = time.Millisecond, time.Millisecond })
	f.opts.Evaluator = &stuckEvaluator{f.fake}
	rec := f.do(http.MethodGet, rangePath("{}"), "")
	d := decode(t, rec)
	require.Equal(t, "first", d.Data.Result[0].Values[0][1])
	require.Equal(t, cutTime, rec.Header().Get(incompleteHeader))
	require.Len(t, d.Warnings, 1)
	require.Contains(t, d.Warnings[0], "the query took longer than 1ms")
	entries, end := linesOf(t, f.do(http.MethodGet, rangePath("{}"), "", linesHeader).Body)
	require.Len(t, entries, 1)
	require.Empty(t, end["error"])
	require.Len(t, end["warnings"], 1)
}

// stuckEvaluator emits one entry and waits for the end of its time.
type stuckEvaluator struct{ Evaluator }

func (s *stuckEvaluator) Logs(ctx context.Context, _ logql.Query, emit func(*logql.Entry) error) (logql.Stats, error) {
	if err := emit(&logql.Entry{Line: []byte("first")}); err != nil {
		return logql.Stats{}, err
	}
	<-ctx.Done()
	return logql.Stats{}, ctx.Err()
}

func TestPatternsSayWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	// More forms than a miner keeps: each has its own number of words.
	f.write(t, patternLines+1, func(i int) string { return strings.Repeat("a ", i%80) + string(rune('a'+i/80%26)) + "x y" })
	rec := f.do(http.MethodGet, Prefix+"/patterns?query=%7B%7D&start=1", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var d struct {
		Warnings []string
		Data     []struct {
			Pattern string
			Samples [][2]int64
		}
	}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &d))
	require.Contains(t, d.Warnings[0], "these are the patterns of the newest 20000 lines")
	total := int64(0)
	for _, p := range d.Data {
		for _, s := range p.Samples {
			total += s[1]
		}
	}
	if len(d.Warnings) > 1 {
		require.Equal(t, fmt.Sprintf("%d lines are in none of these patterns", patternLines-total), d.Warnings[1])
	} else {
		require.Equal(t, int64(patternLines), total)
	}
}

func TestDetectedFieldsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.write(t, 20, func(i int) string { return fmt.Sprintf("a%d=1 b=%d", i, i) })
	for path, want := range map[string]int{"limit=3": 3, "line_limit=2": 3, "": 21} {
		var d struct{ Fields []any }
		rec := f.do(http.MethodGet, Prefix+"/detected_fields?query=%7B%7D&start=1&"+path, "")
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &d), rec.Body.String())
		require.Len(t, d.Fields, want, path)
	}
	for _, path := range []string{"limit=0", "line_limit=x", "query=vector(1)", "query=%7Ba", "start=x"} {
		require.Equal(t, http.StatusBadRequest, f.do(http.MethodGet, Prefix+"/detected_fields?"+path, "").Code, path)
	}
}

func TestVolumeRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	for _, path := range []string{"aggregateBy=x", "limit=0", "query=%7B%7D+|%3D+%22x%22", "end=x"} {
		require.Equal(t, http.StatusBadRequest, f.do(http.MethodGet, Prefix+"/index/volume?"+path, "").Code, path)
	}
	require.Equal(t, http.StatusBadRequest, f.do(http.MethodGet, Prefix+"/index/volume_range?step=x", "").Code)
}
