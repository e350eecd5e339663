package storage

import (
	"bytes"
	"strings"
)

// literal is a text that a line must contain.
type literal struct {
	// text is in lower case if fold is set.
	text string
	// fold tells that letters of ASCII match in either case.
	fold bool
	// bytes are those of text, and anchor is the place of the one that occurs
	// least, once the pattern is compiled.
	bytes  []byte
	anchor int
}

// index returns where the literal first occurs in line, or -1.
func (l literal) index(line []byte) int {
	if l.fold {
		return indexFold(line, l.text, l.anchor)
	}
	return indexRare(line, l.bytes, l.anchor)
}

// compile prepares the literals for index.
func (a alternatives) compile() {
	for _, all := range a {
		for i := range all {
			all[i].bytes, all[i].anchor = []byte(all[i].text), rarest(all[i].text)
		}
	}
}

// literals must all be in a line.
type literals []literal

func (ls literals) longest() literal {
	best := ls[0]
	for _, l := range ls[1:] {
		if len(l.text) > len(best.text) {
			best = l
		}
	}
	return best
}

// alternatives are literals of which one set must be in a line as a whole. Nil
// asks for nothing. No set is empty.
type alternatives []literals

func (a alternatives) in(line []byte) bool {
next:
	for _, all := range a {
		for _, l := range all {
			if l.index(line) < 0 {
				continue next
			}
		}
		return true
	}
	return false
}

// score tells how much alternatives rule out: the length of the longest
// literal of the weakest set.
func (a alternatives) score() int {
	score := 0
	for i, all := range a {
		if n := len(all.longest().text); i == 0 || n < score {
			score = n
		}
	}
	return score
}

// and returns what asks for both a and b, or for the better one of them if
// that has too many sets.
func (a alternatives) and(b alternatives) alternatives {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case len(a)*len(b) > maxAlternatives:
		if a.score() >= b.score() {
			return a
		}
		return b
	}
	var out alternatives
	for _, x := range a {
		for _, y := range b {
			out = append(out, append(append(literals{}, x...), y...))
		}
	}
	return out
}

// byteRank are bytes from the most frequent one in logs down. What is not in it
// is rarer.
const byteRank = ` e0ta1io2ns3r45l6d789c"u:m.p-/h,g=fbwyvk_TAEIS[]{}()`

// rarest is the place of the byte of text that is likely to occur least.
func rarest(text string) int {
	best, rank := 0, -1
	for i := range len(text) {
		r := strings.IndexByte(byteRank, text[i])
		if r < 0 {
			r = len(byteRank)
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}

// indexRare is bytes.Index, but goes by the byte at anchor instead of the
// first one: where that is rare, most of line is never looked at twice.
func indexRare(line, text []byte, anchor int) int {
	c, hits := text[anchor], 0
	for i := anchor; i < len(line); i++ {
		next := bytes.IndexByte(line[i:], c)
		if next < 0 {
			return -1
		}
		i += next
		at := i - anchor
		if at+len(text) > len(line) {
			return -1
		}
		if string(line[at:at+len(text)]) == string(text) {
			return at
		}
		if hits++; hits > 16+i/rareEnough {
			return indexBehind(line, text, at+1)
		}
	}
	return -1
}

// rareEnough is how many bytes must lie between two anchors, on average, for
// bytes.Index not to be faster.
const rareEnough = 16

func indexBehind(line, text []byte, from int) int {
	i := bytes.Index(line[from:], text)
	if i < 0 {
		return -1
	}
	return from + i
}

// indexFold is bytes.Index for a text in lower case; letters of ASCII in line
// are taken for their lower case. It goes by the byte at the given place.
func indexFold(line []byte, text string, at int) int {
	lower := text[at]
	upper := lower
	if 'a' <= lower && lower <= 'z' {
		upper -= 'a' - 'A'
	}
	last := len(line) - len(text) + at
	nextLower, nextUpper := at-1, at-1
	if upper == lower {
		nextUpper = len(line)
	}
	for i := at; i <= last; i++ {
		if nextLower < i {
			nextLower = indexByteFrom(line, i, lower)
		}
		if nextUpper < i {
			nextUpper = indexByteFrom(line, i, upper)
		}
		if i = min(nextLower, nextUpper); i > last {
			return -1
		}
		if equalFoldAt(line[i-at:], text) {
			return i - at
		}
	}
	return -1
}

// indexByteFrom returns len(b) when there is no more c.
func indexByteFrom(b []byte, from int, c byte) int {
	i := bytes.IndexByte(b[from:], c)
	if i < 0 {
		return len(b)
	}
	return from + i
}

func equalFoldAt(line []byte, text string) bool {
	for i := range len(text) {
		c := line[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != text[i] {
			return false
		}
	}
	return true
}
