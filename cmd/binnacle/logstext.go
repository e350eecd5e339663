package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/binnacle-obs/binnacle/storage"
)

// ANSI sequences of log lines.
const (
	ansiMark   = "\x1b[7m"
	ansiUnmark = "\x1b[27m"
)

// podColors tell pods apart. Red and yellow are those of levels.
var podColors = []string{
	"\x1b[36m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[92m", "\x1b[95m", "\x1b[94m",
}

// levelColors are empty for what is as usual.
var levelColors = map[string]string{
	storage.LevelFatal.String(): "\x1b[1;31m",
	storage.LevelError.String(): "\x1b[31m",
	storage.LevelWarn.String():  "\x1b[33m",
	storage.LevelDebug.String(): "\x1b[2m",
	storage.LevelTrace.String(): "\x1b[2m",
}

// timeLayout has all digits, so that lines are aligned.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// textFormat is for people: [namespace] pod container [time] text.
type textFormat struct {
	colored bool
	// terminal is set where control characters would act.
	terminal bool
	// prefix begins lines with pod and container, and their namespace when
	// there may be several.
	prefix, namespaces bool
	times              bool
	zone               *time.Location
	// mark, if not empty, ends the prefix of a line: context lines have
	// another one than those that match.
	mark string
}

func (f *textFormat) end() string { return "" }

func (f *textFormat) write(b *bytes.Buffer, e *logEntry, marks [][2]int) error {
	f.writePrefix(b, e)
	text := e.line
	if f.terminal {
		text, marks = visible(text, marks)
	}
	color := ""
	if f.colored && !strings.Contains(text, "\x1b[") {
		color = levelColors[e.level()]
	}
	b.WriteString(color)
	f.writeMarked(b, text, marks)
	if color != "" || f.colored && strings.Contains(text, "\x1b[") {
		b.WriteString(ansiReset)
	}
	b.WriteByte('\n')
	return nil
}

// writePrefix writes who wrote a line and when.
func (f *textFormat) writePrefix(b *bytes.Buffer, e *logEntry) {
	var parts []string
	if f.prefix {
		parts = append(parts, f.who(e.source))
	}
	if f.times {
		parts = append(parts, e.at.In(f.zone).Format(timeLayout))
	}
	if len(parts) == 0 {
		return
	}
	b.WriteString(strings.Join(parts, " ") + f.mark + " ")
}

// who names the source of a line.
func (f *textFormat) who(s *logSource) string {
	color, reset := "", ""
	if f.colored {
		color, reset = podColor(s), ansiReset
	}
	if s.pod == "" {
		return color + s.title() + reset
	}
	name := color + s.pod + reset + " " + s.container
	if f.namespaces {
		name = s.namespace + " " + name
	}
	return name
}

// title names a source that is no container of a pod.
func (s *logSource) title() string {
	if s.filename != "" {
		return s.filename
	}
	for _, name := range []string{"service_name", "job", "app", "host"} { // what other senders call themselves
		if s.labels[name] != "" {
			return s.labels[name]
		}
	}
	return "-"
}

// podColor is the same for a pod at all times.
func podColor(s *logSource) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.namespace + "/" + s.pod + s.filename))
	return podColors[h.Sum32()%uint32(len(podColors))]
}

// writeMarked writes text with the parts of interest in reverse.
func (f *textFormat) writeMarked(b *bytes.Buffer, text string, marks [][2]int) {
	at := 0
	if f.colored {
		for _, m := range marks {
			b.WriteString(text[at:m[0]] + ansiMark + text[m[0]:m[1]] + ansiUnmark)
			at = m[1]
		}
	}
	b.WriteString(text[at:])
}

// colorSequence is the one kind of terminal sequence that a line may have.
var colorSequence = regexp.MustCompile(`^\x1b\[[0-9;:]*m`)

// visible writes out the control characters of a line, which could move the
// cursor or worse, and moves marks along. Colours, tabs and line ends stay.
func visible(text string, marks [][2]int) (string, [][2]int) {
	if strings.IndexFunc(text, isControl) < 0 {
		return text, marks
	}
	var b strings.Builder
	moved := make([]int, len(text)+1)
	for i := 0; i < len(text); {
		moved[i] = b.Len()
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == '\x1b' && colorSequence.MatchString(text[i:]):
			size = len(colorSequence.FindString(text[i:]))
			b.WriteString(text[i : i+size])
		case isControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteString(text[i : i+size])
		}
		for j := 1; j < size; j++ {
			moved[i+j] = b.Len()
		}
		i += size
	}
	moved[len(text)] = b.Len()
	out := make([][2]int, len(marks))
	for i, m := range marks {
		out[i] = [2]int{moved[m[0]], moved[m[1]]}
	}
	return b.String(), out
}

// isControl tells characters that act on a terminal.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0
}

// findMarks returns the parts of text that any of the expressions match, in
// order and without overlap.
func findMarks(text string, exprs []*regexp.Regexp) [][2]int {
	var all [][2]int
	for _, re := range exprs {
		for _, m := range re.FindAllStringIndex(text, -1) {
			if m[0] < m[1] {
				all = append(all, [2]int{m[0], m[1]})
			}
		}
	}
	slices.SortFunc(all, func(a, b [2]int) int { return a[0] - b[0] })
	var out [][2]int
	for _, m := range all {
		if last := len(out) - 1; last >= 0 && m[0] <= out[last][1] {
			out[last][1] = max(out[last][1], m[1])
			continue
		}
		out = append(out, m)
	}
	return out
}
