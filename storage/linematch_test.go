package storage

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// plain is the reference: the standard library, without any shortcut.
func plain(t testing.TB, p LinePattern, line []byte) bool {
	if !p.Regexp {
		return strings.Contains(string(line), p.Text)
	}
	re, err := regexp.Compile(p.Text)
	require.NoError(t, err)
	return re.Match(line)
}

var matchPatterns = []string{
	"", "a", "timeout", "timeout|refused", "(?i)timeout", "(?i)TimeOut|Refused", "^panic", "done$", "^$", "a.*b", "a+b?c*",
	"(?i)straße", "(?i)k", "(?i)sk", "(?i)mask it", "id=[0-9]{3}", "id=[ab]c", "[ab][cd][ef]", "(foo|bar)(baz|qux)", "(?i)(foo|BAR)x",
	"foo(?i)bar", "x(a|b|)y", "(abc)+", "(abc){2,3}", "(abc){0,2}d", "(?s)a.b", "\\bfoo\\b", "\uFFFD", "a\uFFFDb", "[^a]", "(?i)[k-t]oo",
	"time(out|r)|refu(se|sal)", "a|b|c|d|e", "(a|b|c|d|e|f)(a|b|c|d|e|f)(a|b|c|d|e|f)", "colou?r", ".", "(?:)", "\\d+ms", "(?i)é|x", "ab|a|",
}

var matchLines = []string{
	"", "a", "timeout", "TIMEOUT", "TimeOut waiting", "connection refused", "panic: x", "all done", "a b", "aab", "straße", "STRASSE",
	"STRAßE", "\u212a", "\u017fk", "ma\u017fk it", "MASK IT", "mas\u212a it", "id=123", "id=bc", "ace", "bdf", "foobaz", "barqux", "fooBAR",
	"xay", "xy", "abcabc", "d", "a\nb", "a foo b", "afoob", "\uFFFD", "\xff", "a\xffb", "a\uFFFDb", "timer", "refusal", "color", "colour",
	"12ms", "É", "é", "x", "koo", "\u212aoo", "oo",
}

func TestLineMatcher(t *testing.T) {
	for _, text := range matchPatterns {
		for _, isRegexp := range []bool{true, false} {
			p := LinePattern{Text: text, Regexp: isRegexp}
			m, err := NewLineMatcher(false, p)
			require.NoError(t, err)
			n, err := NewLineMatcher(true, p)
			require.NoError(t, err)
			for _, line := range matchLines {
				requireAlike(t, m, p, []byte(line))
				require.NotEqual(t, m.Match([]byte(line)), n.Match([]byte(line)))
			}
		}
	}
}

// requireAlike holds m against the reference, and what it tells an index
// against its own decision.
func requireAlike(t testing.TB, m *LineMatcher, p LinePattern, line []byte) {
	want := plain(t, p, line)
	require.Equal(t, want, m.Match(line), "pattern %q line %q", p.Text, line)
	if !want {
		return
	}
	require.True(t, admits(m.Required(), line), "pattern %q line %q required %q", p.Text, line, m.Required())
	var s LineSearch
	m.Search(&s, line)
	if len(line) > 0 {
		require.GreaterOrEqual(t, s.Next(0), 0, "pattern %q line %q", p.Text, line)
	}
}

func admits(required [][]string, line []byte) bool {
	folded := lowerASCII(strings.ToValidUTF8(string(line), "\xff"))
	for _, all := range required {
		found := true
		for _, text := range all {
			found = found && strings.Contains(folded, text)
		}
		if found {
			return true
		}
	}
	return required == nil
}

func TestLineMatcherAlternatives(t *testing.T) {
	m, err := NewLineMatcher(false, LinePattern{Text: "foo"}, LinePattern{Text: "ba[rz]", Regexp: true})
	require.NoError(t, err)
	require.True(t, m.Match([]byte("a foo")))
	require.True(t, m.Match([]byte("a baz")))
	require.False(t, m.Match([]byte("a bax")))
	require.Equal(t, [][]string{{"foo"}, {"bar"}, {"baz"}}, m.Required())

	_, err = NewLineMatcher(false, LinePattern{Text: "foo"}, LinePattern{Text: "ba(r", Regexp: true})
	require.ErrorContains(t, err, "ba(r")
}

// TestRequired shows that indexes get something to work with.
func TestRequired(t *testing.T) {
	for _, c := range []struct {
		text string
		want [][]string
	}{
		{"timeout|refused", [][]string{{"timeout"}, {"refused"}}},
		{"(?i)TimeOut", [][]string{{"timeout"}}},
		{"(?i)refused", [][]string{{"refu", "ed"}}},
		{"foo.*bar", [][]string{{"foo", "bar"}}},
		{"^panic: .* at [0-9]+$", [][]string{{"panic: ", " at "}}},
		{"(a|b)c(x|y).+end", [][]string{{"acx", "end"}, {"acy", "end"}, {"bcx", "end"}, {"bcy", "end"}}},
		{"Ärger", [][]string{{"Ärger"}}},
		{".*", nil},
		{"a|.", nil},
		{"(?i)é", nil},
	} {
		m, err := NewLineMatcher(false, LinePattern{Text: c.text, Regexp: true})
		require.NoError(t, err)
		require.Equal(t, c.want, m.Required(), c.text)
		m, err = NewLineMatcher(true, LinePattern{Text: c.text, Regexp: true})
		require.NoError(t, err)
		require.Nil(t, m.Required(), "a negation requires nothing")
	}
}

// TestLineSearch visits every line that matches.
func TestLineSearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, text := range matchPatterns {
		m, err := NewLineMatcher(false, LinePattern{Text: text, Regexp: true})
		require.NoError(t, err)
		var joined []byte
		var ends []int
		want := 0
		for range 200 {
			line := matchLines[rnd.IntN(len(matchLines))]
			if line == "" {
				continue
			}
			joined = append(joined, line...)
			ends = append(ends, len(joined))
			if m.Match([]byte(line)) {
				want++
			}
		}
		var s LineSearch
		m.Search(&s, joined)
		got, start := 0, 0
		for _, end := range ends {
			if next := s.Next(start); next >= 0 && next < end && m.Match(joined[start:end]) {
				got++
			}
			start = end
		}
		require.Equal(t, want, got, text)
	}
}

func FuzzLineMatcher(f *testing.F) {
	for i, p := range matchPatterns {
		f.Add(p, matchLines[i%len(matchLines)], i%3 > 0)
	}
	f.Fuzz(func(t *testing.T, pattern, line string, isRegexp bool) {
		p := LinePattern{Text: pattern, Regexp: isRegexp}
		m, err := NewLineMatcher(false, p)
		if err != nil {
			return // no regular expression
		}
		if len(pattern) > 200 {
			return // the reference takes too long
		}
		requireAlike(t, m, p, []byte(line))
	})
}

func BenchmarkLineMatcher(b *testing.B) {
	line := []byte(`ts=2026-11-27T10:00:00Z level=info caller=server.go:217 msg="request served" method=GET path=/api/v1/cart/items status=200 duration=17.3ms user=alice trace=4bf92f3577b34da6a3ce929d0e0e4736`)
	for _, text := range []string{"needle", "timeout|refused", "(?i)timeout", "status=5..", `duration=\d{4,}ms`} {
		b.Run(fmt.Sprint(text), func(b *testing.B) {
			m, err := NewLineMatcher(false, LinePattern{Text: text, Regexp: true})
			require.NoError(b, err)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				m.Match(line)
			}
		})
	}
}
