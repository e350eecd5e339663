package loki

import (
	"net/http"
	"strconv"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// fieldLines is how many lines are looked at by default, the newest, and
	// maxFields how many fields or values are returned; Loki's defaults.
	fieldLines = 1000
	maxFields  = 1000
	// maxFieldLines bounds the lines that may be asked for.
	maxFieldLines = 5000
)

// detect looks at the newest entries that a request selects. It keeps the
// values of the field keep.
func (h *Handler) detect(r *http.Request, keep string) (found *logql.FieldDetector, limit int, err error) {
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
	limit = min(limit, maxFields)
	found = logql.NewFieldDetector(keep, limit)
	_, _, err = h.logs(r.Context(), q, min(lines, maxFieldLines), 0, func(e *logql.Entry) error {
		found.Add(e)
		return nil
	})
	return found, limit, err
}

// serveDetectedFields lists the fields that lines and their metadata have.
// Loki answers without its usual frame here.
func (h *Handler) serveDetectedFields(w http.ResponseWriter, r *http.Request) {
	found, limit, err := h.detect(r, "")
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b := []byte(`{"fields":[`)
	fields := found.Fields()
	for i, f := range fields[:min(len(fields), limit)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"label":`...)
		b = appendString(b, f.Name)
		b = append(b, `,"type":`...)
		b = appendString(b, f.Type)
		b = append(b, `,"cardinality":`...)
		b = strconv.AppendInt(b, int64(f.Cardinality), 10)
		b = append(b, `,"parsers":`...)
		if f.Parser == "" {
			b = append(b, "null"...) // metadata
		} else {
			b = appendStrings(b, []string{f.Parser})
		}
		b = append(b, '}')
	}
	b = append(b, `],"limit":`...)
	b = strconv.AppendInt(b, int64(limit), 10)
	writeJSON(w, r, append(b, "}\n"...))
}

// serveDetectedFieldValues lists the values of a field, the most frequent
// first. Loki answers without its usual frame here.
func (h *Handler) serveDetectedFieldValues(w http.ResponseWriter, r *http.Request) {
	found, limit, err := h.detect(r, r.PathValue("name"))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b := []byte(`{"values":`)
	b = appendStrings(b, found.Values())
	b = append(b, `,"limit":`...)
	b = strconv.AppendInt(b, int64(limit), 10)
	writeJSON(w, r, append(b, "}\n"...))
}
