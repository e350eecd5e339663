// Package logqltest holds log stores to the same answers: what a query returns
// must not depend on the store that is asked.
package logqltest

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

//go:embed testdata/queries.txt
var queries string

// batchRecords is how many records are written at once.
const batchRecords = 1000

// Run writes a corpus to an empty store and evaluates a table of queries over
// it. The records' times are within the last two hours.
func Run(t *testing.T, open func(t *testing.T) storage.LogStore) {
	s := fill(t, open)
	cases, err := parseCases(queries)
	require.NoError(t, err)
	for _, c := range cases {
		t.Run(c.name(), func(t *testing.T) {
			require.Equal(t, strings.Join(c.want, "\n"), strings.Join(s.evaluate(t.Context(), c), "\n"), c.query)
		})
	}
	t.Run("tail", s.tail)
}

// suite is a filled store.
type suite struct {
	engine *logql.Engine
	store  storage.LogStore
	base   time.Time
}

func fill(t *testing.T, open func(t *testing.T) storage.LogStore) suite {
	t.Helper()
	base := time.Now().Add(-time.Hour).Truncate(time.Minute).UTC()
	store := open(t)
	records, err := corpusRecords(base)
	require.NoError(t, err)
	for batch := range slices.Chunk(records, batchRecords) {
		require.NoError(t, store.Write(t.Context(), batch))
	}
	engine, err := logql.New(logql.Options{Store: store})
	require.NoError(t, err)
	return suite{engine, store, base}
}

// testCase is an entry of queries.txt:
//
//	== logs 0s 10m limit=2 order=asc
//	{namespace="shop"}
//	--
//	expected lines
//
// Other kinds are "instant TIME" and "range START END STEP".
type testCase struct {
	line   int
	header string
	query  string
	want   []string
}

func (c testCase) name() string { return fmt.Sprintf("line %d", c.line) }

func parseCases(text string) ([]testCase, error) {
	var cases []testCase
	expected := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		last := len(cases) - 1
		switch {
		case strings.HasPrefix(line, "== "):
			cases = append(cases, testCase{line: i + 1, header: line[3:]})
			expected = false
		case last < 0, strings.HasPrefix(line, "//"):
		case line == "--" && !expected:
			expected = true
		case expected:
			cases[last].want = append(cases[last].want, line)
		default:
			cases[last].query += line + "\n"
		}
	}
	for i := range cases {
		cases[i].query = strings.TrimSpace(cases[i].query)
		for n := len(cases[i].want); n > 0 && cases[i].want[n-1] == ""; n-- {
			cases[i].want = cases[i].want[:n-1]
		}
		if cases[i].query == "" {
			return nil, fmt.Errorf("line %d: no query", cases[i].line)
		}
	}
	return cases, nil
}

// evaluate returns the lines of a result; times are relative to the base.
func (s suite) evaluate(ctx context.Context, c testCase) []string {
	fields := strings.Fields(c.header)
	at := func(i int) int64 {
		d, err := time.ParseDuration(fields[i])
		if err != nil {
			panic(fmt.Sprintf("line %d: %v", c.line, err))
		}
		return s.base.Add(d).UnixNano()
	}
	q := logql.Query{Text: c.query}
	switch fields[0] {
	case "logs":
		q.Start, q.End = at(1), at(2)
		for _, option := range fields[3:] {
			name, value, _ := strings.Cut(option, "=")
			switch name {
			case "limit":
				q.Limit, _ = strconv.Atoi(value)
			case "order":
				q.Order = map[string]storage.Order{"asc": storage.Ascending, "desc": storage.Descending}[value]
			}
		}
		return s.logs(ctx, q)
	case "instant":
		q.End = at(1)
	case "range":
		q.Start, q.End = at(1), at(2)
		q.Step, _ = time.ParseDuration(fields[3])
	}
	value, _, err := s.engine.Metric(ctx, q)
	if err != nil {
		return []string{"error: " + strings.TrimSpace(err.Error())}
	}
	return s.metric(value)
}

func (s suite) since(ns int64) string { return "+" + time.Duration(ns-s.base.UnixNano()).String() }

func (s suite) logs(ctx context.Context, q logql.Query) []string {
	var out []string
	_, err := s.engine.Logs(ctx, q, func(e *logql.Entry) error {
		out = append(out, fmt.Sprintf("%s %s %s", s.since(e.Time), e.Labels, strconv.Quote(string(e.Line))))
		return nil
	})
	if err != nil {
		out = append(out, "error: "+err.Error())
	}
	return out
}

func (s suite) metric(value parser.Value) []string {
	var out []string
	switch v := value.(type) {
	case promql.Scalar:
		out = append(out, "scalar "+number(v.V))
	case promql.Vector:
		for _, sample := range v {
			out = append(out, sample.Metric.String()+" "+number(sample.F))
		}
	case promql.Matrix:
		for _, series := range v {
			parts := []string{series.Metric.String()}
			for _, p := range series.Floats {
				parts = append(parts, number(p.F)+"@"+s.since(p.T * int64(time.Millisecond))[1:])
			}
			out = append(out, strings.Join(parts, " "))
		}
	}
	return out
}

// number leaves out digits in which floating-point sums may differ.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }
