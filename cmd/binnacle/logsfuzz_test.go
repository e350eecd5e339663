package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzLogAnswer reads answers of a server and prints what is in them.
func FuzzLogAnswer(f *testing.F) {
	f.Add([]byte(answerOf(cartLines...)))
	f.Add([]byte(cartLines[3].wire()))
	f.Add([]byte(`{"progress":{"entries":1,"dropped":2}}` + "\n" + `{"end":{"entries":1,"warnings":["x"]}}` + "\n"))
	f.Add([]byte(`{"ns":"9223372036854775807","labels":null,"line":"\u001b[31m\u009b\u0000","metadata":{"level":"error"}}` + "\n" + endLine(1, false)))
	f.Fuzz(func(t *testing.T, answer []byte) {
		p := &process{stderr: io.Discard, stdout: io.Discard, now: time.Now, zone: time.UTC, columns: func(io.Writer) int { return 80 }}
		c := &logClient{client: &client{p: p, settings: clientSettings{addr: "http://x", quiet: true}}, sources: map[string]*logSource{}}
		marks := []*regexp.Regexp{regexp.MustCompile(`.`)}
		formats := []lineFormat{
			&textFormat{colored: true, terminal: true, prefix: true, namespaces: true, times: true, zone: time.UTC},
			rawFormat{},
			jsonlFormat{},
			&jsonFormat{},
		}
		entries := 0
		end, err := c.readLines(t.Context(), bytes.NewReader(answer), func(e *logEntry) error {
			entries++
			for _, format := range formats {
				var b bytes.Buffer
				if err := format.write(&b, e, findMarks(e.line, marks)); err != nil {
					return err
				}
			}
			return nil
		}, func() error { return nil })
		if err == nil && !bytes.Contains(answer, []byte("end")) && !bytes.Contains(answer, []byte("END")) && !bytes.Contains(answer, []byte(`\u`)) {
			t.Fatalf("an answer without its last line is taken for a whole one: %+v, %d entries", end, entries)
		}
		if err != nil && errors.Is(err, io.EOF) {
			t.Fatal("a plain io.EOF is no explanation")
		}
	})
}

// FuzzVisible checks that no line acts on a terminal.
func FuzzVisible(f *testing.F) {
	for _, text := range []string{"plain", "a\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b2J", "\x1b[2J", "é\r\x7f\x1b", "\x1b[31"} {
		f.Add(text, 0, 1)
	}
	f.Fuzz(func(t *testing.T, text string, from, to int) {
		if !utf8.ValidString(text) || from < 0 || from > to || to > len(text) {
			return
		}
		got, marks := visible(text, [][2]int{{from, to}})
		plain := regexp.MustCompile(`\x1b\[[0-9;:]*m`).ReplaceAllString(got, "")
		if strings.IndexFunc(plain, isControl) >= 0 {
			t.Fatalf("%q is shown as %q", text, got)
		}
		if m := marks[0]; m[0] < 0 || m[0] > m[1] || m[1] > len(got) {
			t.Fatalf("%q [%d:%d] is shown as %q %v", text, from, to, got, m)
		}
	})
}

// FuzzSelector reads label selectors: what is accepted is one condition each.
func FuzzSelector(f *testing.F) {
	for _, text := range []string{"a=b", "a==b,c!=d", "a in (b, c),d notin (e)", "a,!b", "a/b.c-d=e", "a in (", ",", "a=b}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		matchers, err := parseSelector(text)
		if err != nil || checkLabels(matchers, nil) != nil {
			return
		}
		sel := selection{matchers: matchers}
		if got := len(selectorCondition.FindAllString(sel.expression(nil), -1)); got != len(matchers) {
			t.Fatalf("%q is %s: %d conditions for %d", text, sel.expression(nil), got, len(matchers))
		}
		selectorHolds(sel.expression(nil), testLabels("a/b/c/0/stdout"))
	})
}

// FuzzTarget reads targets: every name that is accepted gives a regular
// expression.
func FuzzTarget(f *testing.F) {
	for _, text := range []string{"deploy/cart", "cart-.*", "/var/log/x", "pod/a", "svc/a", "deploy/", "/", "job/" + strings.Repeat("a", 70), "deployments.apps/" + strings.Repeat("b", 57)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTarget(text)
		w, ok := workloadTypes[got.kind]
		if err != nil || !ok {
			return
		}
		for _, expr := range []string{w.podNames(got.name), podPrefix(got.name)} {
			if _, err := regexp.Compile(expr); err != nil {
				t.Fatal(err)
			}
		}
	})
}
