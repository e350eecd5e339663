package loki

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// linesOf splits an answer of lines.
func linesOf(t testing.TB, body io.Reader) (entries []map[string]any, end map[string]any) {
	t.Helper()
	scanner := bufio.NewScanner(body)
	for scanner.Scan() {
		var line map[string]any
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &line), scanner.Text())
		if e, ok := line["end"]; ok {
			require.False(t, scanner.Scan(), "nothing follows the end")
			return entries, e.(map[string]any)
		}
		if line["line"] != nil {
			entries = append(entries, line)
		}
	}
	return entries, nil
}

func TestLinesHaveNoLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxResultBytes, o.MaxEntries = 1000, 10 })
	f.write(t, 5000, numbered)
	srv := httptest.NewServer(f)
	defer srv.Close()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL+rangePath("{}", "direction=forward"), nil)
	require.NoError(t, err)
	req.Header.Set("Accept", linesType)
	res, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	entries, end := linesOf(t, res.Body)
	require.Len(t, entries, 5000)
	for i, e := range entries {
		require.Equal(t, numbered(i), e["line"])
	}
	require.InDelta(t, 5000, end["entries"], 0)
	require.Empty(t, end["error"])
}

func TestLinesEndWithTheirError(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	f.fake.fail, f.fake.failAfter = errors.New("disk on fire"), 2
	rec := f.do(http.MethodGet, rangePath("{}"), "", linesHeader)
	require.Equal(t, http.StatusOK, rec.Code)
	entries, end := linesOf(t, rec.Body)
	require.Len(t, entries, 2)
	require.Equal(t, "disk on fire", end["error"])

	f.fake.fail = fmt.Errorf("%w: 5 GB were read", storage.ErrQueryLimit)
	entries, end = linesOf(t, f.do(http.MethodGet, rangePath("{}"), "", linesHeader).Body)
	require.Len(t, entries, 2)
	require.Empty(t, end["error"])
	require.Equal(t, []any{"query reached a limit: 5 GB were read; what was found before is right, but not all"}, end["warnings"])

	f.fake.fail, f.fake.failAfter = errors.New("disk on fire"), 0
	rec = f.do(http.MethodGet, rangePath("{}"), "", linesHeader)
	require.Equal(t, http.StatusInternalServerError, rec.Code, "before the first entry the status tells")
}

// TestLinesComeBeforeTheEnd looks for the first entry while the query is still
// working.
func TestLinesComeBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"identity", "gzip"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			release := make(chan struct{})
			f.opts.Evaluator = &slowEvaluator{f.fake, release}
			srv := httptest.NewServer(f)
			defer srv.Close()
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL+rangePath("{}"), nil)
			require.NoError(t, err)
			req.Header.Set("Accept", linesType)
			req.Header.Set("Accept-Encoding", encoding)
			res, err := srv.Client().Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			body := io.Reader(res.Body)
			if encoding == "gzip" {
				body, err = gzip.NewReader(body)
				require.NoError(t, err)
			}
			reader := bufio.NewReader(body)
			line, err := reader.ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, `"line":"first"`)
			close(release)
			line, err = reader.ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, `{"end":{"entries":1,`)
		})
	}
}

// slowEvaluator emits one entry and waits.
type slowEvaluator struct {
	Evaluator

	release chan struct{}
}

func (s *slowEvaluator) Logs(_ context.Context, _ logql.Query, emit func(*logql.Entry) error) (logql.Stats, error) {
	err := emit(&logql.Entry{Line: []byte("first")})
	<-s.release
	return logql.Stats{}, err
}
