package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What patterns and flags ask the server for.
func TestGrepQueries(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"timeout", `{} |= "timeout"`},
		{"'a b\"c\\'", ""},
		{"-F 'a.b\"c\\d'", `{} |= "a.b\"c\\d"`},
		{"'timeout|refused' -n shop", `{namespace="shop"} |~ "(?m)timeout|refused"`},
		{"-E '^a.b$'", `{} |~ "(?m)^a.b$"`},
		{"-i Timeout", `{} |~ "(?im)Timeout"`},
		{"-i -F a.b", `{} |~ "(?im)a\\.b"`},
		{"-v healthz", `{} != "healthz"`},
		{"-v 'a|b'", `{} !~ "(?m)a|b"`},
		{"-e a -e b", `{} |= "a" or "b"`},
		{"-e a -e 'b+' sts/x -n n", `{namespace="n", pod=~"x.+"} |~ "(?m)(?:a)|(?:b+)" | `},
		{"-v -e a -e b", `{} != "a" != "b"`},
		{"-v -i -e a -e b", `{} !~ "(?im)(?:a)|(?:b)"`},
		{"-F -e a.b -e c", `{} |= "a.b" or "c"`},
		{"'a\nb'", `{} |= "a" or "b"`},
		{"é", `{} |= "é"`},
		{"x --exclude y --level error --node a", `{node="a"} |= "x" !~ "y" | level=~"error|fatal"`},
		{"-e x -n shop " + firstPod, `{namespace="shop", pod="` + firstPod + `"} |= "x"`},
		{"", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			f := newCartLogs(t)
			got := execute(t, options{}, append([]string{"grep", "--addr", f.URL}, shellFields(c.args)...)...)
			if c.want == "" {
				require.Equal(t, exitUsage, got.code)
				return
			}
			require.Equal(t, exitOK, got.code, got.stderr)
			require.True(t, strings.HasPrefix(f.last().Get("query"), c.want), f.last().Get("query"))
		})
	}
}

func TestGrepUsage(t *testing.T) {
	f := newCartLogs(t)
	for _, c := range []struct{ args, want string }{
		{"", "the pattern is missing"},
		{"-e a b c", `too many arguments, from "c" on`},
		{"a b c", `too many arguments, from "c" on`},
		{"(", `the pattern "(" is not a regular expression of RE2's syntax: missing closing )`},
		{"(.)\\1", "invalid escape sequence: `\\1`"},
		{"\xff", `is not UTF-8: no line matches it`},
		{"-F \xff", `is not UTF-8: no line matches it`},
		{"-E -F x", "[extended-regexp fixed-strings]"},
		{"x -m 0", `"0" is not a whole number of at least 1`},
		{"x --context -1", `"-1" is not a whole number`},
		{"x -f --count", "do not go with -f"},
		{"x -f --after 1", "do not go with -f"},
		{"x -f -o json", "use -o jsonl"},
		{"x --count --only-matching", "--count prints no lines"},
		{"x --count -o template={{.Pod}}", "--count prints no lines"},
		{"x -v --only-matching", "--only-matching has nothing to print"},
		{"x --only-matching --before 1", "--only-matching does not go with"},
		{"x svc/cart", "a Service finds its pods by their labels"},
		{"x -C 3", "unknown flag -C"},
	} {
		got := execute(t, options{}, append(append([]string{"grep"}, strings.Fields(c.args)...), "--addr", f.URL)...)
		require.Contains(t, got.stderr, c.want, c.args)
		require.Equal(t, exitUsage, got.code, c.args)
		require.Empty(t, got.stdout, c.args)
	}
}

// matching answers with those of lines that contain the text of the query's
// first line filter, or all when it has none.
func matching(lines []testLine) func(url.Values) string {
	return func(q url.Values) string {
		_, text, filtered := strings.Cut(q.Get("query"), `|= "`)
		text, _, _ = strings.Cut(text, `"`)
		var out []testLine
		for _, l := range lines {
			if (!filtered || strings.Contains(l.text, text)) && selectorHolds(q.Get("query"), testLabels(l.labels)) {
				out = append(out, l)
			}
		}
		if q.Get("limit") == "2" && len(out) > 2 {
			return out[0].wire() + out[1].wire() + endLine(2, true)
		}
		return answerOf(out...)
	}
}

// twoLogs are lines of two containers, one after the other.
func twoLogs() []testLine {
	var lines []testLine
	for i, text := range strings.Fields("a0 b0 a1 b1 aX b2 a2 bX aX b3 a3 bX a4 b4 a5 b5 a6 b6 aX") {
		pod := map[byte]string{'a': "first", 'b': "second"}[text[0]]
		stream := "stdout"
		if i%3 == 0 {
			stream = "stderr"
		}
		lines = append(lines, testLine{seconds: float64(100 - i), labels: "shop/" + pod + "/app/0/" + stream, level: "info", text: text})
	}
	return lines
}

