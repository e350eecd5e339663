package logql

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// goldenPairs reads "query => result" lines, with \n for line feeds.
func goldenPairs(t *testing.T, file string) [][2]string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var pairs [][2]string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "// ") {
			continue
		}
		query, want, _ := strings.Cut(line, "  =>  ")
		pairs = append(pairs, [2]string{strings.ReplaceAll(query, `\n`, "\n"), want})
	}
	return pairs
}

func checkGolden(t *testing.T, file string, result func(query string) string) {
	pairs := goldenPairs(t, file)
	var out strings.Builder
	for _, p := range pairs {
		got := result(p[0])
		out.WriteString(strings.ReplaceAll(p[0], "\n", `\n`) + "  =>  " + got + "\n")
		if !*update {
			require.Equal(t, p[1], got, p[0])
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o600))
	}
}

func TestParse(t *testing.T) {
	checkGolden(t, "testdata/parse.txt", func(query string) string {
		e, err := Parse(query)
		require.NoError(t, err, query)
		again, err := Parse(e.String())
		require.NoError(t, err, e.String())
		require.Equal(t, e.String(), again.String(), query)
		return e.String()
	})
}

func TestParseErrors(t *testing.T) {
	checkGolden(t, "testdata/errors.txt", func(query string) string {
		_, err := Parse(query)
		require.Error(t, err, query)
		var parse *ParseError
		require.ErrorAs(t, err, &parse)
		return err.Error()
	})
}

func TestParseBounds(t *testing.T) {
	for name, query := range map[string]string{
		"length":        `{a="` + strings.Repeat("x", MaxQueryBytes) + `"}`,
		"parentheses":   strings.Repeat("(", 10_000) + "1",
		"powers":        strings.Repeat("1^", 10_000) + "1",
		"sums":          strings.Repeat("1+", 10_000) + "1",
		"label filters": `{} | a="1"` + strings.Repeat(` or a="1"`, 10_000),
		"nested ranges": "count_over_time(" + strings.Repeat("(", 10_000),
		"filters":       `{} | ` + strings.Repeat("(", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(query)
			var parse *ParseError
			require.ErrorAs(t, err, &parse)
			require.Less(t, len(err.Error()), 200)
		})
	}
}

func TestParseSelector(t *testing.T) {
	l, err := ParseSelector(`{a="b"} |= "c"`)
	require.NoError(t, err)
	require.Len(t, l.Matchers, 1)
	_, err = ParseSelector(`rate({a="b"}[5m])`)
	require.EqualError(t, err, "parse error at line 1, col 1: a log query is needed here, this is a metric query")
}

func goldenSeeds(f *testing.F, file string) []string {
	f.Helper()
	b, err := os.ReadFile(file)
	require.NoError(f, err)
	var seeds []string
	for line := range strings.Lines(string(b)) {
		query, _, _ := strings.Cut(line, "  =>  ")
		seeds = append(seeds, strings.ReplaceAll(query, `\n`, "\n"))
	}
	return seeds
}

func TestFormat(t *testing.T) {
	got, err := Format("sum by (a) (\n  rate({x=\"y\"}[5m]) # comment\n)")
	require.NoError(t, err)
	require.Equal(t, `sum(rate({x="y"} [5m])) by (a)`, got)
	_, err = Format("sum(")
	require.Error(t, err)
}
