package storage

import (
	"bytes"
	"math/bits"
)

// Classes of bytes in a line of text.
const (
	classOther byte = iota
	classLower
	classUpper
	classDigit // and the underscore: part of words that are no level
)

var byteClass = func() (class [256]byte) {
	for c := range class {
		switch {
		case c >= 'a' && c <= 'z', c >= 0x80: // of UTF-8, mostly letters
			class[c] = classLower
		case c >= 'A' && c <= 'Z':
			class[c] = classUpper
		case c >= '0' && c <= '9', c == '_':
			class[c] = classDigit
		}
	}
	return class
}()

func isWordByte(c byte) bool { return byteClass[c] != classOther }

// wordEnd returns how many letters b begins with.
func wordEnd(b []byte) int {
	n := 0
	for n < len(b) && (byteClass[b[n]] == classLower || byteClass[b[n]] == classUpper) {
		n++
	}
	return n
}

// nameLengths has bit n set for each first letter (without its case) with
// which a level's name, or a key of isTextLevelKey, of n letters begins: few
// words get past it.
var nameLengths = func() (lengths [32]uint32) {
	for _, name := range []string{
		"trace", "trc", "trce", "debug", "dbg", "dbug", "info", "inf", "information", "informational", "note", "notice",
		"warn", "wrn", "warning", "error", "err", "eror", "fail", "severe", "fatal", "ftl", "critical", "crit",
		"panic", "pnc", "dpanic", "alert", "emerg", "emergency", "verbose", "vrb", "finest",
		"lvl", "sev", "level", "severity", "loglevel", "priority", "levelname", "severitytext",
	} {
		lengths[name[0]&31] |= 1 << len(name)
	}
	return lengths
}()

// textLevel looks for a level among the words of a line's beginning.
func textLevel(line []byte) Level {
	colours := bytes.IndexByte(line, 0x1b) >= 0
	for pos := 0; pos < len(line); {
		letters := letterBits(line[pos:])
		if colours {
			letters = clearColours(letters, line[pos:])
		}
		starts, ends := letters&^(letters<<1), letters<<1&^letters
		for ; ends != 0; starts, ends = starts&(starts-1), ends&(ends-1) {
			start, end := pos+bits.TrailingZeros64(starts), pos+bits.TrailingZeros64(ends)
			if nameLengths[line[start]&31]>>min(end-start, 31)&1 == 0 {
				continue
			}
			if l := wordLevel(line, start, end); l != LevelUnknown {
				return l
			}
		}
		if starts == 0 {
			pos += blockBytes
			continue
		}
		// A word reaches to the end of the block.
		start := pos + bits.TrailingZeros64(starts)
		if pos+blockBytes >= len(line) {
			return wordLevel(line, start, len(line))
		}
		if start > pos {
			pos = start
			continue
		}
		pos += blockBytes // no name is that long
	}
	return LevelUnknown
}

// wordLevel looks at the letters line[start:end]. Digits and underscores may
// be around them: log_level=error.
func wordLevel(line []byte, start, end int) Level {
	if end < len(line) && (line[end] == '=' || line[end] == ':' || line[end] == '"') {
		if l := keyedLevel(line[start:end], line[end:]); l != LevelUnknown {
			return l
		}
	}
	if l := parseLevel(line[start:end]); l != LevelUnknown && statesLevel(line, start, end) {
		return l
	}
	return LevelUnknown
}

// negated tells whether the word before line[start:] denies what follows: "no
// ERROR", "0 ERROR".
func negated(line []byte, start int) bool {
	if start < 2 || line[start-1] != ' ' {
		return false
	}
	end := start - 1
	begin := end
	for begin > 0 && byteClass[line[begin-1]] != classOther {
		begin--
	}
	switch word := line[begin:end]; len(word) {
	case 1:
		return word[0] == '0'
	case 2:
		return equalFold(word, "no")
	case 3:
		return equalFold(word, "not")
	case 4:
		return equalFold(word, "zero")
	case 7:
		return equalFold(word, "without")
	}
	return false
}

// keyedLevel returns the level in level=warn, "level": "warn" and the like.
// rest is what follows name.
func keyedLevel(name, rest []byte) Level {
	if !isTextLevelKey(name) {
		return LevelUnknown
	}
	if rest[0] == '"' {
		rest = rest[1:]
	}
	if len(rest) < 2 || rest[0] != '=' && rest[0] != ':' {
		return LevelUnknown
	}
	rest = trimLevelSpace(rest[1:])
	if len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'') {
		rest = rest[1:]
	}
	n := wordEnd(rest)
	if n == 0 {
		return numberLevel(rest)
	}
	if n < len(rest) && isWordByte(rest[n]) {
		return LevelUnknown
	}
	return parseLevel(rest[:n])
}

// isTextLevelKey leaves out the keys of one letter: they are words in text.
func isTextLevelKey(name []byte) bool {
	return len(name) >= 3 && isLevelKey(name)
}

// statesLevel tells whether the name of a level at line[start:end] stands
// where programs put their level, and not in the middle of a sentence.
func statesLevel(line []byte, start, end int) bool {
	before, after := byte(' '), byte(' ')
	if start > 0 {
		before = line[start-1]
	}
	if end < len(line) {
		after = line[end]
	}
	if bracketed(line, start, end) || before == '\t' && after == '\t' {
		return true
	}
	if negated(line, start) {
		return false
	}
	if byteClass[line[start]] == classUpper && byteClass[line[end-1]] == classUpper {
		return bytes.IndexByte(beforeCapitals, before) >= 0 && bytes.IndexByte(afterCapitals, after) >= 0
	}
	// "error: …" at the beginning, "gcc: error: …" behind a name.
	if after == ':' && end-start > 3 {
		return before == ' ' && (start >= 2 && line[start-2] == ':' || isFirstWord(line[:start]))
	}
	return start == 0 && hasFatalError(line)
}

// isFirstWord tells whether there are no words of letters alone in before.
func isFirstWord(before []byte) bool {
	for i := 0; i < len(before); i++ {
		letters := true
		start := i
		for ; i < len(before) && byteClass[before[i]] != classOther; i++ {
			letters = letters && byteClass[before[i]] != classDigit
		}
		if letters && i > start {
			return false
		}
	}
	return true
}

// What is around a level in capitals. An m ends a terminal's colour sequence,
// an escape begins one.
var (
	beforeCapitals = []byte(" \t[(|:,\"'>m")
	afterCapitals  = []byte(" \t])|:,\"'</\x1b")
)

// hasFatalError knows Go's runtime, which has no colon behind the first word.
func hasFatalError(line []byte) bool { return bytes.HasPrefix(line, []byte("fatal error:")) }

// bracketed tells whether a word is alone within brackets: [error], [ info],
// <Warning>, or the last one in [core:error].
func bracketed(line []byte, start, end int) bool {
	for end < len(line) && line[end] == ' ' {
		end++
	}
	if end >= len(line) || line[end] != ']' && line[end] != '>' {
		return false
	}
	for start > 0 && line[start-1] == ' ' {
		start--
	}
	return start > 0 && (line[start-1] == '[' || line[start-1] == '<' || line[start-1] == ':' && line[end] == ']')
}
