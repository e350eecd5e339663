package logql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/buger/jsonparser"
)

const (
	// maxJSONDepth bounds the nesting that is looked into: each level is read
	// again by the one around it.
	maxJSONDepth = 16
	// maxJSONName bounds the joined names of nested members.
	maxJSONName = 1024
)

var (
	errStop     = errors.New("all labels found")
	errNoObject = errors.New("the line is no JSON object")
)

// jsonStep extracts the members of a JSON object, those of nested objects with
// joined names: {"a":{"b":1}} is a_b="1". Arrays are left out.
type jsonStep struct {
	wanted
	prefix []byte
	depth  int
	view   *view
	visit  func(key, value []byte, typ jsonparser.ValueType, offset int) error
}

func newJSONStep(after needs) *jsonStep {
	s := &jsonStep{wanted: wanted{needs: after}}
	s.visit = s.member // made once: a method value allocates
	return s
}

func (s *jsonStep) run(line []byte, v *view) ([]byte, bool) {
	s.begin(v)
	if s.done() {
		return line, true
	}
	s.view, s.prefix, s.depth = v, s.prefix[:0], 0
	if !startsWith(line, '{') {
		v.setError(errJSON, errNoObject.Error())
		return line, true
	}
	if err := jsonparser.ObjectEach(line, s.visit); err != nil && !errors.Is(err, errStop) {
		v.setError(errJSON, err.Error())
	}
	return line, true
}

// startsWith tells whether the first byte of a line that is no space is c.
func startsWith(line []byte, c byte) bool {
	for _, b := range line {
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b == c
		}
	}
	return false
}

func (s *jsonStep) member(key, value []byte, typ jsonparser.ValueType, _ int) error {
	switch typ {
	case jsonparser.Array, jsonparser.Null, jsonparser.NotExist:
		return nil
	case jsonparser.Object:
		return s.object(key, value)
	}
	name, ok := s.name(key)
	if !ok || !s.wants(name) {
		return nil
	}
	text := jsonText(value, typ, s.view)
	if len(s.prefix) > 0 || !isLabelName(unsafeString(key)) {
		name = s.view.keep(unsafeBytes(name))
	}
	s.offer(s.view, name, text)
	if s.done() {
		return errStop
	}
	return nil
}

// name joins key to the names around it, in a buffer that the next call uses
// again.
func (s *jsonStep) name(key []byte) (string, bool) {
	text := strings.TrimSpace(unsafeString(key))
	if text == "" || len(s.prefix)+len(text) > maxJSONName {
		return "", false
	}
	if len(s.prefix) == 0 && isLabelName(text) {
		return text, true
	}
	before := len(s.prefix)
	s.appendKey(text)
	name := s.prefix
	s.prefix = s.prefix[:before]
	return unsafeString(name), true
}

func (s *jsonStep) appendKey(key string) {
	if len(s.prefix) == 0 {
		s.prefix = appendLabelName(s.prefix, key)
		return
	}
	s.prefix = appendNamePart(append(s.prefix, '_'), key)
}

func (s *jsonStep) object(key, value []byte) error {
	text := strings.TrimSpace(unsafeString(key))
	before := len(s.prefix)
	if text == "" || before+len(text) > maxJSONName {
		return nil
	}
	s.appendKey(text)
	s.depth++
	defer func() { s.prefix, s.depth = s.prefix[:before], s.depth-1 }()
	if s.depth >= maxJSONDepth || !s.wantsPrefix(unsafeString(s.prefix)) {
		return nil
	}
	return jsonparser.ObjectEach(value, s.visit)
}

// jsonText is the text of a member: that of a string without escapes.
func jsonText(value []byte, typ jsonparser.ValueType, v *view) string {
	if typ != jsonparser.String {
		return unsafeString(value)
	}
	return unescape(value, v)
}

// unescape resolves JSON's escapes; a text with wrong ones stays as it is.
func unescape(value []byte, v *view) string {
	if strings.IndexByte(unsafeString(value), '\\') < 0 {
		return unsafeString(value)
	}
	out, err := jsonparser.Unescape(value, nil)
	if err != nil {
		return unsafeString(value)
	}
	return v.keep(out)
}

// jsonPathStep extracts what is at given paths of a JSON line.
type jsonPathStep struct {
	needs
	names []string
	paths [][]string
}

func newJSONPathStep(list []Extraction, after needs) (*jsonPathStep, error) {
	s := &jsonPathStep{needs: after}
	for _, x := range list {
		path, err := parseJSONPath(x.Path)
		if err != nil {
			return nil, err
		}
		s.names, s.paths = append(s.names, x.Label), append(s.paths, path)
	}
	return s, nil
}

func (s *jsonPathStep) run(line []byte, v *view) ([]byte, bool) {
	if !startsWith(line, '{') && !startsWith(line, '[') {
		v.setError(errJSON, errNoObject.Error())
		return line, true
	}
	for i, path := range s.paths {
		if !s.wants(s.names[i]) {
			continue
		}
		value, typ, _, err := jsonparser.Get(line, path...)
		switch {
		case errors.Is(err, jsonparser.KeyPathNotFoundError), err == nil && typ == jsonparser.Null:
		case err != nil:
			v.setError(errJSON, err.Error())
			return line, true
		default:
			v.extract(s.names[i], jsonText(value, typ, v))
		}
	}
	return line, true
}

func checkJSONPath(path string) error {
	_, err := parseJSONPath(path)
	return err
}

// parseJSONPath reads a.b, a[0] and ["a b"] into the keys of jsonparser.
func parseJSONPath(path string) ([]string, error) {
	wrong := func() ([]string, error) {
		return nil, fmt.Errorf(`cannot parse expression [%s]: a path such as a.b[0]["c d"] is needed`, path)
	}
	var keys []string
	for rest := path; rest != ""; {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if strings.HasPrefix(rest, `["`) {
				end = strings.Index(rest[2:], `"]`) + 3
				if end < 3 {
					return wrong()
				}
				keys = append(keys, rest[2:end-1])
			} else if end < 2 || strings.Trim(rest[1:end], "0123456789") != "" {
				return wrong()
			} else {
				keys = append(keys, rest[:end+1])
			}
			rest = rest[end+1:]
			continue
		}
		rest = strings.TrimPrefix(rest, ".")
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return wrong()
		}
		keys = append(keys, rest[:end])
		rest = rest[end:]
		if rest == "." {
			return wrong()
		}
	}
	if len(keys) == 0 {
		return wrong()
	}
	return keys, nil
}

// unpackStep extracts the string members of a JSON object; _entry becomes the
// line.
type unpackStep struct {
	needs
	entry []byte
	view  *view
}

func newUnpackStep(after needs) step { return &unpackStep{needs: after} }

func (s *unpackStep) run(line []byte, v *view) ([]byte, bool) {
	if !startsWith(line, '{') {
		v.setError(errJSON, errNoObject.Error())
		return line, true
	}
	s.view, s.entry = v, nil
	if err := jsonparser.ObjectEach(line, s.member); err != nil {
		v.setError(errJSON, err.Error())
		return line, true
	}
	if s.entry != nil {
		return s.entry, true
	}
	return line, true
}

func (s *unpackStep) member(key, value []byte, typ jsonparser.ValueType, _ int) error {
	if typ != jsonparser.String {
		return nil
	}
	text := unescape(value, s.view)
	if string(key) == "_entry" {
		s.entry = unsafeBytes(text)
		return nil
	}
	if name := labelName(unsafeString(key), s.view); name != "" && s.wants(name) {
		s.view.extract(name, text)
	}
	return nil
}
