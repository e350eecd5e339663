package logdb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/time/rate"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// mergeBytesPerSecond bounds what merging takes from the disk and from
	// queries: most of it is copied as it is.
	mergeBytesPerSecond = 64 * mib
	mergeBurst          = 4 * mib
	// smallBlockDivisor: blocks below an eighth of a full one are packed anew,
	// together with their neighbours. Above that they compress nearly as well as
	// full ones, and copying them costs next to nothing.
	smallBlockDivisor = 8
)

// merge writes the records of segments that are to be kept to a new segment,
// which takes their place.
func (db *DB) merge(ctx context.Context, inputs []*segment, now time.Time) error {
	m := &merger{db: db, ctx: ctx, inputs: inputs, now: now, limit: rate.NewLimiter(mergeBytesPerSecond, mergeBurst)}
	m.reader.codec = db.codec
	err := m.run()
	if err != nil {
		db.metrics.merges.WithLabelValues("failed").Inc()
		return err
	}
	db.metrics.merges.WithLabelValues("ok").Inc()
	for _, g := range inputs {
		db.metrics.mergedBytes.Add(float64(g.size))
	}
	return nil
}

// merger merges segments.
type merger struct {
	db     *DB
	ctx    context.Context
	inputs []*segment
	now    time.Time
	limit  *rate.Limiter
	w      *segmentWriter
	reader blockReader
	frames []byte
	// pending are records of small blocks, whose sources are indexes into table.
	pending columns
	sorted  columns
	table   []storage.SourceID
	refs    map[storage.SourceID]uint32
}

// mergeBlock is a block of an input.
type mergeBlock struct {
	g *segment
	i uint32
}

func (b mergeBlock) meta() *blockMeta { return &b.g.blocks[b.i] }

