package logdb

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// columns are records, column by column. Slices that are nil stand for zero
// values.
type columns struct {
	times []int64 // nanoseconds since the epoch
	// ends are where the texts end in text; each begins where the one before
	// it ends.
	ends   []uint32
	levels []storage.Level
	flags  []storage.RecordFlags
	// sources are indexes into a table of sources.
	sources []uint32
	offsets []int64
	// metadata are those of few records, by ascending row.
	metadata []rowLabels
	text     []byte
}

// rowLabels are the metadata of one record.
type rowLabels struct {
	row    uint32
	labels labels.Labels
}

func (c *columns) len() int { return len(c.times) }

// start is where the text of row i begins.
func (c *columns) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return c.ends[i-1]
}

func (c *columns) size(i int) int32 { return int32(c.ends[i] - c.start(i)) }

func (c *columns) line(i int) []byte { return c.text[c.start(i):c.ends[i]:c.ends[i]] }

func (c *columns) flagsOf(i int) storage.RecordFlags {
	if c.flags == nil {
		return 0
	}
	return c.flags[i]
}

// identity is the source and offset of row i.
func (c *columns) identity(i int, table []storage.SourceID) (storage.SourceID, int64) {
	if c.sources == nil {
		return storage.SourceID{}, 0
	}
	return table[c.sources[i]], c.offsets[i]
}

func (c *columns) metadataOf(i int) labels.Labels {
	if len(c.metadata) == 0 {
		return labels.EmptyLabels()
	}
	at, ok := slices.BinarySearchFunc(c.metadata, uint32(i), func(r rowLabels, row uint32) int { return cmp.Compare(r.row, row) })
	if !ok {
		return labels.EmptyLabels()
	}
	return c.metadata[at].labels
}

// reset empties c and keeps its memory.
func (c *columns) reset() {
	c.times, c.ends, c.levels, c.flags = c.times[:0], c.ends[:0], c.levels[:0], c.flags[:0]
	c.sources, c.offsets, c.text = c.sources[:0], c.offsets[:0], c.text[:0]
	clear(c.metadata)
	c.metadata = c.metadata[:0]
}

// appendRow copies row i of from, the source aside, which is an index into
// another table.
func (c *columns) appendRow(from *columns, i int, source uint32) {
	offset := int64(0)
	if from.offsets != nil {
		offset = from.offsets[i]
	}
	if len(from.metadata) > 0 {
		if l := from.metadataOf(i); !l.IsEmpty() {
			c.metadata = append(c.metadata, rowLabels{uint32(len(c.times)), l})
		}
	}
	c.times = append(c.times, from.times[i])
	c.text = append(c.text, from.line(i)...)
	c.ends = append(c.ends, uint32(len(c.text)))
	c.levels = append(c.levels, from.levels[i])
	c.flags = append(c.flags, from.flagsOf(i))
	c.sources = append(c.sources, source)
	c.offsets = append(c.offsets, offset)
}

// key is the place of a record in the order of all records of a query.
type key struct {
	time   int64
	source storage.SourceID
	offset int64
	// tie tells records without a source apart, in the order in which they
	// are stored.
	tie uint64
}

func (k *key) compare(o *key) int {
	if c := cmp.Compare(k.time, o.time); c != 0 {
		return c
	}
	if c := bytes.Compare(k.source[:], o.source[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(k.offset, o.offset), cmp.Compare(k.tie, o.tie))
}
