package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// linePattern is what grep looks for.
type linePattern struct {
	re     *regexp.Regexp
	invert bool
	// texts are the alternatives when all of them are plain texts.
	texts []string
}

// pattern combines the patterns of the command line. As with grep, a pattern
// of several lines is as many alternatives.
func (s *grepSettings) pattern(patterns []string) (*linePattern, error) {
	var all []string
	for _, p := range patterns {
		all = append(all, strings.Split(p, "\n")...)
	}
	plain := !s.ignoreCase
	exprs := make([]string, len(all))
	for i, p := range all {
		exprs[i] = regexp.QuoteMeta(p)
		if s.fixed {
			if !utf8.ValidString(p) {
				return nil, usagef("the pattern %q is not UTF-8: no line matches it", p)
			}
			continue
		}
		if _, err := compilePattern(p); err != nil {
			return nil, usagef("the pattern %w", err)
		}
		plain = plain && exprs[i] == p
		exprs[i] = p
	}
	expr := s.flags() + anyRegexp(exprs)
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, usagef("the pattern %w", err)
	}
	out := &linePattern{re: re, invert: s.invert}
	if plain || s.fixed && !s.ignoreCase {
		out.texts = all
	}
	return out, nil
}

// flags of regular expressions: ^ and $ are the ends of each line of a record,
// not of the record.
func (s *grepSettings) flags() string {
	if s.ignoreCase {
		return "(?im)"
	}
	return "(?m)"
}

// filters are the conditions of the query for the lines that match. The server
// does all the matching.
func (p *linePattern) filters() []lineFilter {
	switch {
	case p.texts == nil && p.invert:
		return []lineFilter{{"!~", []string{p.re.String()}}}
	case p.texts == nil:
		return []lineFilter{{"|~", []string{p.re.String()}}}
	case !p.invert:
		return []lineFilter{{"|=", p.texts}}
	}
	var out []lineFilter
	for _, text := range p.texts { // none of them
		out = append(out, lineFilter{"!=", []string{text}})
	}
	return out
}

// matches tells whether grep wants a line.
func (p *linePattern) matches(line string) bool {
	return p.re.MatchString(line) != p.invert
}
