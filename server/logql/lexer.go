package logql

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxQueryBytes bounds the text of a query. Queries made by Grafana stay far
// below; what the parser does per byte is thereby bounded too.
const MaxQueryBytes = 128 << 10

// lex splits a query into tokens, the last of which is tokEOF.
func lex(text string) ([]token, error) {
	if len(text) > MaxQueryBytes {
		return nil, &ParseError{Line: 1, Column: 1, Msg: fmt.Sprintf("query is too long: %d bytes, at most %d are allowed", len(text), MaxQueryBytes)}
	}
	l := &lexer{text: text}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == tokEOF {
			return tokens, nil
		}
	}
}

type lexer struct {
	text string
	pos  int
}

// errorAt is a ParseError at a byte offset of text.
func errorAt(text string, pos int, format string, args ...any) *ParseError {
	pos = min(pos, len(text))
	before := text[:pos]
	line := strings.Count(before, "\n") + 1
	return &ParseError{
		Line:   line,
		Column: utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1,
		Msg:    fmt.Sprintf(format, args...),
	}
}

func (l *lexer) skipSpace() {
	for l.pos < len(l.text) {
		switch l.text[l.pos] {
		case ' ', '\t', '\n', '\r':
			l.pos++
		case '#':
			end := strings.IndexByte(l.text[l.pos:], '\n')
			if end < 0 {
				end = len(l.text) - l.pos
			}
			l.pos += end
		default:
			return
		}
	}
}

// operators, longest first.
var operators = []string{
	"|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=",
	"{", "}", "(", ")", ",", "|", "=", ">", "<", "+", "-", "*", "/", "%", "^", ".", "@", ":", "$",
}

func (l *lexer) next() (token, error) {
	l.skipSpace()
	start := l.pos
	if start == len(l.text) {
		return token{kind: tokEOF, pos: start, end: start}, nil
	}
	rest := l.text[start:]
	switch c := rest[0]; {
	case c == '"' || c == '`':
		return l.quoted()
	case c == '[':
		return l.rangeToken()
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return l.number()
	case isIdentStart(c):
		l.pos += identLen(rest)
		return token{kind: tokIdent, text: l.text[start:l.pos], pos: start, end: l.pos}, nil
	case strings.HasPrefix(rest, "--") && len(rest) > 2 && isIdentStart(rest[2]):
		l.pos += 2
		for l.pos < len(l.text) && (isIdentPart(l.text[l.pos]) || l.text[l.pos] == '-') {
			l.pos++
		}
		return token{kind: tokFlag, text: l.text[start:l.pos], pos: start, end: l.pos}, nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.pos += len(op)
			return token{kind: tokOp, text: op, pos: start, end: l.pos}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, errorAt(l.text, start, "unexpected character %q", r)
}

func (l *lexer) quoted() (token, error) {
	start := l.pos
	quote := l.text[start]
	for i := start + 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == quote:
			l.pos = i + 1
			raw := l.text[start:l.pos]
			if quote == '`' {
				return token{kind: tokString, text: raw[1 : len(raw)-1], pos: start, end: l.pos}, nil
			}
			s, err := strconv.Unquote(raw)
			if err != nil {
				return token{}, errorAt(l.text, start, "invalid escape in string %s; in backquotes nothing needs an escape", raw)
			}
			return token{kind: tokString, text: s, pos: start, end: l.pos}, nil
		case c == '\\' && quote == '"':
			i++
		case c == '\n' && quote == '"':
			return token{}, errorAt(l.text, start, "literal not terminated")
		}
	}
	return token{}, errorAt(l.text, start, "literal not terminated")
}

func (l *lexer) rangeToken() (token, error) {
	start := l.pos
	end := strings.IndexByte(l.text[start:], ']')
	if end < 0 {
		return token{}, errorAt(l.text, start, "missing closing ']' in duration")
	}
	l.pos = start + end + 1
	text := strings.TrimSpace(l.text[start+1 : l.pos-1])
	if strings.ContainsRune(text, ':') {
		return token{}, errorAt(l.text, start, "subqueries ([range:step]) are not supported")
	}
	d, err := parseDuration(text)
	if err != nil {
		return token{}, errorAt(l.text, start+1, "not a valid duration string: %q", text)
	}
	if d <= 0 || d > maxOffset {
		return token{}, errorAt(l.text, start+1, "duration must be greater than 0 and at most 50y: %q", text)
	}
	return token{kind: tokRange, text: text, number: float64(d), pos: start, end: l.pos}, nil
}

// number reads a number, a duration (5m, 1h30m) or a size (10KB).
func (l *lexer) number() (token, error) {
	start := l.pos
	i := start
	for i < len(l.text) && (isIdentPart(l.text[i]) || l.text[i] == '.' || l.text[i] >= utf8.RuneSelf ||
		(l.text[i] == '+' || l.text[i] == '-') && isExponent(l.text[start:i])) {
		i++
	}
	text := l.text[start:i]
	l.pos = i
	t := token{text: text, pos: start, end: i}
	if n, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsRune(text, '_') {
		t.kind, t.number = tokNumber, n
		return t, nil
	}
	if n, err := strconv.ParseInt(text, 0, 64); err == nil && !strings.ContainsRune(text, '_') {
		t.kind, t.number = tokNumber, float64(n)
		return t, nil
	}
	if d, err := parseDuration(text); err == nil {
		t.kind, t.number = tokDuration, float64(d)
		return t, nil
	}
	if n, err := parseBytes(text); err == nil {
		t.kind, t.number = tokBytes, float64(n)
		return t, nil
	}
	return t, errorAt(l.text, start, "%q is no number, duration (5m) or size (10KB)", text)
}

// isExponent tells whether a sign after text belongs to its exponent.
func isExponent(text string) bool {
	if len(text) < 2 || strings.HasPrefix(text, "0x") {
		return false
	}
	last := text[len(text)-1]
	return last == 'e' || last == 'E'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func isIdentPart(c byte) bool { return isIdentStart(c) || isDigit(c) }

func identLen(s string) int {
	n := 0
	for n < len(s) && isIdentPart(s[n]) {
		n++
	}
	return n
}
