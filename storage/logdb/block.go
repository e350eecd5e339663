package logdb

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxBlockRows bounds the records of a block, which matters where lines are
	// empty or nearly so.
	maxBlockRows = 1 << 15
	// maxLineBytes bounds a line: longer ones are refused.
	maxLineBytes = 8 * mib
	// maxTextBytes bounds what a block's text may be said to unpack to.
	maxTextBytes = maxBlock + maxLineBytes
	// maxIdentityBytes bounds the rest of a block likewise.
	maxIdentityBytes = 64 * mib
)

// What the identity frame has.
const (
	hasSources = 1 << iota
	hasFlags
	hasMetadata
)

// codec compresses and decompresses. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// newCodec makes a codec. Levels above the fastest took half as much CPU again
// and were no smaller on log lines.
func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(maxBlock), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("logdb: make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxIdentityBytes))
	if err != nil {
		return nil, fmt.Errorf("logdb: make decoder: %w", err)
	}
	return &codec{enc, dec}, nil
}

// unpack appends the contents of packed, which must be size bytes, to dst.
func (c *codec) unpack(dst, packed []byte, size int) ([]byte, error) {
	if cap(dst)-len(dst) < size {
		dst = append(make([]byte, 0, len(dst)+size), dst...)
	}
	out, err := c.dec.DecodeAll(packed, dst)
	if err != nil {
		return dst, err
	}
	if len(out)-len(dst) != size {
		return dst, errFormat
	}
	return out, nil
}

// blockFrames are the three parts of an encoded block. See
// docs/logdb-format.md.
type blockFrames struct {
	counts, identity, text []byte
	identityRaw            uint32
}

// blockEncoder turns columns into frames, whose memory it uses again.
type blockEncoder struct {
	codec  *codec
	frames blockFrames
	raw    []byte
	// last is, by source, where the last record of it ended.
	last map[uint32]int64
}

func newBlockEncoder(c *codec) *blockEncoder {
	return &blockEncoder{codec: c, last: make(map[uint32]int64)}
}

// encode makes the frames of c, whose sources are indexes into table. They are
// valid until the next call.
func (e *blockEncoder) encode(c *columns, table []storage.SourceID) *blockFrames {
	f := &e.frames
	f.counts = appendCounts(f.counts[:0], c)
	e.raw = e.appendIdentity(e.raw[:0], c, table)
	f.identityRaw = uint32(len(e.raw))
	f.identity = e.codec.enc.EncodeAll(e.raw, f.identity[:0])
	f.text = e.codec.enc.EncodeAll(c.text, f.text[:0])
	return f
}

// appendCounts writes what counting needs: times, lengths and levels.
func appendCounts(b []byte, c *columns) []byte {
	unit := timeUnit(c.times)
	b = binary.AppendUvarint(b, uint64(unit))
	b = binary.AppendVarint(b, c.times[0])
	previous := c.times[0]
	for _, t := range c.times[1:] {
		b = binary.AppendUvarint(b, uint64(t-previous)/uint64(unit))
		previous = t
	}
	for i := range c.times {
		b = binary.AppendUvarint(b, uint64(c.size(i))<<3|uint64(c.levels[i]&7))
	}
	return b
}

// timeUnit is the largest of a second, a millisecond, a microsecond and a
// nanosecond that divides all distances of ascending times.
func timeUnit(times []int64) int64 {
	unit := int64(1_000_000_000)
	for i := 1; i < len(times); i++ {
		for unit > 1 && (times[i]-times[i-1])%unit != 0 {
			unit /= 1000
		}
	}
	return unit
}

// appendIdentity writes sources, offsets, flags and metadata. The offset of a
// record follows from where the one before it in its source ended, up to a
// small number that is mostly the same.
func (e *blockEncoder) appendIdentity(b []byte, c *columns, table []storage.SourceID) []byte {
	at := len(b)
	b = append(b, 0)
	if used := usedSources(c, table); len(used) > 0 {
		b[at] |= hasSources
		b = e.appendSources(b, c, table, used)
	}
	for _, f := range c.flags {
		if f != 0 {
			b[at] |= hasFlags
			for _, f := range c.flags {
				b = append(b, byte(f))
			}
			break
		}
	}
	if len(c.metadata) > 0 {
		b[at] |= hasMetadata
		b = binary.AppendUvarint(b, uint64(len(c.metadata)))
		previous := uint32(0)
		for _, m := range c.metadata {
			b = binary.AppendUvarint(b, uint64(m.row-previous))
			b = appendLabels(b, m.labels)
			previous = m.row
		}
	}
	return b
}

