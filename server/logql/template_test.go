package logql

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func runTemplate(t testing.TB, text, line string, pairs ...string) (string, error) {
	t.Helper()
	compiled, err := newTemplate(text)
	require.NoError(t, err, text)
	v := &view{}
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	v.reset(newStreamState(&storage.Stream{Labels: labels.FromStrings(pairs...)}), &storage.Record{Time: at.UnixNano()})
	out, err := compiled.run([]byte(line), v)
	return string(out), err
}

func TestTemplateFunctions(t *testing.T) {
	for text, want := range map[string]string{
		`{{.a}} {{.missing}}|`: "Foo Bar |",
		`{{__line__}}`:         "the line",
		`{{__timestamp__ | date "2006-01-02T15:04:05"}}`:            "2026-11-27T10:00:00",
		`{{ToLower .a}} {{.a | lower}} {{ToUpper .a}} {{upper .a}}`: "foo bar foo bar FOO BAR FOO BAR",
		`{{title "a bc"}}`: "A Bc",
		`{{Replace .a "o" "0" 1}} {{.a | replace "o" "0"}}`: "F0o Bar F00 Bar",
		`{{Trim "..x.." "."}}{{TrimLeft "..x" "."}}{{TrimRight "x.." "."}}{{TrimPrefix "xy" "x"}}{{TrimSuffix "xy" "y"}}{{TrimSpace " x "}}`: "xxxyxx",
		`{{trim " x "}}{{trimAll "." "..x.."}}{{"xy" | trimPrefix "x"}}{{"xy" | trimSuffix "y"}}`:                                            "xxyx",
		`{{contains "oo" .a}} {{hasPrefix "Fo" .a}} {{hasSuffix "Fo" .a}}`:                                                                   "true true false",
		`{{trunc 3 .a}} {{trunc -3 .a}} {{substr 1 3 .a}} {{substr 4 -1 .a}}`:                                                                "Foo Bar oo Bar",
		`{{default "x" .missing}} {{default "x" .a}}`:                                                                                        "x Foo Bar",
		`{{alignLeft 5 "ab"}}|{{alignRight 5 "ab"}}|{{alignLeft 1 "äb"}}|{{alignRight 1 "ab"}}`:                                              "ab   |   ab|ä|b",
		`{{repeat 3 "ab"}}{{indent 2 "x\ny"}}{{nindent 1 "z"}}`:                                                                              "ababab  x\n  y\n z",
		`{{add 1 2 3}} {{sub 5 2}} {{mul 2 3 4}} {{div 7 2}} {{mod 7 2}}`:                                                                    "6 3 24 3 1",
		`{{addf 1.5 2}} {{subf 1.5 1}} {{mulf 1.5 2}} {{divf 3 2}}`:                                                                          "3.5 0.5 3 1.5",
		`{{max 1 3 2}} {{min 3 1 2}} {{maxf 1.5 1}} {{minf 1.5 1}}`:                                                                          "3 1 1.5 1",
		`{{ceil 1.2}} {{floor 1.8}} {{round 1.256 2}} {{int "42"}} {{float64 "1.5"}} {{int 3.9}}`:                                            "2 1 1.26 42 1.5 3",
		`{{regexReplaceAll "(a+)b" "xaab" "${1}c"}} {{regexReplaceAllLiteral "a" "aa" "$1"}}`:                                                "xaac $1$1",
		`{{count "o" .a}} {{.a | count "a|B"}}`:                                                                                              "2 2",
		`{{urlencode "a b&c"}} {{urldecode "a+b%26c"}} {{urldecode "%zz"}}`:                                                                  "a+b%26c a b&c %zz",
		`{{b64enc "hi"}} {{b64dec "aGk="}}`:                                                                                                  "aGk= hi",
		`{{bytes "2KB"}} {{duration "1m30s"}} {{duration_seconds "1.5s"}}`:                                                                   "2000 90 1.5",
		`{{range $k, $v := fromJson .json}}{{$k}}={{$v}};{{end}}`:                                                                            "a=1;b=[x y];",
		`{{(fromJson .json).a}}`: "1",
		`{{unixEpoch __timestamp__}} {{unixEpochMillis __timestamp__}} {{unixEpochNanos __timestamp__}}`:                "1795773600 1795773600000 1795773600000000000",
		`{{unixToTime "1795773600" | date "15:04"}} {{unixToTime "1795773600000" | date "15:04"}}`:                      "10:00 10:00",
		`{{toDate "2006-01-02" "2026-11-27" | unixEpoch}} {{toDateInZone "2006-01-02" "UTC" "2026-11-27" | unixEpoch}}`: "1795737600 1795737600",
		`{{if eq .a "Foo Bar"}}yes{{else}}no{{end}} {{with .a}}{{.}}{{end}} {{len .a}} {{printf "%05.1f|%s" 1.25 .a}}`:  "yes Foo Bar 7 001.2|Foo Bar",
		`{{$x := .a}}{{$x}} {{$.a}}`:         "Foo Bar Foo Bar",
		`{{index . "a"}}`:                    "Foo Bar",
		`{{range $i, $e := .}}{{$i}}{{end}}`: "ajson",
		`no actions`:                         "no actions",
		``:                                   "",
		`{{/* a comment */}}`:                "",
		`{{html "<"}} {{urlquery "a b"}} {{js "'"}} {{print 1 2}} {{println "x"}}`: "&lt; a+b \\' 1 2 x\n",
	} {
		got, err := runTemplate(t, text, "the line", "a", "Foo Bar", "json", `{"a":1,"b":["x","y"]}`)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{{div 1 0}}`:                                                    "division by zero",
		`{{bytes "x"}}`:                                                  "not a size such as 10KB",
		`{{duration "x"}}`:                                               "invalid duration",
		`{{unixToTime "12"}}`:                                            "5, 10, 13, 16 or 19 digits",
		`{{unixToTime "x"}}`:                                             "unable to parse time 'x'",
		`{{regexReplaceAll "(" .a "x"}}`:                                 "missing closing )",
		`{{repeat 2000000 "x"}}`:                                         "the result is longer than",
		`{{repeat -1 "x"}}`:                                              "the result is longer than",
		`{{indent 2000000 "x"}}`:                                         "the result is longer than",
		`{{alignLeft 2000000 "x"}}`:                                      "the result is longer than",
		`{{printf "%1000d" 1}}`:                                          "a width above 999",
		`{{printf "%*d" 1000000 1}}`:                                     "a width above 999",
		`{{range 1000000000}}{{end}}`:                                    "rounds of range",
		`{{range int "1000000000"}}{{end}}`:                              "rounds of range",
		`{{range 9999}}{{range 9999}}{{end}}{{end}}`:                     "rounds of range",
		`{{range 9000}}{{repeat 500 "x"}}{{end}}`:                        "the result is longer than",
		`{{$x := repeat 1000000 "x"}}{{replace "x" "xx" $x}}`:            "the result is longer than",
		`{{$x := repeat 100000 "x"}}{{regexReplaceAll "x" $x "$0$0$0"}}`: "the result is longer than",
		`{{$x := repeat 1000000 "<"}}{{html $x}}`:                        "the result is longer than",
		`{{$x := repeat 900000 "x"}}{{print $x $x}}`:                     "the result is longer than",
	} {
		_, err := runTemplate(t, text, "", "a", "x")
		require.ErrorContains(t, err, want, text)
	}
}

func TestTemplateErrorKeepsLine(t *testing.T) {
	e, _ := newEngine(t, Options{}, numbered(1)...)
	_, err := e.Logs(t.Context(), Query{Text: `{} | line_format "{{div 1 0}}"`, End: 100 * second}, func(entry *Entry) error {
		require.Equal(t, "level=error n=0 user=u0", string(entry.Line))
		require.Equal(t, errTemplate, entry.Labels.Get(errorLabel))
		require.Contains(t, entry.Labels.Get(errorDetailsLabel), "division by zero")
		return nil
	})
	require.NoError(t, err)
}

func TestTemplateLabels(t *testing.T) {
	for text, want := range map[string]string{
		`{{.a}} {{.b | ToUpper}} {{if .c}}{{.d}}{{else}}{{.e}}{{end}}`: "a b c d e",
		`{{printf "%s" (ToUpper .a)}} {{$x := .b}}{{$x}}`:              "a b",
		`{{$.a}} {{(fromJson .b).c}}`:                                  "a b",
		`{{range $i := .list}}{{.x}}{{end}}`:                           "list x",
		`{{.}}`:                                                        "all",
		`{{with .a}}{{.}}{{end}}`:                                      "a all",
		`{{index . "a"}}`:                                              "all",
		`{{__line__}}`:                                                 "",
	} {
		names, all := templateLabels(text)
		if all {
			names = append(names, "all")
		}
		require.Equal(t, want, strings.Join(names, " "), text)
	}
}
