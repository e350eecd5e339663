package storage

import (
	"bytes"
	"regexp"
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

	matchers []func([]byte) bool
}

// NewLineMatcher compiles patterns; the error names the pattern that is not a
// regular expression.
func NewLineMatcher(negate bool, patterns ...LinePattern) (*LineMatcher, error) {
	m := &LineMatcher{Negate: negate, Patterns: patterns}
	for _, p := range patterns {
		if !p.Regexp {
			text := []byte(p.Text)
			m.matchers = append(m.matchers, func(line []byte) bool { return bytes.Contains(line, text) })
			continue
		}
		re, err := regexp.Compile(p.Text)
		if err != nil {
			return nil, err
		}
		m.matchers = append(m.matchers, re.Match)
	}
	return m, nil
}

// Match tells whether the matcher holds for line.
func (m *LineMatcher) Match(line []byte) bool {
	for _, matches := range m.matchers {
		if matches(line) {
			return !m.Negate
		}
	}
	return m.Negate
}
