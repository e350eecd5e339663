package loki

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0":                              0,
		"1767322800":                     1767322800_000000000,
		"1767322800000000001":            1767322800000000001,
		"1767322800.5":                   1767322800_500000000,
		"1767322800.123456789":           1767322800_123456789,
		"1767322800.1234567891":          1767322800_123456789,
		"1.7673228e9":                    1767322800_000000000,
		"-5":                             -5_000000000,
		"2026-01-02T03:00:00Z":           1767322800_000000000,
		"2026-01-02T03:00:00.000000001Z": 1767322800_000000001,
		"2026-01-02T05:00:00+02:00":      1767322800_000000000,
	} {
		got, ok := parseTime(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"noon", "1.x", "NaN", "1e300", "-Inf", "99999999999999999999", "2026-01-02", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "1767322800.12345678x"} {
		_, ok := parseTime(text)
		require.False(t, ok, text)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	now := epoch
	at := func(d time.Duration) int64 { return now.Add(d).UnixNano() }
	for _, tc := range []struct {
		query      string
		start, end int64
		err        string
	}{
		{"", at(-time.Hour), at(0), ""},
		{"since=5m", at(-5 * time.Minute), at(0), ""},
		{"since=90", at(-90 * time.Second), at(0), ""},
		{"since=1h30m", at(-90 * time.Minute), at(0), ""},
		{"end=2026-01-02T02:00:00Z", at(-2 * time.Hour), at(-time.Hour), ""},
		{"end=2026-01-02T05:00:00Z&since=1h", at(-time.Hour), at(2 * time.Hour), ""},
		{"start=2026-01-02T02:59:00Z&since=1h", at(-time.Minute), at(0), ""},
		{"start=2026-01-02T04:00:00Z", 0, 0, "start 2026-01-02T04:00:00Z is after end 2026-01-02T03:00:00Z"},
		{"start=x", 0, 0, `invalid start "x": nanoseconds`},
		{"end=x", 0, 0, `invalid end "x"`},
		{"since=x", 0, 0, `invalid since "x": a duration like 5m`},
		{"since=-1", 0, 0, "out of range"},
	} {
		values, err := url.ParseQuery(tc.query)
		require.NoError(t, err)
		start, end, err := params{values, now}.span(sinceQuery)
		if tc.err != "" {
			require.ErrorContains(t, err, tc.err, tc.query)
			continue
		}
		require.NoError(t, err, tc.query)
		require.Equal(t, []int64{tc.start, tc.end}, []int64{start, end}, tc.query)
	}
}

func TestOtherParameters(t *testing.T) {
	t.Parallel()
	hour := int64(time.Hour)
	parse := func(query string) params {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		return params{values, epoch}
	}
	for query, want := range map[string]time.Duration{
		"": 15 * time.Second, "step=1m": time.Minute, "step=15000ms": 15 * time.Second, "step=0.5": 500 * time.Millisecond, "step=1.5s": 1500 * time.Millisecond,
	} {
		step, err := parse(query).step(0, hour)
		require.NoError(t, err, query)
		require.Equal(t, want, step, query)
	}
	for query, want := range map[string]string{
		"step=0": "zero or negative", "step=x": `invalid step "x"`, "step=-1": "out of range", "step=1ms": "exceeded maximum resolution of 11000 points",
	} {
		_, err := parse(query).step(0, hour)
		require.ErrorContains(t, err, want, query)
	}
	for query, want := range map[string]string{
		"limit=x": `invalid limit "x"`, "limit=-1": `invalid limit "-1"`, "limit=0": "limit must be a positive value", "limit=51": "limit > max_entries_limit_per_query (51 > 50)",
	} {
		_, _, err := parse(query).limit(10, 50)
		require.ErrorContains(t, err, want, query)
	}
	n, given, err := parse("limit=0").limit(10, 0)
	require.NoError(t, err)
	require.True(t, given)
	require.Zero(t, n)
	for query, want := range map[string]storage.Order{"": storage.Descending, "direction=BACKWARD": storage.Descending, "direction=forward": storage.Ascending} {
		order, err := parse(query).direction()
		require.NoError(t, err)
		require.Equal(t, want, order, query)
	}
	_, err = parse("direction=up").direction()
	require.ErrorContains(t, err, `invalid direction "up": forward or backward`)
	_, err = parse("").query()
	require.ErrorContains(t, err, "parameter query is needed")
	_, err = parse("line_limit=0").count("line_limit", 1)
	require.ErrorContains(t, err, "a number above 0")
}

// FuzzParams checks that any parameters give a span that is in order, or an
// error that says which parameter is wrong.
func FuzzParams(f *testing.F) {
	f.Add("1767322800", "2026-01-02T03:00:00Z", "1h", "15s")
	f.Add("1.5", "1e9", "0.1", "1000ms")
	f.Add("-9223372036854775808", "9223372036854775807", "290y", "1ns")
	f.Fuzz(func(t *testing.T, start, end, since, step string) {
		p := params{url.Values{"start": {start}, "end": {end}, "since": {since}, "step": {step}}, epoch}
		from, to, err := p.span(sinceQuery)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "invalid "), err.Error())
			return
		}
		require.LessOrEqual(t, from, to)
		if d, err := p.step(from, to); err == nil {
			require.Positive(t, d)
		}
	})
}
