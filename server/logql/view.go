package logql

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Labels with a meaning of their own.
const (
	// errorLabel is the kind of the first error that a stage met.
	errorLabel = "__error__"
	// errorDetailsLabel is that error's text.
	errorDetailsLabel = "__error_details__"
	// detectedLevel is another name of storage.LabelLevel; Grafana groups by both.
	detectedLevel = "detected_level"
	// extractedSuffix is appended to names that the stream has already.
	extractedSuffix = "_extracted"
)

// Kinds of errors.
const (
	errJSON     = "JSONParserErr"
	errLogfmt   = "LogfmtParserErr"
	errTemplate = "TemplateFormatErr"
	errFilter   = "LabelFilterErr"
	errSample   = "SampleExtractionErr"
	errLabels   = "TooManyLabelsErr"
)

// maxExtracted bounds the labels that parsers extract of a record: each new one
// is compared with those before.
const maxExtracted = 500

// pair is a label.
type pair struct {
	name, value string
}

// streamState is what pipelines keep of a stream.
type streamState struct {
	labels labels.Labels
	pairs  []pair
	// plain are the entries' labels where the pipeline changed nothing.
	plain [storage.Levels]*entryLabels
	// series are the numbers, plus 1, of the series that such entries belong to.
	series [storage.Levels]int
}

func newStreamState(s *storage.Stream) *streamState {
	st := &streamState{labels: s.Labels}
	s.Labels.Range(func(l labels.Label) { st.pairs = append(st.pairs, pair{l.Name, l.Value}) })
	return st
}

func (s *streamState) get(name string) (string, bool) { return find(s.pairs, name) }

func find(pairs []pair, name string) (string, bool) {
	for i := range pairs {
		if pairs[i].name == name {
			return pairs[i].value, true
		}
	}
	return "", false
}

// view is the labels of one record on its way through a pipeline. Names and
// values that stages extract point into the record's line or into arena: they
// are valid until the next record.
type view struct {
	stream *streamState
	level  storage.Level
	// meta are the record's own labels; those of the stream hide them.
	meta []pair
	// parsed are the labels that stages set; they hide all others.
	parsed []pair
	// removed are names that stages took away.
	removed    []string
	err        string
	errDetails string
	arena      []byte
	// time is that of the record, for templates.
	time int64
}

// reset begins a record.
func (v *view) reset(stream *streamState, r *storage.Record) {
	v.stream, v.level, v.time = stream, r.Level, r.Time
	v.meta, v.parsed, v.removed, v.arena = v.meta[:0], v.parsed[:0], v.removed[:0], v.arena[:0]
	v.err, v.errDetails = "", ""
	if !r.Metadata.IsEmpty() {
		r.Metadata.Range(func(l labels.Label) { v.meta = append(v.meta, pair{l.Name, l.Value}) })
	}
}

// plain tells whether there are no labels but the stream's and the level.
func (v *view) plain() bool {
	return len(v.parsed) == 0 && len(v.removed) == 0 && len(v.meta) == 0 && v.err == ""
}

// get returns the value of a label, "" and false if there is none.
func (v *view) get(name string) (string, bool) {
	switch name {
	case errorLabel:
		return v.err, v.err != ""
	case errorDetailsLabel:
		return v.errDetails, v.errDetails != ""
	}
	if value, ok := find(v.parsed, name); ok {
		return value, true
	}
	if slices.Contains(v.removed, name) {
		return "", false
	}
	if isLevel(name) && v.level != storage.LevelUnknown {
		return v.level.String(), true
	}
	if value, ok := v.stream.get(name); ok {
		return value, true
	}
	if value, ok := find(v.meta, name); ok {
		return value, true
	}
	return "", false
}

// given tells whether a record has a label before any stage.
func (v *view) given(name string) bool {
	if _, ok := find(v.meta, name); ok {
		return true
	}
	_, ok := v.stream.get(name)
	return ok
}

