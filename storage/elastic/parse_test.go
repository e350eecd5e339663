package elastic

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestParseBulk(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		items        int
		statuses     map[int]int
		err          string
	}{
		{"all stored", `{"took":3,"errors":false,"items":[]}`, 5, map[int]int{}, ""},
		{"some fail", someFail, 5, map[int]int{1: 429, 2: 409, 3: 503, 4: 400}, ""},
		{"without status", `{"errors":true,"items":[{}]}`, 1, map[int]int{0: 0}, ""},
		{"other count", `{"errors":true,"items":[]}`, 1, nil, "1 items tells of 0"},
		{"no items", `{"errors":true}`, 1, nil, `"items"`},
		{"no JSON", `<html>`, 1, nil, `"errors"`},
		{"empty", ``, 1, nil, `"errors"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			failures, err := parseBulk([]byte(c.answer), c.items)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			got := map[int]int{}
			for _, f := range failures {
				got[f.item] = f.status
			}
			require.Equal(t, c.statuses, got)
		})
	}
}

func FuzzParseBulk(f *testing.F) {
	f.Add([]byte(someFail), 5)
	f.Add([]byte(`{"errors":true,"items":[{"create":{"status":"x","error":{"type":"\u00","reason":7}}},null,[]]}`), 3)
	f.Fuzz(func(t *testing.T, answer []byte, items int) {
		failures, err := parseBulk(answer, items)
		if err != nil {
			return
		}
		last := -1
		for _, failure := range failures {
			if failure.item <= last || failure.item >= items {
				t.Fatalf("item %d after %d of %d", failure.item, last, items)
			}
			last = failure.item
			if len(failure.reason) > maxExcerpt || len(failure.kind) > maxExcerpt {
				t.Fatal("not bounded")
			}
		}
	})
}

func TestParseHitsErrors(t *testing.T) {
	for _, c := range []struct{ name, answer, err string }{
		{"no hits", `{"took":1}`, "no hits"},
		{"not an object", `{"hits":{"hits":[7]}}`, "no object"},
		{"foreign document", `{"hits":{"hits":[{"_id":"a","_index":"i","_source":{"message":"x"}}]}}`, `document "a" of index "i" is not of binnacle's making`},
		{"source", `{"hits":{"hits":[{"_source":{"binnacle":{"stream":"a","source":"zz"}}}]}}`, "32 hexadecimal digits"},
		{"time", `{"hits":{"hits":[{"_source":{"@timestamp":"yesterday","binnacle":{"stream":"a"}}}]}}`, "yesterday"},
		{"size", `{"hits":{"hits":[{"_source":{"binnacle":{"stream":"a","size":-5}}}]}}`, "binnacle.size is -5"},
		{"cut", `{"hits":{"hits":[{"_source":{"binnacle":{"stream":"a"`, "elasticsearch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cache streamCache
			_, err := cache.parseHits([]byte(c.answer), func(hit) error { return nil })
			require.ErrorContains(t, err, c.err)
		})
	}
}

func FuzzParseHits(f *testing.F) {
	f.Add(answerOf(goldenRecords()...))
	f.Add([]byte(`{"hits":{"hits":[{"_source":{"binnacle":{"stream":"a","metadata":{"a":1}},"kubernetes":{"pod":{"name":{"a":{}}}}}}]}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		var c streamCache
		_, err := c.parseHits(answer, func(h hit) error {
			if h.record.Stream == nil || h.record.Size < 0 {
				t.Fatal("half a record")
			}
			return nil
		})
		if err != nil && err.Error() == "" {
			t.Fatal("an error without a message")
		}
	})
}

// found tells what a wildcard query of g finds, by a regular expression.
func found(t testing.TB, g glob, line string) bool {
	t.Helper()
	var b strings.Builder
	b.WriteString(`(?s)`)
	escape := false
	for _, r := range g.pattern {
		switch {
		case escape:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escape = false
		case r == '\\':
			escape = true
		case r == '*':
			b.WriteString(".*")
		case r == '?':
			b.WriteString(".")
		case g.fold && r < 0x80 && (r|0x20) >= 'a' && (r|0x20) <= 'z':
			b.WriteString("[" + strings.ToLower(string(r)) + strings.ToUpper(string(r)) + "]")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(b.String()).MatchString(line)
}

func checkGlobs(t testing.TB, p storage.LinePattern, line string) {
	t.Helper()
	m, err := storage.NewLineMatcher(false, p)
	if err != nil {
		return
	}
	globs, exact := globsOf(p)
	any := false
	for _, g := range globs {
		any = any || found(t, g, line)
	}
	matches := m.Match([]byte(line))
	if matches && !any {
		t.Fatalf("%+v matches %q, but none of %v finds it", p, line, globs)
	}
	if exact && matches != any {
		t.Fatalf("%+v: matches %q: %v, but %v finds it: %v", p, line, matches, globs, any)
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern string
		globs   []string
		exact   bool
	}{
		{"timeout|refused", []string{"timeout", "refused"}, true},
		{"a[12]b", []string{"a1b", "a2b"}, true},
		{"colou?r", []string{"colour", "color"}, true},
		{`a\*b\?\\`, []string{`a\*b\?\\`}, true},
		{"(?i)task", []string{"TA??"}, false},
		{`id=[0-9a-f]{4}0`, []string{"id=*0"}, false},
		{`^panic: .* at`, []string{"panic: * at"}, false},
		{".*", []string{""}, false},
		{"", []string{""}, true},
		{"x|", []string{""}, true},
		{"(", []string{""}, false},
		{strings.Repeat("x", maxGlobText+1), []string{""}, false},
		{"[a-z]+", []string{""}, false},
	} {
		globs, exact := globsOf(storage.LinePattern{Text: c.pattern, Regexp: true})
		var got []string
		for _, g := range globs {
			got = append(got, strings.Trim(g.pattern, " "))
		}
		require.Equal(t, c.globs, got, c.pattern)
		require.Equal(t, c.exact, exact, c.pattern)
	}
	globs, exact := globsOf(storage.LinePattern{Text: "\xc3"})
	require.Equal(t, []glob{{}}, globs)
	require.False(t, exact, "a part of a character is found in whole ones")
}

func FuzzGlobs(f *testing.F) {
	for _, p := range []string{"timeout|refused", "(?i)K", `a{2,3}b*(c|d)?`, `^x$`, `[\d]+\.\d`, `(?s)a.b`, `\Qa*b\E`, "(?:a|b|c){3}", `\bx\b`} {
		f.Add(p, "some Timeout K aab x 1.2 a*b \u212a", true)
	}
	f.Fuzz(func(t *testing.T, pattern, line string, isRegexp bool) {
		line = strings.ToValidUTF8(line, "\uFFFD")
		if len(pattern) > 200 || len(line) > 200 {
			return // the reference takes too long
		}
		checkGlobs(t, storage.LinePattern{Text: pattern, Regexp: isRegexp}, line)
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "999999999999": maxRetryAfter, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		require.Equal(t, want, parseRetryAfter(text, now), text)
	}
}
