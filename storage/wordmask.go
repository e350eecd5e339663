package storage

import "encoding/binary"

// blockBytes is how many bytes of a line letterBits looks at.
const blockBytes = 64

// Each byte of a word of eight holds this.
const (
	eachHigh = 0x8080808080808080
	eachOne  = 0x0101010101010101
)

// letterBits has a bit for each of b's first bytes that is an ASCII letter.
// Words are then found by counting zeros: looking at byte after byte costs a
// mispredicted branch at either end of each word.
func letterBits(b []byte) (letters uint64) {
	if len(b) < blockBytes {
		var padded [blockBytes]byte
		copy(padded[:], b)
		b = padded[:]
	}
	b = b[:blockBytes]
	for i := 0; i < blockBytes; i += 8 {
		letters |= gather(highLetters(binary.LittleEndian.Uint64(b[i:]))) << i
	}
	return letters
}

// highLetters sets the high bit of each of x's bytes that is a letter.
func highLetters(x uint64) uint64 {
	lower := x&^eachHigh | 0x20*eachOne
	return (lower + (0x80-'a')*eachOne) &^ (lower + (0x7f-'z')*eachOne) &^ x & eachHigh
}

// gather moves the high bits of eight bytes into one byte.
func gather(x uint64) uint64 { return (x >> 7) * 0x0102040810204080 >> 56 }

// clearColours takes the colour sequences of a terminal out of the letters of b.
func clearColours(letters uint64, b []byte) uint64 {
	b = b[:min(len(b), blockBytes)]
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b {
			continue
		}
		for end := i + colourEnd(b[i:]); i < end; i++ {
			letters &^= 1 << i
		}
		i--
	}
	return letters
}

// colourEnd returns the length of the colour sequence of a terminal that b
// begins with, or 1.
func colourEnd(b []byte) int {
	for i := 1; i < len(b) && i < 12; i++ {
		if b[i] == 'm' {
			return i + 1
		}
	}
	return 1
}