// usedSources are those of c in the order of their first record, none when no
// record has a source.
func usedSources(c *columns, table []storage.SourceID) []uint32 {
	var used []uint32
	real := false
	previous := ^uint32(0)
next:
	for _, s := range c.sources {
		if s == previous {
			continue
		}
		previous = s
		for _, u := range used {
			if u == s {
				continue next
			}
		}
		used = append(used, s)
		real = real || !table[s].IsZero()
	}
	if !real {
		return nil
	}
	return used
}

func (e *blockEncoder) appendSources(b []byte, c *columns, table []storage.SourceID, used []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(used)))
	local := make(map[uint32]uint64, len(used))
	for i, u := range used {
		local[u] = uint64(i)
		b = append(b, table[u][:]...)
	}
	if len(used) > 1 {
		for _, s := range c.sources {
			b = binary.AppendUvarint(b, local[s])
		}
	}
	clear(e.last)
	for i, s := range c.sources {
		b = binary.AppendVarint(b, c.offsets[i]-e.last[s])
		e.last[s] = c.offsets[i] + int64(c.size(i))
	}
	return b
}

// decodeCounts reads a counts frame of rows records into c.
func decodeCounts(c *columns, frame []byte, rows int) error {
	in := input{b: frame}
	unit := in.uvarint()
	t := in.varint()
	if rows <= 0 || rows > maxBlockRows || rows > len(frame) || unit == 0 || unit > 1_000_000_000 {
		return errFormat
	}
	c.times = append(c.times[:0], t)
	for range rows - 1 {
		d := in.uvarint() * unit
		t += int64(d)
		c.times = append(c.times, t)
	}
	end := uint64(0)
	c.ends, c.levels = c.ends[:0], c.levels[:0]
	for range rows {
		v := in.uvarint()
		end += v >> 3
		if end > maxTextBytes {
			return errFormat
		}
		c.ends = append(c.ends, uint32(end))
		c.levels = append(c.levels, storage.Level(v&7))
	}
	return in.end()
}

// identityDecoder keeps the memory that decoding needs.
type identityDecoder struct {
	raw   []byte
	table []storage.SourceID
	last  []int64
	names labels.ScratchBuilder
}

// decode reads an identity frame into c, whose counts are decoded already. The
// sources are indexes into d.table until the next call.
func (d *identityDecoder) decode(codec *codec, c *columns, frame []byte, size uint32) (err error) {
	if size > maxIdentityBytes {
		return errFormat
	}
	if d.raw, err = codec.unpack(d.raw[:0], frame, int(size)); err != nil {
		return err
	}
	in := input{b: d.raw}
	has := in.byte()
	c.sources, c.offsets, c.flags, c.metadata = nil, nil, nil, nil
	if has&hasSources != 0 {
		d.decodeSources(&in, c)
	}
	if has&hasFlags != 0 {
		c.flags = make([]storage.RecordFlags, 0, c.len())
		for _, f := range in.next(c.len()) {
			c.flags = append(c.flags, storage.RecordFlags(f))
		}
	}
	if has&hasMetadata != 0 {
		row := uint64(0)
		for range in.count(2) {
			row += in.uvarint()
			if row >= uint64(c.len()) {
				return errFormat
			}
			c.metadata = append(c.metadata, rowLabels{uint32(row), in.labels(&d.names)})
		}
	}
	return in.end()
}

func (d *identityDecoder) decodeSources(in *input, c *columns) {
	n := in.count(len(storage.SourceID{}))
	d.table = d.table[:0]
	for range n {
		d.table = append(d.table, in.source())
	}
	if n == 0 {
		in.fail()
		return
	}
	c.sources, c.offsets = make([]uint32, c.len()), make([]int64, c.len())
	if n > 1 {
		for i := range c.sources {
			s := in.uvarint()
			if s >= uint64(n) {
				in.fail()
				return
			}
			c.sources[i] = uint32(s)
		}
	}
	d.last = append(d.last[:0], make([]int64, n)...)
	for i, s := range c.sources {
		c.offsets[i] = d.last[s] + in.varint()
		d.last[s] = c.offsets[i] + int64(c.size(i))
	}
}
