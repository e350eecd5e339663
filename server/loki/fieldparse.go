package loki

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/go-logfmt/logfmt"
)

// maxFieldDepth bounds how deep objects in JSON lines are looked into.
const maxFieldDepth = 8

// json notes the fields of a line that is a JSON object.
func (d *detection) json(line []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return false
	}
	d.object(object, nil)
	return true
}

func (d *detection) object(object map[string]any, path []string) {
	for key, value := range object {
		path := append(slices.Clone(path), key)
		switch v := value.(type) {
		case map[string]any:
			if len(path) < maxFieldDepth {
				d.object(v, path)
			}
		case string:
			d.note(fieldName(path), v, "json", path)
		case json.Number:
			d.note(fieldName(path), v.String(), "json", path)
		case bool:
			d.note(fieldName(path), strconv.FormatBool(v), "json", path)
		}
	}
}

// fieldName is the label that the json parser of LogQL makes of a path.
func fieldName(path []string) string {
	return labelName(strings.Join(path, "_"))
}

// labelName replaces what a label cannot have in its name.
func labelName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	if clean != "" && clean[0] >= '0' && clean[0] <= '9' {
		return "_" + clean
	}
	return clean
}

// logfmt notes the fields of a line that has key=value pairs.
func (d *detection) logfmt(line []byte) {
	if bytes.IndexByte(line, '=') < 0 {
		return
	}
	decoder := logfmt.NewDecoder(bytes.NewReader(line))
	if !decoder.ScanRecord() {
		return
	}
	for decoder.ScanKeyval() {
		if len(decoder.Key()) > 0 && len(decoder.Value()) > 0 {
			d.note(labelName(string(decoder.Key())), string(decoder.Value()), "logfmt", nil)
		}
	}
}

// kindOf returns the name that Loki has for the type of a value.
func kindOf(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return "int"
	}
	if _, err := strconv.ParseFloat(value, 64); err == nil {
		return "float"
	}
	if value == "true" || value == "false" {
		return "boolean"
	}
	if _, err := time.ParseDuration(value); err == nil {
		return "duration"
	}
	if _, err := humanize.ParseBytes(value); err == nil {
		return "bytes"
	}
	return "string"
}

// commonKind fits values of both kinds.
func commonKind(a, b string) string {
	if numbers := []string{"int", "float"}; slices.Contains(numbers, a) && slices.Contains(numbers, b) {
		return "float"
	}
	return "string"
}
