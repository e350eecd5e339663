package logql

import "regexp"

// compileParser makes the step of a parser.
func compileParser(stage Stage, after needs) (step, error) {
	switch s := stage.(type) {
	case *JSONParser:
		if len(s.Extractions) > 0 {
			return newJSONPathStep(s.Extractions, after)
		}
		return newJSONStep(after), nil
	case *LogfmtParser:
		return newLogfmtStep(s, after), nil
	case *PatternParser:
		p, err := parsePattern(s.Pattern)
		return &patternStep{after, p}, err
	default:
		re, err := regexp.Compile(s.(*RegexpParser).Regexp)
		return &regexpStep{after, re}, err
	}
}

// patternStep extracts the captures of a pattern.
type patternStep struct {
	needs
	pattern *pattern
}

func (s *patternStep) run(line []byte, v *view) ([]byte, bool) {
	s.pattern.each(line, func(i int, value []byte) {
		if name := s.pattern.captures[i]; name != "" && s.wants(name) {
			v.extract(name, unsafeString(value))
		}
	})
	return line, true
}

// regexpStep extracts named groups.
type regexpStep struct {
	needs
	re *regexp.Regexp
}

func (s *regexpStep) run(line []byte, v *view) ([]byte, bool) {
	found := s.re.FindSubmatchIndex(line)
	if found == nil {
		return line, true
	}
	for i, name := range s.re.SubexpNames() {
		if name != "" && found[2*i] >= 0 && s.wants(name) {
			v.extract(name, unsafeString(line[found[2*i]:found[2*i+1]]))
		}
	}
	return line, true
}
