package logdb

import (
	"encoding/binary"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// The on-disk format is described in docs/logdb-format.md.
const (
	segmentMagic   = "BNCLSEG\n"
	formatVersion  = 1
	headerSize     = 16
	trailerSize    = 48
	trailerMagic   = "GESLCNB\n"
	maxFooterBytes = 1 << 30
)

// blockMeta is what a segment's footer says of a block.
type blockMeta struct {
	minTime, maxTime int64
	offset           int64 // of the first frame in the file
	skipOffset       uint32
	stream           uint32 // index into the segment's streams
	rows             uint32
	textBytes        uint32 // uncompressed
	identityRaw      uint32
	countsLen        uint32
	identityLen      uint32
	textLen          uint32
	countsCRC        uint32
	identityCRC      uint32
	textCRC          uint32
	levels           uint8 // bit 1<<Level for each level that occurs
	skipLog          uint8
}

// size is the length of the block's frames.
func (b *blockMeta) size() int64 {
	return int64(b.countsLen) + int64(b.identityLen) + int64(b.textLen)
}

// sourceMark is the last record of a source.
type sourceMark struct {
	source storage.SourceID
	offset int64
	time   int64
}

// footer describes a segment.
type footer struct {
	// wal is the newest write-ahead log file whose records are in this segment
	// or in those that it replaces.
	wal uint64
	// replaces are the sequence numbers of the segments that were merged into
	// this one.
	replaces []uint64
	streams  []labels.Labels
	sources  []sourceMark
	blocks   []blockMeta
}

// append encodes f. Offsets follow from lengths: blocks and bitmaps lie one
// after another.
func (f *footer) append(b []byte) []byte {
	b = binary.AppendUvarint(b, f.wal)
	b = binary.AppendUvarint(b, uint64(len(f.replaces)))
	for _, r := range f.replaces {
		b = binary.AppendUvarint(b, r)
	}
	b = binary.AppendUvarint(b, uint64(len(f.streams)))
	for _, s := range f.streams {
		b = appendLabels(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(f.sources)))
	for _, s := range f.sources {
		b = append(b, s.source[:]...)
		b = binary.AppendVarint(b, s.offset)
		b = binary.AppendVarint(b, s.time)
	}
	b = binary.AppendUvarint(b, uint64(len(f.blocks)))
	for i := range f.blocks {
		b = f.blocks[i].append(b)
	}
	return b
}

func (m *blockMeta) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(m.stream))
	b = binary.AppendVarint(b, m.minTime)
	b = binary.AppendUvarint(b, uint64(m.maxTime-m.minTime))
	for _, v := range [...]uint32{m.rows, m.textBytes, m.identityRaw, m.countsLen, m.identityLen, m.textLen} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = append(b, m.levels, m.skipLog)
	for _, v := range [...]uint32{m.countsCRC, m.identityCRC, m.textCRC} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// parseFooter decodes b. The blocks must fill dataBytes after the header, and
// their bitmaps skipSize.
func parseFooter(b []byte, dataBytes, skipSize int64) (*footer, error) {
	in := input{b: b}
	f := &footer{wal: in.uvarint()}
	for range in.count(1) {
		f.replaces = append(f.replaces, in.uvarint())
	}
	var names labels.ScratchBuilder
	for range in.count(1) {
		f.streams = append(f.streams, in.labels(&names))
	}
	for range in.count(18) {
		f.sources = append(f.sources, sourceMark{in.source(), in.varint(), in.varint()})
	}
	n := in.count(23)
	f.blocks = make([]blockMeta, 0, n)
	offset, skipOffset := int64(headerSize), int64(0)
	for range n {
		m := in.blockMeta()
		m.offset, m.skipOffset = offset, uint32(skipOffset)
		if in.err == nil && !m.plausible(len(f.streams)) {
			return nil, errFormat
		}
		offset += m.size()
		skipOffset += int64(skipBytes(m.skipLog))
		f.blocks = append(f.blocks, m)
	}
	if err := in.end(); err != nil {
		return nil, err
	}
	if offset != headerSize+dataBytes || skipOffset != skipSize {
		return nil, fmt.Errorf("%w: blocks take %d bytes and bitmaps %d, the file has %d and %d",
			errFormat, offset-headerSize, skipOffset, dataBytes, skipSize)
	}
	return f, nil
}

func (in *input) blockMeta() blockMeta {
	var m blockMeta
	m.stream = in.small()
	m.minTime = in.varint()
	m.maxTime = m.minTime + int64(in.uvarint())
	for _, v := range [...]*uint32{&m.rows, &m.textBytes, &m.identityRaw, &m.countsLen, &m.identityLen, &m.textLen} {
		*v = in.small()
	}
	m.levels, m.skipLog = in.byte(), in.byte()
	m.countsCRC, m.identityCRC, m.textCRC = in.uint32(), in.uint32(), in.uint32()
	return m
}

// small reads a number of 32 bits.
func (in *input) small() uint32 {
	v := in.uvarint()
	if v > 1<<32-1 {
		in.fail()
		return 0
	}
	return uint32(v)
}

// plausible tells whether decoding the block can be tried.
func (m *blockMeta) plausible(streams int) bool {
	return int(m.stream) < streams && m.maxTime >= m.minTime && m.rows > 0 && m.rows <= maxBlockRows &&
		m.textBytes <= maxTextBytes && m.identityRaw <= maxIdentityBytes &&
		m.skipLog >= skipMinLog && m.skipLog <= skipMaxLog
}

// trailer is the end of a segment file: where everything else is.
type trailer struct {
	dataBytes  uint64
	skipSize   uint32
	skipCRC    uint32
	footerLen  uint32
	footerRaw  uint32
	footerCRC  uint32
	blockCount uint32
}

func (t trailer) append(b []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, t.dataBytes)
	for _, v := range [...]uint32{t.skipSize, t.skipCRC, t.footerLen, t.footerRaw, t.footerCRC, t.blockCount, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
	return append(b, trailerMagic...)
}

func parseTrailer(b []byte) (trailer, error) {
	if len(b) != trailerSize || string(b[trailerSize-8:]) != trailerMagic {
		return trailer{}, fmt.Errorf("%w: no trailer", errFormat)
	}
	in := input{b: b}
	t := trailer{dataBytes: uint64(in.uint32()) | uint64(in.uint32())<<32}
	for _, v := range [...]*uint32{&t.skipSize, &t.skipCRC, &t.footerLen, &t.footerRaw, &t.footerCRC, &t.blockCount} {
		*v = in.uint32()
	}
	in.uint32()
	if in.uint32() != checksum(b[:trailerSize-12]) {
		return trailer{}, fmt.Errorf("%w: checksum of the trailer", errFormat)
	}
	return t, nil
}

// newHeader is the beginning of a file of either kind.
func newHeader(magic string) []byte {
	b := append([]byte(magic), formatVersion, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// checkHeader says what is wrong with the beginning of a file.
func checkHeader(b []byte, magic string) error {
	if len(b) < headerSize || string(b[:8]) != magic || binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]) {
		return fmt.Errorf("%w: no header", errFormat)
	}
	if b[8] != formatVersion {
		return fmt.Errorf("%w %d, this program knows version %d", errNewerFormat, b[8], formatVersion)
	}
	return nil
}
