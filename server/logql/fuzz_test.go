package logql

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/parse.txt", "testdata/errors.txt"} {
		for _, p := range goldenSeeds(f, file) {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			require.Contains(t, err.Error(), "parse error at line ")
			return
		}
		printed := e.String()
		if len(printed) > MaxQueryBytes {
			return
		}
		again, err := Parse(printed)
		require.NoError(t, err, printed)
		require.Equal(t, printed, again.String())
		if l, ok := e.(*LogExpr); ok {
			_, err := newPlan(l, needAll)
			require.NoError(t, err, "what parses can be compiled")
		}
	})
}

// fuzzStages passes a line through stages, with all labels wanted and with one,
// and checks that both agree.
func fuzzStages(t *testing.T, line string, stages ...Stage) {
	t.Helper()
	stream := &storage.Stream{Labels: labels.FromStrings("app", "a")}
	r := &storage.Record{Stream: stream, Line: []byte(line), Time: 1}
	all, err := newPipeline(stages, needAll)
	require.NoError(t, err)
	out, keep := all.run(r)
	require.True(t, keep)
	for _, p := range all.view.parsed {
		require.True(t, isLabelName(p.name), "%q", p.name)
	}
	l := all.entryLabels()
	require.Equal(t, line, string(r.Line), "the line is not changed in place")
	for _, p := range all.view.parsed {
		value, _ := all.view.get(p.name)
		require.Equal(t, value, l.all.Get(p.name))
	}
	one, err := newPipeline(stages, needNames("a", "app"))
	require.NoError(t, err)
	out2, _ := one.run(r)
	require.Equal(t, string(out), string(out2))
	want, _ := all.view.get("a")
	got, _ := one.view.get("a")
	require.Equal(t, want, got)
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":{"c":"d"},"e":[1,{"f":2}],"g":null,"app":"x","a":2}`, `{"a":"\u00fc\n\"","":1,"1x":true}`, `{"a":`, `{"_entry":"x","a":"y"}`, `[]`, `{"a":{"a":{"a":{}}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fuzzStages(t, line, &JSONParser{})
		fuzzStages(t, line, &UnpackParser{})
		fuzzStages(t, line, &JSONParser{[]Extraction{{"a", "a"}, {"b", "b.c[0]"}, {"c", `["x y"].z`}}})
	})
}

func FuzzLogfmt(f *testing.F) {
	for _, s := range []string{`a=1 b="x \"y\"" c app=z a=2`, `=x "`, `a="unterminated`, `a==b`, "a=\xff \x00=1", `ä=1 1=2`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fuzzStages(t, line, &LogfmtParser{})
		fuzzStages(t, line, &LogfmtParser{Strict: true, KeepEmpty: true})
		fuzzStages(t, line, &LogfmtParser{Extractions: []Extraction{{"a", "a"}, {"b", "a"}}})
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("<a> - <_> [<b>]", "1 - 2 [3]")
	f.Add("<_><", "x")
	f.Add("a", "b")
	f.Fuzz(func(t *testing.T, pattern, line string) {
		if p, err := parseLinePattern(pattern); err == nil {
			p.matchLine([]byte(line))
		}
		if _, err := parsePattern(pattern); err == nil {
			fuzzStages(t, line, &PatternParser{pattern})
		}
	})
}

func FuzzRegexpStage(f *testing.F) {
	f.Add(`(?P<a>\d+)(?P<b>x)?`, "12x")
	f.Fuzz(func(t *testing.T, re, line string) {
		e, err := Parse("{} | regexp " + quote(re))
		if err == nil {
			fuzzStages(t, line, e.(*LogExpr).Stages...)
		}
	})
}

func quote(s string) string { return strings.TrimPrefix((&RegexpParser{s}).String(), "| regexp ") }

func FuzzTemplate(f *testing.F) {
	f.Add(`{{.a | ToUpper}} {{range .b}}{{.}}{{end}}`, "line")
	f.Add(`{{ regexReplaceAll "(a+)" .a "${1}b" | trunc 3 | repeat 5 }}`, "aaa")
	f.Add(`{{ alignLeft 5 .a }}{{ printf "%d" 5 }}{{ fromJson .a }}`, "{}")
	f.Fuzz(func(t *testing.T, text, line string) {
		compiled, err := newTemplate(text)
		if err != nil {
			return
		}
		v := &view{}
		v.reset(newStreamState(&storage.Stream{Labels: labels.FromStrings("a", line, "b", "x")}), &storage.Record{})
		out, _ := compiled.run([]byte(line), v)
		require.LessOrEqual(t, len(out), maxTemplateBytes)
	})
}

func FuzzDetect(f *testing.F) {
	f.Add(`{"a":1,"b":"2s"}`)
	f.Add(`a=1 b="2KB" c=x`)
	f.Fuzz(func(t *testing.T, line string) {
		stream := &storage.Stream{Labels: labels.FromStrings("app", "a")}
		d, m := NewFieldDetector("a", 10), NewPatternMiner(1)
		for range 2 {
			d.Add(&Entry{Line: []byte(line), Record: &storage.Record{Stream: stream}})
			m.Add(1, []byte(line))
		}
		for _, field := range d.Fields() {
			require.NotEmpty(t, field.Type)
			require.Equal(t, 1, field.Cardinality)
		}
		for _, p := range m.Patterns() {
			require.Equal(t, int64(2), p.Total)
			if utf8.ValidString(line) && len(line) <= maxPatternBytes {
				require.True(t, utf8.ValidString(p.Pattern))
			}
		}
	})
}

func FuzzIP(f *testing.F) {
	f.Add("10.0.0.0/8", "from 10.1.2.3:80 to ::1")
	f.Fuzz(func(t *testing.T, pattern, line string) {
		if p, err := parseIPPattern(pattern); err == nil {
			p.matchLine([]byte(line))
			p.matchValue(line)
		}
	})
}

func FuzzDecolorize(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b[0m"))
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		out, _ := (&decolorizeStep{}).run(line, nil)
		require.Equal(t, before, line)
		require.LessOrEqual(t, len(out), len(line))
	})
}
