package tail

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// clean tells whether text is valid UTF-8 without NUL.
func clean(text []byte) bool {
	return utf8.Valid(text) && bytes.IndexByte(text, 0) < 0
}

// appendClean appends text to dst with U+FFFD in place of each NUL and of each
// byte that is no UTF-8.
func appendClean(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == 0 {
			r = utf8.RuneError
		}
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}

// truncate cuts text at limit, or up to three bytes before so that no
// character is split.
func truncate(text []byte, limit int) []byte {
	end := limit
	for end > 0 && end > limit-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	if !utf8.RuneStart(text[end]) {
		end = limit
	}
	return text[:end]
}

// unescapeUnicode decodes the \uXXXX that src begins with, and the low half
// of a surrogate pair after it, into dst, which may overlap with src's
// beginning. It returns how many bytes it wrote and read.
func unescapeUnicode(dst, src []byte) (size, used int) {
	r, ok := hex4(src)
	if !ok {
		dst[0], dst[1] = src[0], src[1]
		return 2, 2
	}
	used = 6
	if utf16.IsSurrogate(r) {
		low, _ := hex4(src[6:])
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			used = 12
		}
	}
	return utf8.EncodeRune(dst, r), used
}

// hex4 returns the value of "\uXXXX".
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case (c|0x20)-'a' <= 5:
			c = (c | 0x20) - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
