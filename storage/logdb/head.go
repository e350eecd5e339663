package logdb

import (
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// pageRows and pageBytes bound a page, which a query filters as a whole.
	pageRows  = 4096
	pageBytes = 512 * kib
	// rowBytes is what a record takes in a page beside its text.
	rowBytes = 8 + 4 + 1 + 1 + 4 + 8 + 4
	// Estimates of what maps take for an entry.
	streamBytes   = 48
	sourceBytes   = 64
	sourcelessKey = 64
)

// page holds records of the head in the order in which they came. Once written
// a row does not change, so that a copy of the page's slices can be read
// without a lock.
type page struct {
	columns
	streams []uint32 // indexes into the part's streams

	minTime, maxTime int64
	// mask has bit 1<<Level for each level that occurs.
	mask uint8
	skip *pageSkip
}

// pageSkip is the skip bitmap of a page that is complete, made by the first
// query that searches its text: that costs no more than the search.
type pageSkip struct {
	once   sync.Once
	bitmap []byte
}

func (p *pageSkip) of(text []byte, b *skipBuilder) []byte {
	p.once.Do(func() { p.bitmap, _ = b.build(nil, text) })
	return p.bitmap
}

// part is the part of the head that belongs to one write-ahead log file and
// becomes one segment. The writer changes it with the DB's mu held, others
// read it through a view.
type part struct {
	seq   uint64
	pages []*page
	// streams and sources are those of the records. The first source is the
	// zero one.
	streams []*stream
	sources []storage.SourceID
	rows    int
	// memory is about what the part takes, text that still gets in included.
	memory int64
	// firstWrite is when the first record came, in nanoseconds since the epoch.
	firstWrite int64

	// sourceless are the records without a source; for the writer alone.
	sourceless map[sourceless]struct{}
}

// sourceless identifies a record without a source: one with the same stream,
// time and text is taken for the same record sent again.
type sourceless struct {
	stream *stream
	time   int64
	hash   uint64
}

func newPart(seq uint64) *part {
	return &part{seq: seq, sources: make([]storage.SourceID, 1), sourceless: make(map[sourceless]struct{})}
}

// hashRecord covers all that a sourceless key does not have by itself.
func hashRecord(r *storage.Record, d *xxhash.Digest) uint64 {
	if r.Metadata.IsEmpty() {
		return xxhash.Sum64(r.Line)
	}
	d.Reset()
	_, _ = d.Write(r.Line) // A Digest's Write never fails.
	r.Metadata.Range(func(l labels.Label) {
		_, _ = d.WriteString("\x00" + l.Name + "\x00" + l.Value)
	})
	return d.Sum64()
}

// room returns the page for a record with a text of that many bytes.
func (p *part) room(text int) *page {
	if n := len(p.pages); n > 0 {
		last := p.pages[n-1]
		if last.len() < pageRows && (len(last.text) == 0 || len(last.text)+text <= pageBytes) {
			return last
		}
	}
	pg := &page{skip: &pageSkip{}}
	if len(p.pages) > 0 {
		// A busy store: what is filled before long is allocated at once.
		pg.allocate()
	}
	p.pages = append(p.pages, pg)
	p.memory += int64(cap(pg.text) + cap(pg.times)*rowBytes)
	return pg
}

func (pg *page) allocate() {
	pg.times, pg.offsets = make([]int64, 0, pageRows), make([]int64, 0, pageRows)
	pg.ends, pg.streams, pg.sources = make([]uint32, 0, pageRows), make([]uint32, 0, pageRows), make([]uint32, 0, pageRows)
	pg.levels, pg.flags = make([]storage.Level, 0, pageRows), make([]storage.RecordFlags, 0, pageRows)
	pg.text = make([]byte, 0, pageBytes)
}

// add appends an accepted record.
func (p *part) add(a *accepted, r *storage.Record) {
	pg := p.room(len(r.Line))
	before := cap(pg.text) + cap(pg.times)*rowBytes
	if pg.len() == 0 {
		pg.minTime, pg.maxTime = r.Time, r.Time
	}
	pg.minTime, pg.maxTime = min(pg.minTime, r.Time), max(pg.maxTime, r.Time)
	pg.mask |= 1 << (r.Level & 7)
	if !r.Metadata.IsEmpty() {
		l := r.Metadata.Copy()
		pg.metadata = append(pg.metadata, rowLabels{uint32(pg.len()), l})
		p.memory += metadataBytes(l)
	}
	pg.text = append(pg.text, r.Line...)
	pg.ends = append(pg.ends, uint32(len(pg.text)))
	pg.times = append(pg.times, r.Time)
	pg.levels = append(pg.levels, r.Level)
	pg.flags = append(pg.flags, r.Flags)
	pg.streams = append(pg.streams, a.stream)
	pg.sources = append(pg.sources, a.source)
	pg.offsets = append(pg.offsets, a.offset(r))
	p.memory += int64(cap(pg.text) + cap(pg.times)*rowBytes - before)
	p.rows++
}

// metadataBytes is about what metadata take in memory.
func metadataBytes(l labels.Labels) (n int64) {
	if l.IsEmpty() {
		return 0
	}
	l.Range(func(l labels.Label) { n += int64(len(l.Name) + len(l.Value) + 2) })
	return n + 32
}

// partView is what of a part could be read at some moment.
type partView struct {
	part    *part
	seq     uint64
	pages   []page
	streams []*stream
	sources []storage.SourceID
	rows    int
}

// view copies the slices of a part. The DB's mu is held.
func (p *part) view() partView {
	v := partView{part: p, seq: p.seq, pages: make([]page, len(p.pages)), streams: p.streams, sources: p.sources, rows: p.rows}
	for i, pg := range p.pages {
		v.pages[i] = *pg
	}
	return v
}
