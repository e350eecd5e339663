package storage

import (
	"fmt"
	"strings"

	"github.com/grafana/regexp"
	"github.com/grafana/regexp/syntax"
)

// LinePattern is a text or a regular expression to look for in a line.
type LinePattern struct {
	// Text to find, or the source of the regular expression.
	Text string
	// Regexp tells that Text is a regular expression of Go's regexp syntax.
	Regexp bool
}

// LineMatcher decides on the text of records. It holds when one of its
// patterns is found in the line, or with Negate when none is. It is immutable
// and safe for concurrent use.
type LineMatcher struct {
	Negate   bool
	Patterns []LinePattern

	compiled []linePattern
	// required are the alternatives of all patterns; nil when a pattern has none.
	required alternatives
}

// linePattern is a compiled pattern.
type linePattern struct {
	// required is what a line must have for the pattern to be found, nil when
	// that is not known.
	required alternatives
	// regexp decides when a line has that; nil when it is decided thereby.
	regexp *regexp.Regexp
}

// NewLineMatcher compiles patterns; the error names the pattern that is not a
// regular expression.
func NewLineMatcher(negate bool, patterns ...LinePattern) (*LineMatcher, error) {
	m := &LineMatcher{Negate: negate, Patterns: patterns}
	known := true
	for _, p := range patterns {
		c, err := compileLine(p)
		if err != nil {
			return nil, err
		}
		c.required.compile()
		m.compiled = append(m.compiled, c)
		m.required = append(m.required, c.required...)
		known = known && c.required != nil
	}
	if !known {
		m.required = nil
	}
	return m, nil
}

func compileLine(p LinePattern) (linePattern, error) {
	if !p.Regexp {
		if p.Text == "" {
			return linePattern{regexp: everything}, nil
		}
		return linePattern{required: alternatives{{{text: p.Text}}}}, nil
	}
	parsed, err := syntax.Parse(p.Text, syntax.Perl)
	if err != nil {
		return linePattern{}, fmt.Errorf("line filter: %w", err)
	}
	re, err := regexp.Compile(p.Text)
	if err != nil {
		return linePattern{}, fmt.Errorf("line filter: %w", err)
	}
	f := analyze(parsed.Simplify())
	required := f.alternatives()
	if f.exact != nil && required != nil {
		return linePattern{required: required}, nil
	}
	return linePattern{required: required, regexp: re}, nil
}

var everything = regexp.MustCompile("")

// Match tells whether the matcher holds for line.
func (m *LineMatcher) Match(line []byte) bool {
	for i := range m.compiled {
		if m.compiled[i].match(line) {
			return !m.Negate
		}
	}
	return m.Negate
}

func (p *linePattern) match(line []byte) bool {
	if p.required != nil && !p.required.in(line) {
		return false
	}
	return p.regexp == nil || p.regexp.Match(line)
}

// Required tells an index what to look for: a line for which the matcher holds
// contains all texts of at least one of the alternatives, letters of ASCII
// being taken for equal in either case. Nil means that nothing is known. The
// texts are in lower case.
func (m *LineMatcher) Required() [][]string {
	if m.Negate || m.required == nil {
		return nil
	}
	out := make([][]string, len(m.required))
	for i, all := range m.required {
		for _, l := range all {
			out[i] = append(out[i], lowerASCII(l.text))
		}
	}
	return out
}

// lowerASCII leaves other letters alone, unlike strings.ToLower.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// LineSearch finds lines worth a Match in a text that holds many of them, one
// behind the other.
type LineSearch struct {
	text []byte
	// anchors are one literal of each alternative and where it occurs next: -1
	// when it does not any more.
	anchors []anchor
	all     bool
}

type anchor struct {
	literal
	next int
}

// Search starts a search in text. Its memory is that of s, which may be used
// again.
func (m *LineMatcher) Search(s *LineSearch, text []byte) {
	s.text, s.anchors = text, s.anchors[:0]
	if s.all = m.Negate || m.required == nil; s.all {
		return
	}
	for _, all := range m.required {
		s.anchors = append(s.anchors, anchor{all.longest(), -2})
	}
}

// Next returns the first place at or behind from that a line for which the
// matcher holds covers at least in part: lines that end before it can be left
// out. It returns -1 when no later line can match. from must not go back.
func (s *LineSearch) Next(from int) int {
	if s.all {
		return from
	}
	first := -1
	for i := range s.anchors {
		a := &s.anchors[i]
		if a.next != -1 && a.next < from {
			if a.next = a.index(s.text[from:]); a.next >= 0 {
				a.next += from
			}
		}
		if a.next >= 0 && (first < 0 || a.next < first) {
			first = a.next
		}
	}
	return first
}
