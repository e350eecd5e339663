package tail

import (
	"bytes"

	"github.com/buger/jsonparser"
)

// parseJSONFile parses a line as Docker's json-file driver writes it:
//
//	{"log":"text\n","stream":"stderr","time":"2016-10-06T00:17:09.669794202Z"}
//
// An entry whose log does not end in a line feed goes on in the next one of
// the same output: Docker splits at 16 KiB. The text is unescaped within line.
func parseJSONFile(c *clock, line []byte) (entry, string) {
	text, out, when, ok := cutJSONFile(line)
	if !ok {
		var err error
		if text, out, when, err = lookupJSONFile(line); err != nil {
			return entry{}, malformedJSON
		}
	}
	var e entry
	switch string(out) {
	case "stdout":
	case "stderr":
		e.out = stderr
	default:
		return e, malformedOutput
	}
	if e.time, ok = c.parse(when); !ok {
		return e, malformedTime
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		e.text = unescapeJSON(text)
	} else {
		e.text = text
	}
	if n := len(e.text); n > 0 && e.text[n-1] == '\n' {
		e.text = e.text[:n-1]
	} else {
		e.partial = true
	}
	return e, ""
}

// cutJSONFile finds the three values of a line that has exactly Docker's
// order of keys. text is still escaped.
func cutJSONFile(line []byte) (text, out, when []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"log":"`))
	if !ok {
		return nil, nil, nil, false
	}
	end := stringEnd(rest)
	if end < 0 {
		return nil, nil, nil, false
	}
	text = rest[:end]
	if rest, ok = bytes.CutPrefix(rest[end:], []byte(`","stream":"`)); !ok {
		return nil, nil, nil, false
	}
	if out, rest, ok = bytes.Cut(rest, []byte(`","time":"`)); !ok {
		return nil, nil, nil, false
	}
	if when, rest, ok = bytes.Cut(rest, []byte{'"'}); !ok {
		return nil, nil, nil, false
	}
	return text, out, when, len(rest) == 1 && rest[0] == '}'
}

// stringEnd returns the index of the quote that ends a JSON string, -1 for none.
func stringEnd(b []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return -1
		}
		i += j
		k := i
		for k > 0 && b[k-1] == '\\' {
			k--
		}
		if (i-k)%2 == 0 {
			return i
		}
		i++
	}
}

// lookupJSONFile finds the values in any order and beside others, as with
// Docker's options labels and env ("attrs").
func lookupJSONFile(line []byte) (text, out, when []byte, err error) {
	if n := len(line); n == 0 || line[n-1] != '}' {
		return nil, nil, nil, jsonparser.MalformedObjectError
	}
	if text, err = jsonString(line, "log"); err != nil {
		return nil, nil, nil, err
	}
	if out, err = jsonString(line, "stream"); err != nil {
		return nil, nil, nil, err
	}
	when, err = jsonString(line, "time")
	return text, out, when, err
}

func jsonString(line []byte, key string) ([]byte, error) {
	v, kind, _, err := jsonparser.Get(line, key)
	if err == nil && kind != jsonparser.String {
		err = jsonparser.MalformedStringError
	}
	return v, err
}

// unescapeJSON unescapes within b, which never gets longer by it. A lone
// surrogate becomes U+FFFD, an escape that JSON does not know stays.
func unescapeJSON(b []byte) []byte {
	n := bytes.IndexByte(b, '\\')
	for i := n; i < len(b); {
		if b[i] != '\\' || i+1 == len(b) {
			b[n] = b[i]
			n, i = n+1, i+1
			continue
		}
		if b[i+1] == 'u' {
			size, used := unescapeUnicode(b[n:], b[i:])
			n, i = n+size, i+used
			continue
		}
		if c := simpleEscapes[b[i+1]]; c != 0 {
			b[n] = c
			n++
		} else {
			b[n], b[n+1] = b[i], b[i+1]
			n += 2
		}
		i += 2
	}
	return b[:n]
}

var simpleEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}
