package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// maxDepth bounds how deep lists and maps may be nested in a value.
	maxDepth = 32
	// maxValue bounds the value of an attribute, maxName its name.
	maxValue = 64 << 10
	maxName  = 1 << 10
)

var errDepth = errors.New("lists and maps are nested too deep, at most 32 levels are taken")

// text is the text of an AnyValue: strings as they are, lists and maps as JSON,
// bytes as base64.
func text(value []byte) ([]byte, error) {
	v, err := lastField(value)
	if err != nil {
		return nil, err
	}
	switch v.number {
	case anyString:
		return v.message("string_value")
	case anyBytes:
		content, err := v.message("bytes_value")
		return base64.StdEncoding.AppendEncode(nil, content), err
	case 0:
		return nil, nil
	case anyDouble:
		return strconv.AppendFloat(nil, math.Float64frombits(v.bits), 'g', -1, 64), nil
	}
	return appendJSON(nil, v, 0)
}

// lastField is the field that counts of an AnyValue, whose fields are a oneof;
// its number is 0 if there is none.
func lastField(value []byte) (last field, err error) {
	err = fields(value, func(f field) error {
		if f.number >= anyString && f.number <= anyBytes {
			last = f
		}
		return nil
	})
	return last, err
}

// appendJSON appends an AnyValue as JSON.
func appendJSON(dst []byte, v field, depth int) ([]byte, error) {
	switch v.number {
	case anyBool:
		return strconv.AppendBool(dst, v.bits != 0), nil
	case anyInt:
		return strconv.AppendInt(dst, int64(v.bits), 10), nil
	case anyDouble:
		number := math.Float64frombits(v.bits)
		if math.IsNaN(number) || math.IsInf(number, 0) {
			return appendQuoted(dst, []byte(strconv.FormatFloat(number, 'g', -1, 64))), nil
		}
		return strconv.AppendFloat(dst, number, 'g', -1, 64), nil
	case anyString:
		content, err := v.message("string_value")
		return appendQuoted(dst, content), err
	case anyBytes:
		content, err := v.message("bytes_value")
		return appendQuoted(dst, base64.StdEncoding.AppendEncode(nil, content)), err
	case anyArray:
		return appendList(dst, v, depth, '[', ']', appendAny)
	case anyKVList:
		return appendList(dst, v, depth, '{', '}', appendKeyValue)
	}
	return append(dst, "null"...), nil
}

// appendList appends an ArrayValue or KeyValueList.
func appendList(dst []byte, v field, depth int, begin, end byte, each func([]byte, []byte, int) ([]byte, error)) ([]byte, error) {
	if depth == maxDepth {
		return nil, errDepth
	}
	message, err := v.message("list")
	if err != nil {
		return nil, err
	}
	dst = append(dst, begin)
	err = fields(message, func(f field) error {
		if f.number != listValues {
			return nil
		}
		item, err := f.message("values")
		if err != nil {
			return err
		}
		if dst[len(dst)-1] != begin {
			dst = append(dst, ',')
		}
		dst, err = each(dst, item, depth+1)
		return err
	})
	return append(dst, end), err
}

func appendAny(dst, value []byte, depth int) ([]byte, error) {
	v, err := lastField(value)
	if err != nil {
		return nil, err
	}
	return appendJSON(dst, v, depth)
}

func appendKeyValue(dst, message []byte, depth int) ([]byte, error) {
	key, value, err := keyValue(message)
	if err != nil {
		return nil, err
	}
	return appendAny(append(appendQuoted(dst, key), ':'), value, depth)
}

// keyValue splits a KeyValue.
func keyValue(message []byte) (key, value []byte, err error) {
	err = fields(message, func(f field) (err error) {
		switch f.number {
		case keyValueKey:
			key, err = f.message("key")
		case keyValueValue:
			value, err = f.message("value")
		}
		return err
	})
	return key, value, err
}

// appendQuoted appends a string of JSON. Invalid UTF-8 becomes U+FFFD.
func appendQuoted(dst, s []byte) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(s)) // strings always have a form in JSON
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// clean returns s with U+FFFD in place of invalid UTF-8 and NUL bytes.
func clean(s []byte) (out []byte, replaced bool) {
	if utf8.Valid(s) && bytes.IndexByte(s, 0) < 0 {
		return s, false
	}
	s = bytes.ToValidUTF8(s, []byte("\uFFFD"))
	return bytes.ReplaceAll(s, []byte{0}, []byte("\uFFFD")), true
}

// cut returns at most limit bytes of s, which is valid UTF-8, and no half of a
// character.
func cut(s []byte, limit int) (out []byte, truncated bool) {
	if len(s) <= limit {
		return s, false
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit], true
}

// value is the text of an attribute, clean and cut.
func (d *decoder) value(message []byte, limit int) (string, error) {
	s, err := text(message)
	if err != nil {
		return "", err
	}
	return d.tidy(s, limit), nil
}

// tidy cleans and cuts.
func (d *decoder) tidy(s []byte, limit int) string {
	s, replaced := clean(s)
	s, truncated := cut(s, limit)
	if replaced {
		d.batch.Replaced++
	}
	if truncated {
		d.batch.Truncated++
	}
	return strings.Clone(string(s))
}

// isBytes tells whether an AnyValue holds bytes.
func isBytes(f field) bool { return f.number == anyBytes && f.kind == protowire.BytesType }
