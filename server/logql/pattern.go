package logql

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// pattern is a text with <captures>: literals[i] stands before captures[i],
// and one more literal, perhaps empty, at the end. A capture named "" is <_>.
type pattern struct {
	literals [][]byte
	captures []string
}

var (
	errNoCapture   = errors.New("at least one capture is required, such as <name>")
	errConsecutive = errors.New("found consecutive capture: between two of them there must be text")
)

// splitPattern finds the captures of a pattern. Angle brackets around what is
// no name are text.
func splitPattern(s string) (*pattern, error) {
	p := &pattern{}
	literal := []byte{}
	for s != "" {
		open := strings.IndexByte(s, '<')
		if open < 0 {
			break
		}
		name, rest, ok := strings.Cut(s[open+1:], ">")
		if !ok || !isLabelName(name) {
			literal = append(literal, s[:open+1]...)
			s = s[open+1:]
			continue
		}
		literal = append(literal, s[:open]...)
		if len(literal) == 0 && len(p.captures) > 0 {
			return nil, errConsecutive
		}
		if name == "_" {
			name = ""
		}
		p.literals, p.captures = append(p.literals, literal), append(p.captures, name)
		literal, s = []byte{}, rest
	}
	p.literals = append(p.literals, append(literal, s...))
	return p, nil
}

// parsePattern reads the pattern of a pattern stage.
func parsePattern(s string) (*pattern, error) {
	p, err := splitPattern(s)
	if err != nil {
		return nil, fmt.Errorf("invalid pattern: %w", err)
	}
	seen := map[string]bool{}
	for _, name := range p.captures {
		if name != "" && seen[name] {
			return nil, fmt.Errorf("invalid pattern: duplicate capture name (%s)", name)
		}
		seen[name] = name != ""
	}
	delete(seen, "")
	if len(seen) == 0 {
		return nil, fmt.Errorf("invalid pattern: %w", errNoCapture)
	}
	return p, nil
}

// parseLinePattern reads the pattern of |> and !>, which has no names.
func parseLinePattern(s string) (*pattern, error) {
	p, err := splitPattern(s)
	if err != nil {
		return nil, fmt.Errorf("invalid pattern: %w", err)
	}
	for _, name := range p.captures {
		if name != "" {
			return nil, fmt.Errorf("invalid pattern: <%s> captures, a line filter takes <_> only", name)
		}
	}
	return p, nil
}

// each calls found with the captures of a line, in order. The first literal
// must be at the start of the line; a capture reaches to the next literal, or
// to the end of the line where that is missing.
func (p *pattern) each(line []byte, found func(i int, value []byte)) {
	if !bytes.HasPrefix(line, p.literals[0]) {
		return
	}
	line = line[len(p.literals[0]):]
	for i := range p.captures {
		next := p.literals[i+1]
		end := bytes.Index(line, next)
		if len(next) == 0 {
			end = len(line)
		}
		if end < 0 {
			found(i, line)
			return
		}
		found(i, line[:end])
		line = line[end+len(next):]
	}
}

// matchLine tells whether the whole line has the form of the pattern, where
// <_> stands for at least one byte; a pattern without literal at an end is
// free there.
func (p *pattern) matchLine(line []byte) bool {
	if len(p.captures) == 0 {
		return bytes.Contains(line, p.literals[0])
	}
	if !bytes.HasPrefix(line, p.literals[0]) {
		return false
	}
	line = line[len(p.literals[0]):]
	last := len(p.captures) - 1
	for _, literal := range p.literals[1 : last+1] {
		if len(line) == 0 {
			return false
		}
		end := bytes.Index(line[1:], literal)
		if end < 0 {
			return false
		}
		line = line[1+end+len(literal):]
	}
	tail := p.literals[last+1]
	return len(line) > len(tail) && bytes.HasSuffix(line, tail)
}
