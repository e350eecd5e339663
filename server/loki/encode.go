package loki

import (
	"bytes"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD, as in
// encoding/json, whose writer is several times slower for it also cares for
// HTML.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := decodeRune(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, c)
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

func decodeRune[T string | []byte](s T) (rune, int) {
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}

// appendEscaped appends a byte that cannot stand for itself.
func appendEscaped(b []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, '\\', 'n')
	case c == '\t':
		return append(b, '\\', 't')
	case c == '\r':
		return append(b, '\\', 'r')
	case c >= utf8.RuneSelf:
		return append(b, "\ufffd"...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendLabels appends l as a JSON object.
func appendLabels(b []byte, l labels.Labels) []byte {
	b = append(b, '{')
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, l.Name)
		b = append(b, ':')
		b = appendString(b, l.Value)
	})
	return append(b, '}')
}

// labelsCache keeps the JSON of labels that come again and again.
type labelsCache struct {
	known map[uint64]encodedLabels // by hash
}

type encodedLabels struct {
	labels labels.Labels
	json   []byte
}

// maxEncoded bounds a cache; when it is full it begins anew.
const maxEncoded = 1000

// append is appendLabels.
func (c *labelsCache) append(b []byte, l labels.Labels) []byte {
	if l.IsEmpty() {
		return append(b, "{}"...)
	}
	hash := l.Hash()
	if known, ok := c.known[hash]; ok && labels.Equal(known.labels, l) {
		return append(b, known.json...)
	}
	if c.known == nil || len(c.known) >= maxEncoded {
		c.known = make(map[uint64]encodedLabels)
	}
	start := len(b)
	b = appendLabels(b, l)
	c.known[hash] = encodedLabels{l, bytes.Clone(b[start:])}
	return b
}

// appendNanoseconds appends a point in time as Loki writes those of entries.
func appendNanoseconds(b []byte, ns int64) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, ns, 10)
	return append(b, '"')
}

// appendSeconds appends a point in time as Prometheus writes those of samples:
// with up to three decimal places.
func appendSeconds(b []byte, ms int64) []byte {
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
}

// appendPoint appends a sample: seconds, and the value as a string.
func appendPoint(b []byte, ms int64, v float64) []byte {
	b = append(b, '[')
	b = appendSeconds(b, ms)
	b = append(b, ',', '"')
	switch {
	case math.IsInf(v, 1):
		b = append(b, "+Inf"...)
	case math.IsInf(v, -1):
		b = append(b, "-Inf"...)
	default:
		b = strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	return append(b, '"', ']')
}

// milliseconds of a point in time in nanoseconds.
func milliseconds(ns int64) int64 { return ns / int64(time.Millisecond) }

// appendStrings appends a JSON array of strings.
func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}
