package loki

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// patternLines is how many lines are looked at, the newest: enough to see
	// what is frequent, in well under a second.
	patternLines = 20_000
	// patternStep is the shortest step of the counts, as Loki's.
	patternStep = 10 * time.Second
)

// servePatterns answers with the patterns of lines and how often each came.
func (h *Handler) servePatterns(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	q, step, err := h.patternQuery(p)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	// Lines of different levels are of different patterns, and a level is one of
	// storage's few.
	miners := make(map[storage.Level]*logql.PatternMiner)
	stats, c, err := h.logs(r.Context(), q, patternLines, 0, func(e *logql.Entry) error {
		m := miners[e.Record.Level]
		if m == nil {
			m = logql.NewPatternMiner(step)
			miners[e.Record.Level] = m
		}
		m.Add(e.Time, e.Line)
		return nil
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if c.reason != "" {
		w.Header().Set(incompleteHeader, c.reason)
	}
	if c.reason == cutLimit {
		c.warning = fmt.Sprintf("these are the patterns of the newest %d lines", stats.Entries)
	}
	found, total := foundPatterns(miners)
	warnings := c.warnings()
	if left := stats.Entries - total; left > 0 {
		warnings = append(warnings, fmt.Sprintf("%d lines are in none of these patterns", left))
	}
	b := []byte{'['}
	for i, f := range found {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.appendJSON(b)
	}
	writeData(w, r, warnings, append(b, ']'))
}

func (h *Handler) patternQuery(p params) (q logql.Query, step time.Duration, err error) {
	if q.Text, err = p.query(); err != nil {
		return q, 0, err
	}
	if err = h.admitLogs(q.Text); err != nil {
		return q, 0, err
	}
	if q.Start, q.End, err = p.span(sinceQuery); err != nil {
		return q, 0, err
	}
	if step, err = p.step(q.Start, q.End); err != nil {
		return q, 0, err
	}
	q.Order = storage.Descending
	return q, max(step, patternStep), nil
}

// foundPattern is a pattern of lines of one level.
type foundPattern struct {
	logql.LinePatternCount
	level storage.Level
}

// foundPatterns returns all patterns, the most frequent first, and the number
// of lines that are in them.
func foundPatterns(miners map[storage.Level]*logql.PatternMiner) (found []foundPattern, total int64) {
	for level, m := range miners {
		for _, p := range m.Patterns() {
			found = append(found, foundPattern{p, level})
			total += p.Total
		}
	}
	slices.SortFunc(found, func(x, y foundPattern) int {
		return cmp.Or(cmp.Compare(y.Total, x.Total), cmp.Compare(x.Pattern, y.Pattern), cmp.Compare(x.level, y.level))
	})
	return found, total
}

// appendJSON appends the pattern in Loki's form.
func (f *foundPattern) appendJSON(b []byte) []byte {
	b = append(b, `{"pattern":`...)
	b = appendString(b, f.Pattern)
	b = append(b, `,"level":`...)
	b = appendString(b, cmp.Or(f.level.String(), "unknown"))
	b = append(b, `,"samples":[`...)
	for i, at := range slices.Sorted(maps.Keys(f.Buckets)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, at/int64(time.Second), 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, f.Buckets[at], 10)
		b = append(b, ']')
	}
	return append(b, `]}`...)
}
