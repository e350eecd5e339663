package storagetest

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// logQuery is a query that the suite asks of both stores.
type logQuery struct {
	name  string
	query storage.LogQuery
}

var matcherSyntax = regexp.MustCompile(`^(\w+)(=~|!~|!=|=)"(.*)"$`)

// matchers parses name="value" and the like.
func matchers(t testing.TB, texts ...string) []*labels.Matcher {
	t.Helper()
	types := map[string]labels.MatchType{
		"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp,
	}
	var out []*labels.Matcher
	for _, text := range texts {
		parts := matcherSyntax.FindStringSubmatch(text)
		require.NotNil(t, parts, text)
		m, err := labels.NewMatcher(types[parts[2]], parts[1], parts[3])
		require.NoError(t, err)
		out = append(out, m)
	}
	return out
}

func lines(t testing.TB, negate, isRegexp bool, texts ...string) *storage.LineMatcher {
	t.Helper()
	var patterns []storage.LinePattern
	for _, text := range texts {
		patterns = append(patterns, storage.LinePattern{Text: text, Regexp: isRegexp})
	}
	m, err := storage.NewLineMatcher(negate, patterns...)
	require.NoError(t, err)
	return m
}

// logQueries are asked of mixedRecords(start).
func logQueries(t testing.TB, start int64) []logQuery {
	second := int64(time.Second)
	from, to := start-10*second, start+100*second
	all := []logQuery{
		{"all", storage.LogQuery{}},
		{"one second", storage.LogQuery{Start: start + 3*second, End: start + 4*second}},
		{"start is in, end is not", storage.LogQuery{Start: start, End: start + second}},
		{"nothing there", storage.LogQuery{Start: start - 1000*second, End: start - 500*second}},
		{"levels", storage.LogQuery{Levels: 1<<storage.LevelError | 1<<storage.LevelUnknown}},
	}
	for _, texts := range [][]string{
		{`namespace="shop"`},
		{`namespace="shop"`, `pod!="cart-1"`},
		{`pod=~"cart-[12]"`, `stream!~"std(err|in)"`},
		{`filename=""`},
		{`pod=""`},
		{`filename=~".+"`},
		{`absent!=""`},
		{`pod="no such pod"`},
	} {
		all = append(all, logQuery{"matchers " + strings.Join(texts, ","), storage.LogQuery{Matchers: matchers(t, texts...)}})
	}
	for _, text := range []string{
		"x", "ab", "fused", "imeou", "Timeout", "id=", "Köln", "漢", "needle-at-the-end", `*`, `\"`, `C:\\temp\\*.log`,
		"a.b|c^d$e+f", "\n", "\t", " ", "no such text", "-start-of", "ó", "\uFFFD",
	} {
		all = append(all,
			logQuery{"contains " + text, storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, false, false, text)}}},
			logQuery{"lacks " + text, storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, true, false, text)}}},
		)
	}
	for _, text := range []string{
		"timeout|refused", "(?i)timeout", "(?i)STRASSE|k", "^panic", "17$", "id=[0-9a-f]{4}0", "(?s)panic.*main", `\bserved\b`,
		"", "a.*b", "^$", `c(art|heckout) id`, "(?i)grüße", "[^ -~]", `10\.2\.3\.\d`,
	} {
		all = append(all,
			logQuery{"matches " + text, storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, false, true, text)}}},
			logQuery{"does not match " + text, storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, true, true, text)}}},
		)
	}
	all = append(all,
		logQuery{"either text", storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, false, false, "refused", "Timeout", "xyz")}}},
		logQuery{"neither text", storage.LogQuery{Lines: []*storage.LineMatcher{lines(t, true, false, "refused", "Timeout")}}},
		logQuery{"several filters", storage.LogQuery{Lines: []*storage.LineMatcher{
			lines(t, false, false, "cart"), lines(t, true, false, "refused"), lines(t, false, true, "id=.*[0-7]$"),
		}}},
		logQuery{"everything at once", storage.LogQuery{
			Start: start + 5*second, End: start + 40*second, Matchers: matchers(t, `namespace=~"shop|kube-system"`),
			Levels: 1<<storage.LevelInfo | 1<<storage.LevelWarn | 1<<storage.LevelFatal,
			Lines:  []*storage.LineMatcher{lines(t, false, true, "served|retrying|could")},
		}},
	)
	for i := range all {
		if all[i].query.End == 0 {
			all[i].query.Start, all[i].query.End = from, to
		}
	}
	return all
}