func (m *merger) run() error {
	seq := m.db.lastSeq.Add(1)
	w, err := newSegmentWriter(m.db.options.Dir, seq, m.db.codec)
	if err != nil {
		return err
	}
	m.w = w
	if err := m.copyAll(); err != nil {
		w.abort()
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	merged, foot, err := openSegment(m.db.options.Dir, seq, m.db.codec)
	if err != nil {
		return err
	}
	merged.sources = nil
	merged.attach(m.db.streams, foot)
	return m.db.replace(m.inputs, merged)
}

// copyAll writes blocks, stream by stream, and what the footers have beside.
func (m *merger) copyAll() error {
	blocks := make(map[*stream][]mergeBlock)
	for _, g := range m.inputs {
		m.w.footer.replaces = append(m.w.footer.replaces, g.seq)
		m.w.footer.wal = max(m.w.footer.wal, g.wal)
		for i := range g.blocks {
			b := &g.blocks[i]
			if m.db.isExpired(g, b, m.now) {
				m.db.metrics.droppedBytes.WithLabelValues(dropTime).Add(float64(b.size()))
				continue
			}
			s := g.streams[b.stream]
			blocks[s] = append(blocks[s], mergeBlock{g, uint32(i)})
		}
	}
	if err := m.mergeMarks(); err != nil {
		return err
	}
	streams := make([]*stream, 0, len(blocks))
	for s := range blocks {
		streams = append(streams, s)
	}
	slices.SortFunc(streams, func(a, b *stream) int { return labels.Compare(a.Labels, b.Labels) })
	for _, s := range streams {
		if err := m.copyStream(m.w.addStream(s.Labels), blocks[s]); err != nil {
			return err
		}
	}
	return nil
}

// mergeMarks takes over the newest mark of each source.
func (m *merger) mergeMarks() error {
	newest := make(map[storage.SourceID]sourceMark)
	for _, g := range m.inputs {
		// Open segments do without their marks; they are read again.
		again, _, err := openSegment(m.db.options.Dir, g.seq, m.db.codec)
		if err != nil {
			return err
		}
		again.f.Close()
		for _, s := range again.sources {
			if old, ok := newest[s.source]; ok {
				s.offset, s.time = max(s.offset, old.offset), max(s.time, old.time)
			}
			newest[s.source] = s
		}
	}
	for _, s := range newest {
		m.w.footer.sources = append(m.w.footer.sources, s)
	}
	slices.SortFunc(m.w.footer.sources, func(a, b sourceMark) int { return bytes.Compare(a.source[:], b.source[:]) })
	return nil
}

// copyStream writes the blocks of a stream: large ones as they are, small ones
// packed together.
func (m *merger) copyStream(stream uint32, blocks []mergeBlock) error {
	slices.SortStableFunc(blocks, func(a, b mergeBlock) int { return cmp.Compare(a.meta().minTime, b.meta().minTime) })
	m.pending.reset()
	m.table, m.refs = m.table[:0], make(map[storage.SourceID]uint32)
	for _, b := range blocks {
		if err := m.wait(b.meta().size()); err != nil {
			return err
		}
		err := m.copyBlock(stream, b)
		if errors.Is(err, errFormat) {
			if b.g.isNewlyDamaged(b.i) {
				m.db.metrics.corrupt.WithLabelValues("block").Inc()
			}
			m.db.logger.Error("A damaged block is left out of a merge; its records are lost", "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	m.flush(stream)
	return nil
}

// wait keeps to the limit.
func (m *merger) wait(bytes int64) error {
	for bytes > 0 {
		n := min(bytes, mergeBurst)
		if err := m.limit.WaitN(m.ctx, int(n)); err != nil {
			return err
		}
		bytes -= n
	}
	return nil
}

func (m *merger) copyBlock(stream uint32, b mergeBlock) error {
	meta := b.meta()
	if int(meta.textBytes) < m.db.options.BlockBytes/smallBlockDivisor && meta.rows < maxBlockRows/smallBlockDivisor {
		return m.unpack(stream, b)
	}
	m.flush(stream)
	var err error
	if m.frames, err = b.g.read(m.frames, meta.offset, int(meta.size())); err != nil {
		return err
	}
	counts, identity := m.frames[:meta.countsLen], m.frames[meta.countsLen:meta.countsLen+meta.identityLen]
	text := m.frames[meta.countsLen+meta.identityLen:]
	if checksum(counts) != meta.countsCRC || checksum(identity) != meta.identityCRC || checksum(text) != meta.textCRC {
		return fmt.Errorf("%w: checksum at %d of %s", errFormat, meta.offset, b.g.path)
	}
	skips := m.db.bitmaps(b.g)
	if skips == nil {
		// Without its bitmap the block is packed anew.
		return m.unpack(stream, b)
	}
	m.w.addEncoded(stream, *meta, m.frames, meta.bitmap(skips))
	return m.w.err()
}

// unpack adds the records of a block to the pending ones.
func (m *merger) unpack(stream uint32, b mergeBlock) error {
	meta, r := b.meta(), &m.reader
	if err := r.readCounts(b.g, meta); err != nil {
		return err
	}
	if err := r.readIdentity(b.g, meta); err != nil {
		return err
	}
	if err := r.readText(b.g, meta); err != nil {
		return err
	}
	if m.pending.len() > 0 && (len(m.pending.text)+len(r.text) > m.db.options.BlockBytes || m.pending.len()+r.len() > maxBlockRows) {
		m.flush(stream)
	}
	for i := range r.times {
		source, _ := r.identity(i, r.identityTable())
		ref, ok := m.refs[source]
		if !ok {
			ref = uint32(len(m.table))
			m.refs[source] = ref
			m.table = append(m.table, source)
		}
		m.pending.appendRow(&r.columns, i, ref)
	}
	return m.w.err()
}

// flush writes the pending records as a block.
func (m *merger) flush(stream uint32) {
	p := &m.pending
	if p.len() == 0 {
		return
	}
	rows := make([]int, p.len())
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(i, j int) int {
		a, b := key{time: p.times[i]}, key{time: p.times[j]}
		a.source, a.offset = p.identity(i, m.table)
		b.source, b.offset = p.identity(j, m.table)
		return a.compare(&b)
	})
	m.sorted.reset()
	for _, row := range rows {
		m.sorted.appendRow(p, row, p.sources[row])
	}
	m.w.add(stream, &m.sorted, m.table)
	p.reset()
}
