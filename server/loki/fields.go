package loki

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// fieldLines is how many lines are looked at by default, the newest, and
	// maxFields how many fields or values are returned; Loki's defaults.
	fieldLines = 1000
	maxFields  = 1000
	// maxFieldBytes bounds the values that are kept; further ones do not count.
	maxFieldBytes = 16 << 20
	// maxFieldLines bounds the lines that may be asked for.
	maxFieldLines = 5000
)

// sample detects the fields of the newest entries that a request selects.
func (h *Handler) sample(r *http.Request) (found *detection, limit int, err error) {
	p := h.params(r)
	q := logql.Query{Text: "{}", Order: storage.Descending}
	if p.Get("query") != "" {
		q.Text = p.Get("query")
	}
	if err = h.admitLogs(q.Text); err != nil {
		return nil, 0, err
	}
	if q.Start, q.End, err = p.span(sinceQuery); err != nil {
		return nil, 0, err
	}
	lines, err := p.count("line_limit", fieldLines)
	if err != nil {
		return nil, 0, err
	}
	if limit, err = p.count("limit", maxFields); err != nil {
		return nil, 0, err
	}
	found = newDetection()
	_, _, err = h.logs(r.Context(), q, min(lines, maxFieldLines), 0, func(e *logql.Entry) error {
		found.add(e)
		return nil
	})
	return found, limit, err
}

// serveDetectedFields lists the fields that lines and their metadata have.
// Loki answers without its usual frame here.
func (h *Handler) serveDetectedFields(w http.ResponseWriter, r *http.Request) {
	found, limit, err := h.sample(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b := []byte(`{"fields":[`)
	names := sortedKeys(found.fields)
	for i, name := range names[:min(len(names), limit)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = found.fields[name].appendJSON(b, name)
	}
	b = append(b, `],"limit":`...)
	b = strconv.AppendInt(b, int64(limit), 10)
	writeJSON(w, r, append(b, "}\n"...))
}

// serveDetectedFieldValues lists the values of a field. Loki answers without
// its usual frame here.
func (h *Handler) serveDetectedFieldValues(w http.ResponseWriter, r *http.Request) {
	found, limit, err := h.sample(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var values []string
	if f := found.fields[r.PathValue("name")]; f != nil {
		values = sortedKeys(f.values)
	}
	b := []byte(`{"values":`)
	b = appendStrings(b, values[:min(len(values), limit)])
	b = append(b, `,"limit":`...)
	b = strconv.AppendInt(b, int64(limit), 10)
	writeJSON(w, r, append(b, "}\n"...))
}

// detection gathers the fields of entries.
type detection struct {
	fields map[string]*field
	// bytes of the values that are kept.
	bytes int
}

// field is what is known of a field.
type field struct {
	values map[string]struct{}
	// kind fits all values seen.
	kind string
	// parsers that find it: "json", "logfmt"; none for metadata.
	parsers []string
	// path in a JSON line.
	path []string
}

func newDetection() *detection { return &detection{fields: make(map[string]*field)} }

// add looks at an entry.
func (d *detection) add(e *logql.Entry) {
	e.Metadata.Range(func(l labels.Label) { d.note(l.Name, l.Value, "", nil) })
	if d.json(e.Line) {
		return
	}
	d.logfmt(e.Line)
}

// note counts a value in.
func (d *detection) note(name, value, parser string, path []string) {
	f := d.fields[name]
	if f == nil {
		if len(d.fields) == maxFields {
			return
		}
		f = &field{values: make(map[string]struct{}), kind: kindOf(value), path: path}
		d.fields[name] = f
	}
	if kind := kindOf(value); kind != f.kind {
		f.kind = commonKind(kind, f.kind)
	}
	if _, known := f.values[value]; !known && d.bytes+len(value) <= maxFieldBytes {
		f.values[value] = struct{}{}
		d.bytes += len(value)
	}
	if parser != "" && !slices.Contains(f.parsers, parser) {
		f.parsers = append(f.parsers, parser)
	}
}

// appendJSON appends the field in Loki's form.
func (f *field) appendJSON(b []byte, name string) []byte {
	b = append(b, `{"label":`...)
	b = appendString(b, name)
	b = append(b, `,"type":"`...)
	b = append(b, f.kind...)
	b = append(b, `","cardinality":`...)
	b = strconv.AppendInt(b, int64(len(f.values)), 10)
	b = append(b, `,"parsers":`...)
	if f.parsers == nil {
		b = append(b, "null"...)
	} else {
		b = appendStrings(b, f.parsers)
	}
	if f.path != nil {
		b = append(b, `,"jsonPath":`...)
		b = appendStrings(b, f.path)
	}
	return append(b, '}')
}
