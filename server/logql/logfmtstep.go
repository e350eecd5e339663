package logql

import (
	"bytes"
	"errors"
	"fmt"
)

// logfmtStep extracts key=value pairs.
type logfmtStep struct {
	wanted
	strict, keepEmpty bool
	// renamed are the labels of keys, nil when all keys are extracted.
	renamed map[string][]string
}

func newLogfmtStep(s *LogfmtParser, after needs) *logfmtStep {
	step := &logfmtStep{wanted: wanted{needs: after}, strict: s.Strict, keepEmpty: s.KeepEmpty}
	if len(s.Extractions) > 0 {
		step.renamed = map[string][]string{}
	}
	for _, x := range s.Extractions {
		step.renamed[x.Path] = append(step.renamed[x.Path], x.Label)
	}
	return step
}

var errLogfmtKey = errors.New("expected a key")

// checkLogfmtKey refuses what cannot be a key.
func checkLogfmtKey(key string) error {
	if key == "" || bytes.ContainsAny([]byte(key), " =\"") {
		return fmt.Errorf("cannot parse expression [%s]: it is no key of logfmt", key)
	}
	return nil
}

func (s *logfmtStep) run(line []byte, v *view) ([]byte, bool) {
	s.begin(v)
	for rest := line; !s.done(); {
		var p logfmtPair
		p, rest = nextPair(rest)
		if p.err != nil {
			if s.strict {
				v.setError(errLogfmt, fmt.Sprintf("logfmt syntax error at pos %d: %s", len(line)-len(rest)+1, p.err))
				return line, true
			}
			continue
		}
		if p.key == nil {
			return line, true
		}
		if len(p.value) == 0 && !s.keepEmpty {
			continue
		}
		s.pair(v, p)
	}
	return line, true
}

func (s *logfmtStep) pair(v *view, p logfmtPair) {
	if s.renamed != nil {
		for _, name := range s.renamed[string(p.key)] {
			s.offer(v, name, p.text(v))
		}
		return
	}
	name := labelName(unsafeString(p.key), v)
	if s.wants(name) {
		s.offer(v, name, p.text(v))
	}
}

// logfmtPair is a key and its raw value.
type logfmtPair struct {
	key, value []byte
	quoted     bool
	err        error
}

func (p logfmtPair) text(v *view) string {
	if p.quoted {
		return unescape(p.value, v)
	}
	return unsafeString(p.value)
}

var errQuote = errors.New("unterminated quoted value")

// nextPair reads a pair and returns what follows it; the key is nil at the end
// of the line. After an error the rest begins at the next space.
func nextPair(b []byte) (logfmtPair, []byte) {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	if len(b) == 0 {
		return logfmtPair{}, nil
	}
	end := 0
	for end < len(b) && b[end] > ' ' && b[end] != '=' && b[end] != '"' {
		end++
	}
	p := logfmtPair{key: b[:end]}
	b = b[end:]
	switch {
	case end == 0, len(b) > 0 && b[0] == '"':
		p.err = errLogfmtKey
		return p, skipWord(b)
	case len(b) == 0 || b[0] != '=':
		return p, b
	}
	b = b[1:]
	if len(b) == 0 || b[0] != '"' {
		rest := skipWord(b)
		p.value = b[:len(b)-len(rest)]
		return p, rest
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			p.value, p.quoted = b[1:i], true
			return p, b[i+1:]
		}
	}
	p.err = errQuote
	return p, nil
}

func skipWord(b []byte) []byte {
	for len(b) > 0 && b[0] > ' ' {
		b = b[1:]
	}
	return b
}
