package redact

import (
	"encoding/binary"
)

const (
	// window is the length of what the scanner looks for.
	window = 4
	// blockBits and wordBits are the sizes of its tables: the first fits into
	// the fastest cache, with few blocks that collide.
	blockBits = 14
	wordBits  = 11
	// foldMask makes lower case of letters, and something of other characters
	// that is the same in lines and in what is looked for.
	foldMask = 0x2020202020202020
)

// hits has a bit for each rule.
type hits uint64

// scanner finds in one pass which of many short texts a line holds, in any case.
// Nearly all lines of logs hold none, and no regular expression is tried then.
//
// A text of four bytes has a block of three that begins at an even place,
// wherever it is in the line. So only these blocks are looked up, three at a
// time, in a table of the hashes of blocks that texts have; none of these steps
// waits for another.
type scanner struct {
	blocks [1 << blockBits]uint8
	// words are the texts as numbers, in a hash table with open addressing.
	words [1 << wordBits]word
}

type word struct {
	text  uint32
	rules hits
}

// add looks for text, of which it takes the window that is rarest in logs.
func (s *scanner) add(rules hits, text string) {
	best, cost := text[:window], 0
	for i := 0; i+window <= len(text); i++ {
		if c := commonness(text[i : i+window]); i == 0 || c < cost {
			best, cost = text[i:i+window], c
		}
	}
	w := fold32([]byte(best))
	s.blocks[mix(uint64(w&0xffffff))%(1<<blockBits)] = 1
	s.blocks[mix(uint64(w>>8))%(1<<blockBits)] = 1
	i := wordSlot(w)
	for s.words[i].rules != 0 && s.words[i].text != w {
		i = (i + 1) % len(s.words)
	}
	s.words[i].text = w
	s.words[i].rules |= rules
}

func fold32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) | foldMask&0xffffffff }

// mix spreads each block of three bytes over the 14 bits that begin where the
// block does. It is a poor hash, but one for all blocks of a number at once.
func mix(v uint64) uint64 { return v ^ v>>10 }

func wordSlot(w uint32) int { return int(w * 0x9e3779b1 >> (32 - wordBits)) }

// scan returns the rules whose texts are in line.
func (s *scanner) scan(line []byte) hits {
	const step = 6 // bytes that three blocks at even places advance
	var found hits
	rest := line
	for len(rest) >= 8 {
		v := mix(binary.LittleEndian.Uint64(rest) | foldMask)
		if s.blocks[v%(1<<blockBits)]|s.blocks[v>>16%(1<<blockBits)]|s.blocks[v>>32%(1<<blockBits)] != 0 {
			i := len(line) - len(rest)
			found |= s.verify(line, i-1, i+step-1)
		}
		rest = rest[step:]
	}
	return found | s.verify(line, len(line)-len(rest)-1, len(line))
}

// verify compares the texts with the line at the places [from, to).
func (s *scanner) verify(line []byte, from, to int) hits {
	var found hits
	for i := max(from, 0); i < min(to, len(line)-window+1); i++ {
		w := fold32(line[i:])
		for j := wordSlot(w); s.words[j].rules != 0; j = (j + 1) % len(s.words) {
			if s.words[j].text == w {
				found |= s.words[j].rules
				break
			}
		}
	}
	return found
}

// commonness estimates how often logs have a text.
func commonness(text string) int {
	sum := 0
	for _, c := range []byte(text) {
		switch {
		case c == ' ' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			sum += 4
		case c == '=' || c == ':' || c == '"' || c == '/':
			sum += 3
		default:
			sum++
		}
	}
	return sum
}