// extract sets a label that a parser found. Of several values of a name the
// first is kept. A name that the record came with gets a suffix; the level is
// an exception, for it was only guessed from the line.
func (v *view) extract(name, value string) {
	if name == errorLabel || name == errorDetailsLabel {
		return
	}
	if v.given(name) {
		name = v.keep2(name, extractedSuffix)
	}
	if _, ok := find(v.parsed, name); ok {
		return
	}
	if len(v.parsed) >= maxExtracted {
		v.setError(errLabels, "the line has more labels than are extracted")
		return
	}
	v.parsed = append(v.parsed, pair{name, value})
}

// set sets a label whatever was there.
func (v *view) set(name, value string) {
	for i := range v.parsed {
		if v.parsed[i].name == name {
			v.parsed[i].value = value
			return
		}
	}
	v.parsed = append(v.parsed, pair{name, value})
}

// remove takes a label away.
func (v *view) remove(name string) {
	switch name {
	case errorLabel:
		v.err, v.errDetails = "", ""
		return
	case errorDetailsLabel:
		v.errDetails = ""
		return
	}
	v.parsed = slices.DeleteFunc(v.parsed, func(p pair) bool { return p.name == name })
	if !slices.Contains(v.removed, name) {
		v.removed = append(v.removed, name)
	}
}

// setError keeps the first error.
func (v *view) setError(kind, details string) {
	if v.err == "" {
		v.err, v.errDetails = kind, details
	}
}

// keep copies b to the arena.
func (v *view) keep(b []byte) string {
	start := len(v.arena)
	v.arena = append(v.arena, b...)
	return unsafeString(v.arena[start:])
}

func (v *view) keep2(a, b string) string {
	start := len(v.arena)
	v.arena = append(append(v.arena, a...), b...)
	return unsafeString(v.arena[start:])
}

// visible appends all labels that a query's user sees, without order.
func (v *view) visible(dst []pair) []pair {
	dst = v.visibleStream(dst)
	dst = v.visibleMeta(dst)
	return v.visibleParsed(dst)
}

func (v *view) hidden(name string) bool {
	_, ok := find(v.parsed, name)
	return ok || slices.Contains(v.removed, name)
}

func (v *view) visibleStream(dst []pair) []pair {
	if len(v.parsed) == 0 && len(v.removed) == 0 && v.level == storage.LevelUnknown {
		return append(dst, v.stream.pairs...)
	}
	for _, p := range v.stream.pairs {
		if !v.hidden(p.name) && (p.name != storage.LabelLevel || v.level == storage.LevelUnknown) {
			dst = append(dst, p)
		}
	}
	return dst
}

func (v *view) visibleMeta(dst []pair) []pair {
	if v.level != storage.LevelUnknown && !v.hidden(storage.LabelLevel) {
		dst = append(dst, pair{storage.LabelLevel, v.level.String()})
	}
	for _, p := range v.meta {
		if _, inStream := v.stream.get(p.name); inStream {
			continue
		}
		if p.value != "" && !v.hidden(p.name) && (p.name != storage.LabelLevel || v.level == storage.LevelUnknown) {
			dst = append(dst, p)
		}
	}
	return dst
}

func (v *view) visibleParsed(dst []pair) []pair {
	for _, p := range v.parsed {
		if p.value != "" {
			dst = append(dst, p)
		}
	}
	if v.err != "" {
		dst = append(dst, pair{errorLabel, v.err})
	}
	if v.errDetails != "" {
		dst = append(dst, pair{errorDetailsLabel, v.errDetails})
	}
	return dst
}

// unsafeString is b without a copy: b must not change while it is used.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unsafeBytes is s without a copy: nobody may write to it.
func unsafeBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func sortPairs(pairs []pair) {
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
}

// buildLabels makes labels of pairs, which it sorts. The labels are a copy:
// Labels packs all names and values into one string.
func buildLabels(b *labels.ScratchBuilder, pairs []pair) labels.Labels {
	sortPairs(pairs)
	b.Reset()
	for _, p := range pairs {
		b.Add(p.name, p.value)
	}
	return b.Labels()
}
