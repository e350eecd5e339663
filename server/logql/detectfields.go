package logql

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxFields bounds the fields that a FieldDetector tells apart; names come out
// of lines, so anybody can make more of them.
const maxFields = 1000

// Field is a label that a parser would extract of lines.
type Field struct {
	Name string
	// Type is "string", "int", "float", "boolean", "duration" or "bytes".
	Type string
	// Cardinality is the number of different values: exact up to 1024, then an
	// estimate.
	Cardinality int
	// Parser is "json" or "logfmt", "" for a record's own labels.
	Parser string
}

// FieldDetector finds the fields of lines: members of JSON objects, pairs of
// logfmt, and labels that records have of their own. It is not for concurrent
// use. Its memory is bounded; the fields first seen win.
type FieldDetector struct {
	json, logfmt *pipeline
	fields       map[string]*fieldStats
	// keep is the field whose values are kept, up to limit of them.
	keep   string
	limit  int
	values map[string]int
}

type fieldStats struct {
	typ, parser string
	distinct    distinct
}

// NewFieldDetector returns a detector. It keeps the values of the field keep,
// "" for none, up to limit of them.
func NewFieldDetector(keep string, limit int) *FieldDetector {
	return &FieldDetector{
		json:   mustPipeline(&JSONParser{}),
		logfmt: mustPipeline(&LogfmtParser{}),
		fields: map[string]*fieldStats{}, keep: keep, limit: limit, values: map[string]int{},
	}
}

// mustPipeline compiles a stage that has nothing to compile.
func mustPipeline(s Stage) *pipeline {
	p, err := newPipeline([]Stage{s}, needAll)
	if err != nil {
		panic(err)
	}
	return p
}

// Add looks at an entry, as Logs emits it.
func (d *FieldDetector) Add(e *Entry) {
	for _, l := range []labels.Labels{e.Metadata, e.Parsed} {
		l.Range(func(l labels.Label) {
			if l.Name != storage.LabelLevel && l.Name != errorLabel && l.Name != errorDetailsLabel {
				d.add(l.Name, l.Value, "")
			}
		})
	}
	if e.Record.Level != storage.LevelUnknown {
		d.add(detectedLevel, e.Record.Level.String(), "") // asked for by Grafana
	}
	p, parser := d.logfmt, "logfmt"
	if startsWith(e.Line, '{') {
		p, parser = d.json, "json"
	}
	r := *e.Record
	r.Line = e.Line
	if p.run(&r); p.view.err != "" {
		return
	}
	for _, pair := range p.view.parsed {
		d.add(pair.name, pair.value, parser)
	}
}

func (d *FieldDetector) add(name, value, parser string) {
	if value == "" {
		return
	}
	f := d.fields[name]
	typ := valueType(value)
	if f == nil {
		if len(d.fields) >= maxFields {
			return
		}
		f = &fieldStats{typ: typ, parser: parser}
		d.fields[strings.Clone(name)] = f
	}
	f.typ = joinTypes(f.typ, typ)
	f.distinct.add(xxhash.Sum64String(value))
	if name != d.keep || d.limit == 0 {
		return
	}
	if _, ok := d.values[value]; ok || len(d.values) < d.limit {
		d.values[strings.Clone(value)]++
	}
}

// Fields returns what was found, sorted by name.
func (d *FieldDetector) Fields() []Field {
	list := make([]Field, 0, len(d.fields))
	for name, f := range d.fields {
		list = append(list, Field{name, f.typ, f.distinct.count(), f.parser})
	}
	slices.SortFunc(list, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Values returns the values kept, the most frequent first.
func (d *FieldDetector) Values() []string {
	list := make([]string, 0, len(d.values))
	for v := range d.values {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(cmp.Compare(d.values[b], d.values[a]), cmp.Compare(a, b))
	})
	return list
}

func valueType(s string) string {
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return "int"
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return "float"
	}
	if s == "true" || s == "false" {
		return "boolean"
	}
	if !isDigit(s[0]) && s[0] != '-' && s[0] != '.' {
		return "string"
	}
	if _, err := parseDuration(s); err == nil {
		return "duration"
	}
	if _, err := parseBytes(s); err == nil {
		return "bytes"
	}
	return "string"
}

func joinTypes(a, b string) string {
	numbers := func(t string) bool { return t == "int" || t == "float" }
	switch {
	case a == b:
		return a
	case numbers(a) && numbers(b):
		return "float"
	}
	return "string"
}

// maxDistinct bounds the hashes that a distinct keeps.
const maxDistinct = 1024

// distinct counts different hashes by a sample of them: those that end in
// shift zero bits.
type distinct struct {
	hashes map[uint64]struct{}
	shift  uint
}

func (d *distinct) add(hash uint64) {
	if !d.keeps(hash) {
		return
	}
	if d.hashes == nil {
		d.hashes = map[uint64]struct{}{}
	}
	d.hashes[hash] = struct{}{}
	for len(d.hashes) > maxDistinct {
		d.shift++
		for h := range d.hashes {
			if !d.keeps(h) {
				delete(d.hashes, h)
			}
		}
	}
}

func (d *distinct) keeps(hash uint64) bool { return hash&(1<<d.shift-1) == 0 }

func (d *distinct) count() int { return len(d.hashes) << d.shift }