func TestGrepGolden(t *testing.T) {
	f := newFakeLogs(t)
	for _, l := range twoLogs() {
		f.series = append(f.series, l.labels)
	}
	f.queries = matching(twoLogs())
	for name, c := range map[string]struct {
		args    string
		columns int
	}{
		"default":                 {"X -n shop", 0},
		"terminal":                {"X -n shop", 80},
		"max-count":               {"X -n shop -m 2", 0},
		"count":                   {"X", 0},
		"count-json":              {"X --count -o json", 0},
		"count-jsonl":             {"X --count -o jsonl", 0},
		"count-alone":             {"X first --count", 0},
		"only-matching":           {"-F X --only-matching -n shop -t", 80},
		"only-matching-raw":       {"X first --only-matching -o raw", 0},
		"context":                 {"X -n shop --context 1", 0},
		"context-terminal":        {"X -n shop --context 1", 80},
		"context-alone":           {"X first --after 1", 0},
		"before":                  {"X -n shop --before 2", 0},
		"after":                   {"X -n shop --after 1 --prefix=false", 0},
		"context-max-count":       {"X -n shop --context 1 -m 2", 0},
		"context-jsonl":           {"X second --context 1 -o jsonl", 0},
		"context-without-matches": {"nothing --context 1", 0},
		"nothing":                 {"nothing", 0},
		"nothing-quiet":           {"nothing -q", 0},
		"nothing-counted":         {"nothing --count", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "count") && !strings.Contains(c.args, "--count") {
				c.args += " --count"
			}
			args := append([]string{"grep"}, shellFields(c.args)...)
			got := execute(t, options{columns: c.columns}, append(args, "--addr", f.URL)...)
			requireGolden(t, "grep/"+name+".txt", got.golden())
		})
	}
}

// Context lines are neither filtered nor of one level, but matches are.
func TestGrepContextOfFilteredLines(t *testing.T) {
	lines := []testLine{
		{seconds: 9, labels: "shop/a/app/0/stdout", level: "debug", text: "before"},
		{seconds: 8, labels: "shop/a/app/0/stdout", level: "error", text: "bad X"},
		{seconds: 7, labels: "shop/a/app/0/stdout", level: "info", text: "after"},
		{seconds: 6, labels: "shop/a/app/0/stdout", level: "info", text: "far"},
		{seconds: 5, labels: "shop/a/app/0/stdout", level: "info", text: "mild X"},
		{seconds: 4, labels: "shop/a/app/0/stdout", level: "error", text: "skipped X"},
		{seconds: 3, labels: "shop/b/app/0/stdout", level: "info", text: "of a log without matches"},
	}
	f := newFakeLogs(t)
	f.queries = func(q url.Values) string {
		if strings.Contains(q.Get("query"), "|= ") {
			require.Equal(t, `{} |= "X" |~ "bad|skip" !~ "skipped" | level=~"error|fatal"`, q.Get("query"))
			return answerOf(lines[1])
		}
		require.Equal(t, `{namespace="shop", pod="a", container="app", filename=""}`, q.Get("query"))
		return answerOf(lines[:6]...)
	}
	got := execute(t, options{}, "grep", "X", "--context", "1", "--include", "bad|skip", "--exclude", "skipped", "--level", "error", "--addr", f.URL, "-o", "raw")
	require.Equal(t, "before\nbad X\nafter\n", got.stdout)
}

// A group that never ends is printed in pieces.
func TestGrepContextIsBounded(t *testing.T) {
	var lines []testLine
	for i := range 3 * maxGroup {
		lines = append(lines, testLine{seconds: float64(4000 - i), labels: "shop/a/app/0/stdout", text: "X"})
	}
	f := newFakeLogs(t)
	f.queries = matching(lines)
	got := execute(t, options{}, "grep", "X", "--context", "2", "--addr", f.URL)
	require.Equal(t, strings.Repeat("shop a app: X\n", len(lines)), got.stdout)

	lines = nil
	for i := range maxContextFiles + 1 {
		lines = append(lines, testLine{seconds: 9, labels: "shop/pod" + strings.Repeat("x", i) + "/app/0/stdout", text: "X"})
	}
	f.queries = matching(lines)
	got = execute(t, options{}, "grep", "X", "--context", "2", "--addr", f.URL)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "more than 1000 containers have lines that match")
}

func TestGrepPartial(t *testing.T) {
	for _, args := range []string{"X", "X --count", "X --context 1", "X --only-matching"} {
		f := newFakeLogs(t)
		f.queries = func(url.Values) string {
			return twoLogs()[4].wire() + endLine(1, false, "reached the limit of 10 GiB")
		}
		got := execute(t, options{}, append([]string{"grep", "--addr", f.URL}, strings.Fields(args)...)...)
		require.Equal(t, exitPartial, got.code, args)
		require.NotEmpty(t, got.stdout, args)
		require.Contains(t, got.stderr, "partial result: reached the limit of 10 GiB", args)
		f.queries = func(url.Values) string { return endLine(0, false, "reached the limit of 10 GiB") }
		got = execute(t, options{}, append([]string{"grep", "--addr", f.URL}, strings.Fields(args)...)...)
		require.Equal(t, exitPartial, got.code, "what was not searched may have a match: %s", args)
	}
}

// grep -f ends with the last line wanted.
func TestGrepFollow(t *testing.T) {
	f := newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){sends(numbered(1, 9).wire(), numbered(2, 8).wire(), numbered(3, 7).wire())}
	got := execute(t, options{}, "grep", "-f", "-m", "2", "line", "-o", "raw", "--addr", f.URL)
	require.Equal(t, "line 1\nline 2\n", got.stdout)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, []string{`{} |= "line"`, "0"}, []string{f.last().Get("query"), f.last().Get("limit")})

	f = newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){sends(numbered(12, 9).wire())}
	got = followed(t, f, "grep", "-f", "--only-matching", "[0-9]", "-o", "raw")
	require.Equal(t, "1\n2\n", got.stdout)
}
