package logdb

import (
	"encoding/binary"
	"math/bits"
)

// The skip index of a block is a bitmap of the trigrams of its text: a text
// with a trigram that is not in the bitmap is not in the block. Letters of
// ASCII are folded to lower case, so that it serves queries of either kind.
const (
	// skipMaxLog is the logarithm of the bits of a bitmap before it is folded.
	skipMaxLog = 16
	// skipMinLog keeps bitmaps whole words.
	skipMinLog   = 6
	skipMaxWords = 1 << (skipMaxLog - 6)
	// skipDensity is the reciprocal of how full a bitmap may be for its halves
	// to be laid one upon the other: then it is at most twice as full.
	skipDensity = 8
	// skipMultiplier spreads trigrams over the bits (2^32 divided by the golden
	// ratio).
	skipMultiplier = 0x9E3779B1
)

// foldTable maps letters of ASCII to lower case.
var foldTable = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// trigramBit is the bit of a trigram in a bitmap that is not folded. Folding
// drops high bits.
func trigramBit(trigram uint32) uint32 {
	return trigram * skipMultiplier >> (32 - skipMaxLog)
}

// skipBuilder makes the bitmaps of blocks.
type skipBuilder struct {
	words [skipMaxWords]uint64
}

// build appends the bitmap of text to dst and returns the logarithm of its
// bits. Trigrams across the border of two lines get in too; they do no harm.
func (b *skipBuilder) build(dst, text []byte) (out []byte, log uint8) {
	clear(b.words[:])
	if len(text) >= 3 {
		v := uint32(foldTable[text[0]])<<8 | uint32(foldTable[text[1]])
		for _, c := range text[2:] {
			v = (v<<8 | uint32(foldTable[c])) & 0xFFFFFF
			bit := trigramBit(v)
			b.words[bit>>6%skipMaxWords] |= 1 << (bit & 63)
		}
	}
	words := b.words[:]
	log = skipMaxLog
	for log > skipMinLog && ones(words)*skipDensity <= 1<<log {
		half := len(words) / 2
		for i := range half {
			words[i] |= words[half+i]
		}
		words = words[:half]
		log--
	}
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst, log
}

func ones(words []uint64) int {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(w)
	}
	return n
}

// skipBytes is the size of a bitmap.
func skipBytes(log uint8) int { return 1 << log / 8 }

// skipTerm is a text that must be in a block, as the bits of its trigrams.
type skipTerm []uint32

// newSkipTerm returns nil for texts that are too short to tell anything.
func newSkipTerm(text string) skipTerm {
	var t skipTerm
	for i := 2; i < len(text); i++ {
		t = append(t, trigramBit(uint32(foldTable[text[i-2]])<<16|uint32(foldTable[text[i-1]])<<8|uint32(foldTable[text[i]])))
	}
	return t
}

// in tells whether the text may be in the block of a bitmap.
func (t skipTerm) in(bitmap []byte) bool {
	mask := uint32(len(bitmap)*8 - 1)
	for _, bit := range t {
		bit &= mask
		if bitmap[bit>>3]&(1<<(bit&7)) == 0 {
			return false
		}
	}
	return true
}

// skipFilter is what the line matchers of a query ask of a block: for each
// matcher one of its alternatives, and of that every term.
type skipFilter [][][]skipTerm

// admits tells whether a block with this bitmap may have matching lines.
func (f skipFilter) admits(bitmap []byte) bool {
	for _, alternatives := range f {
		if !anyIn(alternatives, bitmap) {
			return false
		}
	}
	return true
}

func anyIn(alternatives [][]skipTerm, bitmap []byte) bool {
	for _, terms := range alternatives {
		all := true
		for _, t := range terms {
			if !t.in(bitmap) {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}
