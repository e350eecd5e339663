package logdb

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/binnacle-obs/binnacle/storage"
)

// blockRef is a block of a segment, or a page of the head, that may have
// records of a query.
type blockRef struct {
	segment *segment
	block   uint32
	// part and page are set for the head, where segment is nil.
	part *partView
	page uint32
	// order numbers the blocks of a snapshot, oldest first: it settles the order
	// of records that do not differ otherwise.
	order            uint32
	minTime, maxTime int64
}

// scanner finds the records of a query in one block after another.
type scanner struct {
	db    *DB
	ctx   context.Context
	q     *storage.LogQuery
	set   streamSet
	skip  skipFilter
	stats storage.LogStats
	// needText and needIdentity tell what is read of blocks with records.
	needText, needIdentity bool

	reader  blockReader
	search  storage.LineSearch
	builder skipBuilder

	// What load found: rows of columns.
	rows    []int32
	columns *columns
	table   []storage.SourceID
	// stream is that of all rows, or nil: then it is streams[streamOf[row]].
	stream   *stream
	streams  []*stream
	streamOf []uint32
	order    uint32
}

func (db *DB) newScanner(ctx context.Context, q *storage.LogQuery, set streamSet) *scanner {
	s := &scanner{db: db, ctx: ctx, q: q, set: set, skip: newSkipFilter(q.Lines)}
	s.reader.codec = db.codec
	s.needText = !q.NoLine || len(q.Lines) > 0
	s.needIdentity = true
	return s
}

// newSkipFilter asks for what the matchers require, as far as trigrams tell.
func newSkipFilter(lines []*storage.LineMatcher) skipFilter {
	var f skipFilter
	for _, m := range lines {
		var alternatives [][]skipTerm
		for _, texts := range m.Required() {
			var terms []skipTerm
			for _, text := range texts {
				if t := newSkipTerm(text); t != nil {
					terms = append(terms, t)
				}
			}
			if terms == nil {
				alternatives = nil
				break
			}
			alternatives = append(alternatives, terms)
		}
		if alternatives != nil {
			f = append(f, alternatives)
		}
	}
	return f
}

// plan lists the blocks and pages that may have records of the query.
func (s *scanner) plan(snap *snapshot) []blockRef {
	var refs []blockRef
	order := uint32(0)
	for _, g := range snap.segments {
		if g.maxTime < s.q.Start || g.minTime >= s.q.End {
			order += uint32(len(g.blocks))
			continue
		}
		for i := range g.blocks {
			b := &g.blocks[i]
			order++
			if b.maxTime < s.q.Start || b.minTime >= s.q.End || !s.wants(b.levels) || !s.set.has(g.streams[b.stream]) {
				continue
			}
			refs = append(refs, blockRef{segment: g, block: uint32(i), order: order, minTime: b.minTime, maxTime: b.maxTime})
		}
	}
	s.stats.Blocks = int64(len(refs))
	for p := range snap.parts {
		part := &snap.parts[p]
		for i := range part.pages {
			pg := &part.pages[i]
			order++
			if pg.len() == 0 || pg.maxTime < s.q.Start || pg.minTime >= s.q.End || !s.wants(pg.mask) {
				continue
			}
			refs = append(refs, blockRef{part: part, page: uint32(i), order: order, minTime: pg.minTime, maxTime: pg.maxTime})
		}
	}
	return refs
}

// wants tells whether levels has one that the query asks for.
func (s *scanner) wants(levels uint8) bool { return s.q.Levels == 0 || s.q.Levels&levels != 0 }

// load selects the records of a block with first <= time <= last. It fails
// with storage.ErrQueryLimit before it reads text beyond the query's limit.
func (s *scanner) load(ref *blockRef, first, last int64) error {
	s.rows = s.rows[:0]
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.order = ref.order
	if ref.segment == nil {
		return s.loadPage(ref, first, last)
	}
	err := s.loadBlock(ref.segment, ref.block, first, last)
	if errors.Is(err, errFormat) {
		s.rows = s.rows[:0]
		if ref.segment.isNewlyDamaged(ref.block) {
			s.db.metrics.corrupt.WithLabelValues("block").Inc()
			s.db.logger.Error("A damaged block is left out of queries", "err", err)
		}
		return nil
	}
	return err
}

