package redact

import (
	"bytes"
	"encoding/binary"
)

// window is the length of what the scanner looks for.
const window = 4

// hits has a bit for each rule.
type hits uint64

// scanner finds in one pass, without looking at every byte, which of many short
// texts a line holds: the algorithm of Wu and Manber with blocks of two bytes.
// Nearly all lines of logs hold none of them, and no regular expression is
// tried then.
type scanner struct {
	// shift is by how much the end of a window can be moved when it is on a
	// block: 0 where a text ends with the block.
	shift [1 << 16]uint8
	// words are the texts as numbers, in a hash table with open addressing.
	words [1 << wordBits]word
	count int
}

const wordBits = 10

type word struct {
	text  uint32
	rules hits
}

func newScanner() *scanner {
	s := &scanner{}
	for i := range s.shift {
		s.shift[i] = window - 1
	}
	return s
}

// room tells whether as many windows as one more text can have will fit.
func (s *scanner) room() bool { return s.count+1<<window <= len(s.words)/2 }

// add looks for text, of which it takes the window that is rarest in logs. With
// fold it is found in any case, by ASCII.
func (s *scanner) add(rules hits, text string, fold bool) {
	best, cost := text[:window], 0
	for i := 0; i+window <= len(text); i++ {
		if c := commonness(text[i:i+window], fold); i == 0 || c < cost {
			best, cost = text[i:i+window], c
		}
	}
	s.addVariants(rules, []byte(best), 0, fold)
}

func (s *scanner) addVariants(rules hits, text []byte, from int, fold bool) {
	if from == len(text) {
		s.addWindow(rules, text)
		return
	}
	s.addVariants(rules, text, from+1, fold)
	if c := text[from] | 0x20; fold && c >= 'a' && c <= 'z' {
		other := bytes.Clone(text)
		other[from] ^= 0x20
		s.addVariants(rules, other, from+1, fold)
	}
}

func (s *scanner) addWindow(rules hits, text []byte) {
	for i := range window - 1 {
		block := binary.LittleEndian.Uint16(text[i:])
		s.shift[block] = min(s.shift[block], uint8(window-2-i))
	}
	w := binary.LittleEndian.Uint32(text)
	i := slot(w)
	for s.words[i].rules != 0 && s.words[i].text != w {
		i = (i + 1) % len(s.words)
	}
	if s.words[i].rules == 0 {
		s.count++
	}
	s.words[i].text = w
	s.words[i].rules |= rules
}

func slot(w uint32) int { return int(w * 0x9e3779b1 >> (32 - wordBits)) }

// scan returns the rules whose texts are in line.
func (s *scanner) scan(line []byte) hits {
	var found hits
	for i := window - 2; i+1 < len(line); {
		step := s.shift[binary.LittleEndian.Uint16(line[i:])]
		if step != 0 {
			i += int(step)
			continue
		}
		w := binary.LittleEndian.Uint32(line[i-(window-2):])
		for j := slot(w); s.words[j].rules != 0; j = (j + 1) % len(s.words) {
			if s.words[j].text == w {
				found |= s.words[j].rules
				break
			}
		}
		i++
	}
	return found
}

// commonness estimates how often logs have the last block of a window, which
// is what a scan stops at.
func commonness(text string, fold bool) int {
	sum := 0
	for _, c := range []byte(text[window-2:]) {
		switch {
		case c == ' ' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			sum += 4
		case fold && c >= 'A' && c <= 'Z':
			sum += 4
		case c >= 'A' && c <= 'Z' || c == '=' || c == ':' || c == '"':
			sum += 2
		default:
			sum++
		}
	}
	return sum
}
