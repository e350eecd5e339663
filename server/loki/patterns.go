package loki

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// patternLines is how many lines are looked at, the newest: enough to see
	// what is frequent, in well under a second.
	patternLines = 50_000
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
	miner := newPatternMiner()
	stats, c, err := h.logs(r.Context(), q, patternLines, 0, func(e *logql.Entry) error {
		miner.add(e.Line, levelOf(e), e.Time-(e.Time-q.Start)%int64(step))
		return nil
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if c.reason == cutLimit {
		c.warning = fmt.Sprintf("these are the patterns of the newest %d lines", stats.Entries)
	}
	warnings := c.warnings()
	if miner.left > 0 {
		warnings = append(warnings, fmt.Sprintf("%d lines fit into none of the %d patterns", miner.left, maxPatterns))
	}
	b := []byte{'['}
	for i, found := range miner.patterns() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"pattern":`...)
		b = appendString(b, found.text)
		b = append(b, `,"level":`...)
		b = appendString(b, found.level)
		b = append(b, `,"samples":[`...)
		for i, s := range found.samples {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = appendUnix(b, s.time)
			b = append(b, ',')
			b = strconv.AppendInt(b, s.count, 10)
			b = append(b, ']')
		}
		b = append(b, `]}`...)
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

// levelOf returns the level that belongs to an entry.
func levelOf(e *logql.Entry) string {
	if level := e.Metadata.Get(storage.LabelLevel); level != "" {
		return level
	}
	return "unknown"
}
