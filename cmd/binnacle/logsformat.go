package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// Formats of -o beside those of output.go.
const (
	formatDefault  = "default"
	templatePrefix = "template="
)

// formatValue takes the formats of log lines.
func formatValue(target *string) setting {
	choices := []string{formatDefault, formatJSON, formatJSONL, formatRaw}
	return &single[string]{
		target: target, kind: strings.Join(choices, "|") + "|template=…",
		format: func(s string) string {
			if s == formatDefault {
				return "" // said by its name
			}
			return s
		},
		parse: func(s string) (string, error) {
			if text, ok := strings.CutPrefix(s, templatePrefix); ok {
				_, err := parseTemplate(text)
				return s, err
			}
			if !slices.Contains(choices, s) {
				return "", fmt.Errorf("%q is not one of %s or template=…%s", s, strings.Join(choices, ", "), didYouMean(s, choices))
			}
			return s, nil
		},
	}
}

// logRecord is an entry as json and templates show it. What is not known is
// absent.
type logRecord struct {
	Timestamp string            `json:"timestamp"`
	Namespace string            `json:"namespace,omitempty"`
	Pod       string            `json:"pod,omitempty"`
	UID       string            `json:"uid,omitempty"`
	Container string            `json:"container,omitempty"`
	Restart   *int              `json:"restart,omitempty"`
	Node      string            `json:"node,omitempty"`
	Level     string            `json:"level,omitempty"`
	Message   string            `json:"message"`
	Labels    map[string]string `json:"labels,omitempty"`
	Flags     []string          `json:"flags,omitempty"`
}

// newLogRecord sorts the labels of an entry into fields; Labels has the rest.
func newLogRecord(e *logEntry) *logRecord {
	rest := maps.Clone(e.source.labels)
	if rest == nil {
		rest = map[string]string{}
	}
	maps.Copy(rest, e.metadata)
	maps.Copy(rest, e.parsed)
	take := func(name string) string {
		value := rest[name]
		delete(rest, name)
		return value
	}
	r := &logRecord{
		Timestamp: e.at.UTC().Format(time.RFC3339Nano),
		Namespace: take(storage.LabelNamespace),
		Pod:       take(storage.LabelPod),
		UID:       take(storage.LabelUID),
		Container: take(storage.LabelContainer),
		Node:      take(storage.LabelNode),
		Level:     take(storage.LabelLevel),
		Message:   e.line,
		Labels:    rest,
		Flags:     e.flags,
	}
	if n, err := strconv.Atoi(rest[storage.LabelRestart]); err == nil {
		r.Restart = &n
		delete(rest, storage.LabelRestart)
	}
	return r
}

// lineFormat writes entries one after the other.
type lineFormat interface {
	// write is told which parts of the text of the line are of interest.
	write(b *bytes.Buffer, e *logEntry, marks [][2]int) error
	// end returns what comes after the last line.
	end() string
}

// rawFormat is the bare text.
type rawFormat struct{}

func (rawFormat) write(b *bytes.Buffer, e *logEntry, _ [][2]int) error {
	b.WriteString(e.line)
	b.WriteByte('\n')
	return nil
}

func (rawFormat) end() string { return "" }

// jsonlFormat is an object a line.
type jsonlFormat struct{}

func (jsonlFormat) write(b *bytes.Buffer, e *logEntry, _ [][2]int) error {
	return encodeRecord(b, e)
}

func (jsonlFormat) end() string { return "" }

// encodeRecord writes an entry as an object on one line.
func encodeRecord(b *bytes.Buffer, e *logEntry) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(newLogRecord(e))
}

// jsonFormat is one document: an array.
type jsonFormat struct{ begun bool }

func (f *jsonFormat) write(b *bytes.Buffer, e *logEntry, _ [][2]int) error {
	if f.begun {
		b.WriteByte(',')
	} else {
		b.WriteByte('[')
	}
	f.begun = true
	if err := encodeRecord(b, e); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1)
	b.WriteByte('\n')
	return nil
}

func (f *jsonFormat) end() string {
	if f.begun {
		return "]\n"
	}
	return "[]\n"
}

// templateFormat is what a template makes of a record, on a line.
type templateFormat struct{ *template.Template }

func (f templateFormat) write(b *bytes.Buffer, e *logEntry, _ [][2]int) error {
	if err := f.Execute(b, newLogRecord(e)); err != nil {
		return fmt.Errorf("flag --output: %w", err)
	}
	b.WriteByte('\n')
	return nil
}

func (templateFormat) end() string { return "" }

// parseTemplate reads a template and tries it, so that a name that a record
// does not have is found before the first line.
func parseTemplate(text string) (*template.Template, error) {
	t, err := template.New("output").Option("missingkey=zero").Parse(text)
	if err == nil {
		restart := 0
		err = t.Execute(io.Discard, &logRecord{Restart: &restart, Labels: map[string]string{}})
	}
	if err != nil {
		return nil, fmt.Errorf("%w; fields are .Timestamp .Namespace .Pod .UID .Container .Restart .Node .Level .Message .Labels.NAME .Flags", err)
	}
	return t, nil
}

// newLineFormat returns the format that the flags ask for.
func (s *logSettings) newLineFormat(c *logClient, alone bool) (lineFormat, error) {
	if text, ok := strings.CutPrefix(s.output, templatePrefix); ok {
		t, err := parseTemplate(text)
		return templateFormat{t}, err
	}
	switch s.output {
	case formatJSON:
		return &jsonFormat{}, nil
	case formatJSONL:
		return jsonlFormat{}, nil
	case formatRaw:
		return rawFormat{}, nil
	}
	f := &textFormat{
		colored: c.colored(), terminal: c.p.columns(c.p.stdout) > 0,
		namespaces: len(s.namespaceList()) != 1, prefix: !alone, zone: s.zone(c.p), times: s.timestamps,
	}
	if s.prefixSet {
		f.prefix = s.prefix
	}
	return f, nil
}