func (s *scanner) loadBlock(g *segment, block uint32, first, last int64) error {
	m := &g.blocks[block]
	if s.skip != nil {
		if skips := s.db.bitmaps(g); skips != nil && !s.skip.admits(m.bitmap(skips)) {
			s.stats.BlocksSkipped++
			return nil
		}
	}
	r := &s.reader
	if err := r.readCounts(g, m); err != nil {
		return err
	}
	s.columns, s.stream, s.streams, s.streamOf = &r.columns, g.streams[m.stream], nil, nil
	from := sort.Search(len(r.times), func(i int) bool { return r.times[i] >= first })
	for i := from; i < len(r.times) && r.times[i] <= last; i++ {
		if s.wants(1 << r.levels[i]) {
			s.rows = append(s.rows, int32(i))
		}
	}
	if len(s.rows) == 0 {
		return nil
	}
	if s.needText {
		if err := s.spend(int64(m.textBytes)); err != nil {
			return err
		}
		if err := r.readText(g, m); err != nil {
			return err
		}
	}
	s.matchLines()
	if len(s.rows) == 0 || !s.needIdentity {
		return nil
	}
	err := r.readIdentity(g, m)
	s.table = r.identityTable()
	return err
}

func (s *scanner) loadPage(ref *blockRef, first, last int64) error {
	pg := &ref.part.pages[ref.page]
	// The last page may still be written to.
	if s.skip != nil && int(ref.page) < len(ref.part.pages)-1 && !s.skip.admits(pg.skip.of(pg.text, &s.builder)) {
		return nil
	}
	s.columns, s.table, s.stream = &pg.columns, ref.part.sources, nil
	s.streams, s.streamOf = ref.part.streams, pg.streams
	for i, t := range pg.times {
		if t >= first && t <= last && s.wants(1<<pg.levels[i]) && s.set.has(s.streams[pg.streams[i]]) {
			s.rows = append(s.rows, int32(i))
		}
	}
	if len(s.rows) == 0 {
		return nil
	}
	if s.needText {
		if err := s.spend(int64(len(pg.text))); err != nil {
			return err
		}
	}
	s.matchLines()
	return nil
}

// spend counts text that is going to be looked at.
func (s *scanner) spend(bytes int64) error {
	if s.q.MaxBytes > 0 && s.stats.Bytes+bytes > s.q.MaxBytes {
		return fmt.Errorf("%w: more than %d bytes of text had to be read", storage.ErrQueryLimit, s.q.MaxBytes)
	}
	s.stats.Bytes += bytes
	return nil
}

// sparse is how many times fewer the rows are than the block has for it to be
// better to look at each than to search the whole text.
const sparse = 8

// matchLines keeps the rows whose text matches.
func (s *scanner) matchLines() {
	s.stats.Lines += int64(len(s.rows))
	lines := s.q.Lines
	if len(lines) == 0 {
		return
	}
	c := s.columns
	lead := leadOf(lines)
	if lead != nil && len(s.rows) > c.len()/sparse {
		lead.Search(&s.search, c.text)
	} else {
		lead = nil
	}
	kept, next := s.rows[:0], 0
rows:
	for _, row := range s.rows {
		i := int(row)
		if lead != nil {
			if start := int(c.start(i)); next < start {
				next = s.search.Next(start)
			}
			if next < 0 {
				break
			}
			if next >= int(c.ends[i]) {
				continue
			}
		}
		line := c.line(i)
		for _, m := range lines {
			if !m.Match(line) {
				continue rows
			}
		}
		kept = append(kept, row)
	}
	s.rows = kept
}

// leadOf is the matcher that a text can be searched for, nil if there is none.
func leadOf(lines []*storage.LineMatcher) *storage.LineMatcher {
	for _, m := range lines {
		if m.Required() != nil {
			return m
		}
	}
	return nil
}

// streamAt is the stream of a row.
func (s *scanner) streamAt(row int32) *stream {
	if s.stream != nil {
		return s.stream
	}
	return s.streams[s.streamOf[row]]
}

// record makes the record of a row. Its memory is that of the scanner.
func (s *scanner) record(row int32) storage.Record {
	i, c := int(row), s.columns
	r := storage.Record{
		Stream: &s.streamAt(row).Stream, Time: c.times[i], Size: c.size(i), Level: c.levels[i],
		Flags: c.flagsOf(i), Metadata: c.metadataOf(i),
	}
	r.Source, r.Offset = c.identity(i, s.table)
	if !s.q.NoLine {
		r.Line = c.line(i)
	}
	return r
}

func (s *scanner) key(row int32) key {
	k := key{time: s.columns.times[row], tie: uint64(s.order)<<16 | uint64(row)}
	k.source, k.offset = s.columns.identity(int(row), s.table)
	return k
}
