package loki

import (
	"cmp"
	"slices"
	"strings"
)

const (
	// maxPatterns bounds what a miner keeps. Grafana shows 500 at most.
	maxPatterns = 500
	// maxPatternTokens bounds the part of a line that is looked at.
	maxPatternTokens = 120
	// alike is how many of the tokens of a line must be those of a pattern, in
	// hundredths.
	alike = 60
	// anything stands for what differs between the lines of a pattern, in
	// LogQL's pattern syntax.
	anything = "<_>"
)

// patternMiner groups lines by their shape. It follows the idea of Drain (He
// et al., 2017): lines with the same number of tokens, most of which are
// equal, are of one pattern, and tokens with digits are taken for values from
// the start.
type patternMiner struct {
	// found by number of tokens, first token and level; a line is compared to
	// the patterns of its key only.
	found map[patternKey][]*minedPattern
	n     int
	left  int // lines that fit nowhere when there were maxPatterns
}

type patternKey struct {
	tokens int
	first  string
	level  string
}

type minedPattern struct {
	level  string
	tokens []string
	counts map[int64]int64
	total  int64
}

// pattern is a result.
type pattern struct {
	text, level string
	samples     []patternSample
	total       int64
}

type patternSample struct{ time, count int64 }

func newPatternMiner() *patternMiner {
	return &patternMiner{found: make(map[patternKey][]*minedPattern)}
}

// add counts a line at a time.
func (m *patternMiner) add(line []byte, level string, at int64) {
	tokens := patternTokens(string(line))
	if len(tokens) == 0 {
		return
	}
	key := patternKey{len(tokens), tokens[0], level}
	best := m.closest(key, tokens)
	if best == nil {
		if m.n == maxPatterns {
			m.left++
			return
		}
		best = &minedPattern{level: level, tokens: tokens, counts: make(map[int64]int64)}
		m.found[key] = append(m.found[key], best)
		m.n++
	}
	for i, token := range tokens {
		if best.tokens[i] != token {
			best.tokens[i] = anything
		}
	}
	best.counts[at]++
	best.total++
}

// closest returns the pattern that is most like the tokens, nil if none is
// enough so.
func (m *patternMiner) closest(key patternKey, tokens []string) *minedPattern {
	var best *minedPattern
	most := len(tokens)*alike/100 - 1
	for _, p := range m.found[key] {
		equal := 0
		for i, token := range tokens {
			if p.tokens[i] == token || p.tokens[i] == anything {
				equal++
			}
		}
		if equal > most {
			best, most = p, equal
		}
	}
	return best
}

// patternTokens splits a line into words and what is between them, and
// replaces words that have a digit.
func patternTokens(line string) []string {
	var tokens []string
	for len(line) > 0 {
		if len(tokens) == maxPatternTokens {
			return append(tokens, anything)
		}
		n := strings.IndexFunc(line, func(r rune) bool { return !inWord(r) })
		if n < 0 {
			n = len(line)
		}
		if n == 0 {
			if n = strings.IndexFunc(line, inWord); n < 0 {
				n = len(line)
			}
			tokens = append(tokens, line[:n])
		} else if word := line[:n]; strings.ContainsAny(word, "0123456789") {
			tokens = append(tokens, anything)
		} else {
			tokens = append(tokens, word)
		}
		line = line[n:]
	}
	return tokens
}

func inWord(r rune) bool {
	return r > '~' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./+@%-", r)
}

// patterns returns what was found, the most frequent first. Patterns that
// have become equal are joined.
func (m *patternMiner) patterns() []pattern {
	joined := make(map[[2]string]map[int64]int64)
	for _, list := range m.found {
		for _, p := range list {
			key := [2]string{joinTokens(p.tokens), p.level}
			if joined[key] == nil {
				joined[key] = make(map[int64]int64)
			}
			for at, n := range p.counts {
				joined[key][at] += n
			}
		}
	}
	out := make([]pattern, 0, len(joined))
	for key, counts := range joined {
		p := pattern{text: key[0], level: key[1]}
		for at, n := range counts {
			p.samples = append(p.samples, patternSample{at, n})
			p.total += n
		}
		slices.SortFunc(p.samples, func(x, y patternSample) int { return cmp.Compare(x.time, y.time) })
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y pattern) int {
		return cmp.Or(cmp.Compare(y.total, x.total), cmp.Compare(x.text, y.text), cmp.Compare(x.level, y.level))
	})
	return out
}

// joinTokens writes neighbours that stand for anything once: the pattern
// syntax does not allow one after the other, and the parts of a time of day are
// one value.
func joinTokens(tokens []string) string {
	var b strings.Builder
	for i, token := range tokens {
		after := i > 0 && tokens[i-1] == anything
		switch {
		case token == anything && (after || i > 1 && tokens[i-1] == ":" && tokens[i-2] == anything):
		case token == ":" && after && i+1 < len(tokens) && tokens[i+1] == anything:
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}
