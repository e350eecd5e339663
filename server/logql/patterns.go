package logql

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	// maxPatterns bounds the patterns that a PatternMiner keeps; the one that
	// was seen least recently makes room.
	maxPatterns = 300
	// maxPatternTokens and maxPatternBytes bound how much of a line is looked at.
	maxPatternTokens = 120
	maxPatternBytes  = 4096
	// patternSimilarity is the share of words that a line and a pattern must
	// have in common.
	patternSimilarity = 0.5
	wildcard          = "<_>"
)

// LinePatternCount is a form that lines have in common: text with <_> where
// they differ.
type LinePatternCount struct {
	Pattern string
	// Total is the number of lines, Buckets those by the time at which each
	// step begins, in ns.
	Total   int64
	Buckets map[int64]int64
}

// PatternMiner groups lines by their form, in the manner of Drain: lines with
// as many tokens and the same first word are compared with the patterns found
// so far, and join the most similar one or found a new one. Words with digits
// are never part of a pattern. It is not for concurrent use; its memory is
// bounded.
type PatternMiner struct {
	step     int64
	clusters map[clusterKey][]*cluster
	count    int
	clock    int64
	tokens   []string
}

// clusterKey is what lines must share to be compared at all.
type clusterKey struct {
	tokens int
	first  string
}

type cluster struct {
	key     clusterKey
	tokens  []string
	total   int64
	buckets map[int64]int64
	used    int64
}

// NewPatternMiner counts lines in steps of this width.
func NewPatternMiner(step time.Duration) *PatternMiner {
	return &PatternMiner{step: max(int64(step), 1), clusters: map[clusterKey][]*cluster{}}
}

// Add counts a line.
func (m *PatternMiner) Add(t int64, line []byte) {
	m.tokens = splitTokens(m.tokens[:0], unsafeString(line[:min(len(line), maxPatternBytes)]))
	if len(m.tokens) == 0 {
		return
	}
	m.clock++
	key := clusterKey{len(m.tokens), m.tokens[0]}
	c := m.closest(key)
	if c == nil {
		c = m.found(key)
	}
	for i, token := range m.tokens {
		if c.tokens[i] != token {
			c.tokens[i] = wildcard
		}
	}
	c.used = m.clock
	c.total++
	c.buckets[t-t%m.step]++
}

func (m *PatternMiner) closest(key clusterKey) *cluster {
	var best *cluster
	least := patternSimilarity
	for _, c := range m.clusters[key] {
		words, same, fits := 0, 0, true
		for i, token := range m.tokens {
			if isDelimiter(token) {
				fits = fits && c.tokens[i] == token
				continue
			}
			words++
			if c.tokens[i] == token {
				same++
			}
		}
		share := 1.0
		if words > 0 {
			share = float64(same) / float64(words)
		}
		if fits && share >= least {
			best, least = c, share
		}
	}
	return best
}

// found begins a pattern with the line at hand.
func (m *PatternMiner) found(key clusterKey) *cluster {
	if m.count >= maxPatterns {
		m.evict()
	}
	m.count++
	key.first = strings.Clone(key.first)
	c := &cluster{key: key, tokens: make([]string, len(m.tokens)), buckets: map[int64]int64{}}
	for i, token := range m.tokens {
		c.tokens[i] = strings.Clone(token)
	}
	m.clusters[key] = append(m.clusters[key], c)
	return c
}

func (m *PatternMiner) evict() {
	var oldest *cluster
	for _, list := range m.clusters {
		for _, c := range list {
			if oldest == nil || c.used < oldest.used {
				oldest = c
			}
		}
	}
	rest := slices.DeleteFunc(m.clusters[oldest.key], func(c *cluster) bool { return c == oldest })
	if len(rest) == 0 {
		delete(m.clusters, oldest.key)
	} else {
		m.clusters[oldest.key] = rest
	}
	m.count--
}

// Patterns returns what was found, the most frequent first.
func (m *PatternMiner) Patterns() []LinePatternCount {
	var list []LinePatternCount
	for _, clusters := range m.clusters {
		for _, c := range clusters {
			list = append(list, LinePatternCount{joinTokens(c.tokens), c.total, c.buckets})
		}
	}
	slices.SortFunc(list, func(a, b LinePatternCount) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Pattern, b.Pattern))
	})
	return list
}

// joinTokens writes runs of wildcards as one.
func joinTokens(tokens []string) string {
	text := strings.Join(tokens, "")
	for strings.Contains(text, wildcard+wildcard) {
		text = strings.ReplaceAll(text, wildcard+wildcard, wildcard)
	}
	return text
}

func isDelimiter(token string) bool { return len(token) == 1 && isDelimiterByte(token[0]) }

func isDelimiterByte(c byte) bool { return strings.IndexByte(" \t\n=,;:\"'{}[]()|", c) >= 0 }

// splitTokens appends words and delimiters of a line; words with digits become
// wildcards.
func splitTokens(dst []string, line string) []string {
	for line != "" {
		if len(dst) == maxPatternTokens {
			return append(dst, wildcard)
		}
		if isDelimiterByte(line[0]) {
			dst, line = append(dst, line[:1]), line[1:]
			continue
		}
		end, digits := 0, false
		for end < len(line) && !isDelimiterByte(line[end]) {
			digits = digits || isDigit(line[end])
			end++
		}
		word := line[:end]
		if digits {
			word = wildcard
		}
		dst, line = append(dst, word), line[end:]
	}
	return dst
}
