package logdb

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// writePart writes the records of a complete head part to a segment.
func (db *DB) writePart(v *partView) error {
	w, err := newSegmentWriter(db.options.Dir, v.seq, db.codec)
	if err != nil {
		return err
	}
	w.footer.wal = v.seq
	w.footer.sources = v.sourceMarks()
	rows := v.rowsByStream()
	var c columns
	for _, ref := range v.streamOrder() {
		if len(rows[ref]) == 0 {
			continue
		}
		stream := w.addStream(v.streams[ref].Labels)
		v.sortRows(rows[ref])
		for _, row := range rows[ref] {
			pg, i := v.row(row)
			if c.len() > 0 && (len(c.text)+int(pg.size(i)) > db.options.BlockBytes || c.len() == maxBlockRows) {
				w.add(stream, &c, v.sources)
				c.reset()
			}
			c.appendRow(&pg.columns, i, pg.sources[i])
		}
		w.add(stream, &c, v.sources)
		c.reset()
	}
	return w.finish()
}

// row finds a record by the number of its page and its row there.
func (v *partView) row(at uint32) (*page, int) { return &v.pages[at/pageRows], int(at % pageRows) }

// rowsByStream sorts the records by their streams, in the order of arrival.
func (v *partView) rowsByStream() [][]uint32 {
	counts := make([]int, len(v.streams))
	for i := range v.pages {
		for _, s := range v.pages[i].streams {
			counts[s]++
		}
	}
	all := make([]uint32, v.rows)
	out := make([][]uint32, len(v.streams))
	at := 0
	for s, n := range counts {
		out[s] = all[at : at : at+n]
		at += n
	}
	for p := range v.pages {
		for i, s := range v.pages[p].streams {
			out[s] = append(out[s], uint32(p*pageRows+i))
		}
	}
	return out
}

// streamOrder lists the streams by their labels, so that what belongs together
// lies together.
func (v *partView) streamOrder() []uint32 {
	order := make([]uint32, len(v.streams))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return labels.Compare(v.streams[a].Labels, v.streams[b].Labels) })
	return order
}

// sortRows brings the records of a stream into the order of queries. Mostly
// they came in that order.
func (v *partView) sortRows(rows []uint32) {
	compare := func(a, b uint32) int {
		p, i := v.row(a)
		q, j := v.row(b)
		if c := cmp.Compare(p.times[i], q.times[j]); c != 0 {
			return c
		}
		if p.sources[i] != q.sources[j] {
			s, t := v.sources[p.sources[i]], v.sources[q.sources[j]]
			if c := bytes.Compare(s[:], t[:]); c != 0 {
				return c
			}
		}
		return cmp.Compare(p.offsets[i], q.offsets[j])
	}
	if !slices.IsSortedFunc(rows, compare) {
		slices.SortStableFunc(rows, compare)
	}
}

// sourceMarks are the last records of the sources in the part.
func (v *partView) sourceMarks() []sourceMark {
	out := make([]sourceMark, len(v.sources))
	for i, s := range v.sources {
		out[i] = sourceMark{source: s, offset: -1 << 63, time: -1 << 63}
	}
	for p := range v.pages {
		pg := &v.pages[p]
		for i, s := range pg.sources {
			out[s].offset, out[s].time = max(out[s].offset, pg.offsets[i]), max(out[s].time, pg.times[i])
		}
	}
	return slices.DeleteFunc(out, func(m sourceMark) bool { return m.source == storage.SourceID{} })
}
