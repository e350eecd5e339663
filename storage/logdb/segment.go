package logdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	segmentSuffix = ".seg"
	tmpSuffix     = ".tmp"
)

// segment is an open segment file. It never changes; readers keep it, and its
// file, by a reference.
type segment struct {
	seq      uint64
	path     string
	f        *os.File
	size     int64
	wal      uint64
	replaces []uint64
	sources  []sourceMark
	streams  []*stream
	blocks   []blockMeta

	minTime, maxTime int64
	skipOffset       int64
	skipSize         uint32
	skipCRC          uint32

	// refs counts the readers and, as long as it is in the store, the store.
	refs     atomic.Int32
	obsolete atomic.Bool
	index    *streamIndex

	skipMu sync.Mutex
	// Guarded by skipMu. skips are the bitmaps of all blocks once they were
	// needed; skipLost says that they are damaged.
	skips    []byte
	skipLost bool
	// damaged are the blocks found damaged, so that each is reported once.
	damaged map[uint32]bool
}

func segmentPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d%s", seq, segmentSuffix))
}

// openSegment reads what a segment says of itself. Errors that wrap errFormat
// mean that the file is damaged.
func openSegment(dir string, seq uint64, codec *codec) (*segment, *footer, error) {
	path := segmentPath(dir, seq)
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("logdb: open segment: %w", err)
	}
	s := &segment{seq: seq, path: path, f: f, damaged: make(map[uint32]bool)}
	foot, err := s.readFooter(codec)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("logdb: read segment %s: %w", path, err)
	}
	s.wal, s.replaces, s.sources, s.blocks = foot.wal, foot.replaces, foot.sources, foot.blocks
	for i := range s.blocks {
		b := &s.blocks[i]
		if i == 0 {
			s.minTime, s.maxTime = b.minTime, b.maxTime
		}
		s.minTime, s.maxTime = min(s.minTime, b.minTime), max(s.maxTime, b.maxTime)
	}
	s.refs.Store(1)
	return s, foot, nil
}

func (s *segment) readFooter(codec *codec) (*footer, error) {
	info, err := s.f.Stat()
	if err != nil {
		return nil, err
	}
	s.size = info.Size()
	if s.size < headerSize+trailerSize {
		return nil, fmt.Errorf("%w: %d bytes", errFormat, s.size)
	}
	header, err := s.read(nil, 0, headerSize)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(header, segmentMagic); err != nil {
		return nil, err
	}
	end, err := s.read(nil, s.size-trailerSize, trailerSize)
	if err != nil {
		return nil, err
	}
	t, err := parseTrailer(end)
	if err != nil {
		return nil, err
	}
	if t.dataBytes > uint64(s.size) || headerSize+int64(t.dataBytes)+int64(t.skipSize)+int64(t.footerLen)+trailerSize != s.size ||
		t.footerRaw > maxFooterBytes {
		return nil, fmt.Errorf("%w: the parts do not fill the file", errFormat)
	}
	s.skipOffset, s.skipSize, s.skipCRC = headerSize+int64(t.dataBytes), t.skipSize, t.skipCRC
	packed, err := s.read(nil, s.skipOffset+int64(t.skipSize), int(t.footerLen))
	if err != nil {
		return nil, err
	}
	if checksum(packed) != t.footerCRC {
		return nil, fmt.Errorf("%w: checksum of the footer", errFormat)
	}
	raw, err := codec.unpack(nil, packed, int(t.footerRaw))
	if err != nil {
		return nil, fmt.Errorf("%w: footer: %w", errFormat, err)
	}
	return parseFooter(raw, int64(t.dataBytes), int64(t.skipSize))
}

// read reads n bytes at offset into buf, which grows as needed.
func (s *segment) read(buf []byte, offset int64, n int) ([]byte, error) {
	buf = slices.Grow(buf[:0], n)[:n]
	if _, err := s.f.ReadAt(buf, offset); err != nil {
		return buf, fmt.Errorf("read %d bytes at %d of %s: %w", n, offset, s.path, err)
	}
	return buf, nil
}

// attach finds the segment's streams in the index.
func (s *segment) attach(index *streamIndex, foot *footer) {
	s.index = index
	for _, l := range foot.streams {
		s.streams = append(s.streams, index.acquire(l))
	}
}

// acquire adds a reader. The caller has one reference already.
func (s *segment) acquire() { s.refs.Add(1) }

// release ends a reader. The last one closes the file, and removes it when the
// store does not have it any more.
func (s *segment) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	if s.index != nil {
		s.index.release(s.streams)
	}
	err := s.f.Close()
	if s.obsolete.Load() {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// loadSkips returns the bitmaps of all blocks; nil when they are damaged.
func (s *segment) loadSkips() (skips []byte, err error) {
	s.skipMu.Lock()
	defer s.skipMu.Unlock()
	if s.skips != nil || s.skipLost {
		return s.skips, nil
	}
	b, err := s.read(nil, s.skipOffset, int(s.skipSize))
	if err == nil && checksum(b) != s.skipCRC {
		err = fmt.Errorf("%w: checksum of the skip index of %s", errFormat, s.path)
	}
	if err != nil {
		s.skipLost = true
		return nil, err
	}
	s.skips = b
	return b, nil
}

// dropSkips frees the bitmaps; they are read again when needed.
func (s *segment) dropSkips() (freed int) {
	s.skipMu.Lock()
	defer s.skipMu.Unlock()
	freed = len(s.skips)
	s.skips = nil
	return freed
}

func (m *blockMeta) bitmap(skips []byte) []byte {
	return skips[m.skipOffset : int(m.skipOffset)+skipBytes(m.skipLog)]
}

// isNewlyDamaged notes that a block is damaged and tells whether that is news.
func (s *segment) isNewlyDamaged(block uint32) bool {
	s.skipMu.Lock()
	defer s.skipMu.Unlock()
	if s.damaged[block] {
		return false
	}
	s.damaged[block] = true
	return true
}

// blockReader reads the frames of blocks, one block at a time, and keeps the
// memory for the next.
type blockReader struct {
	codec *codec
	buf   []byte
	columns
	identityDecoder
	textBuf []byte
}

func (r *blockReader) frame(s *segment, offset int64, n, crc uint32) ([]byte, error) {
	var err error
	if r.buf, err = s.read(r.buf, offset, int(n)); err != nil {
		return nil, err
	}
	if checksum(r.buf) != crc {
		return nil, fmt.Errorf("%w: checksum at %d of %s", errFormat, offset, s.path)
	}
	return r.buf, nil
}

// readCounts reads times, lengths and levels.
func (r *blockReader) readCounts(s *segment, m *blockMeta) error {
	frame, err := r.frame(s, m.offset, m.countsLen, m.countsCRC)
	if err != nil {
		return err
	}
	if err := decodeCounts(&r.columns, frame, int(m.rows)); err != nil {
		return fmt.Errorf("%w: times at %d of %s", err, m.offset, s.path)
	}
	if r.ends[len(r.ends)-1] != m.textBytes || r.times[0] != m.minTime || r.times[len(r.times)-1] != m.maxTime ||
		!slices.IsSorted(r.times) {
		return fmt.Errorf("%w: times at %d of %s", errFormat, m.offset, s.path)
	}
	return nil
}

// readIdentity reads sources, offsets, flags and metadata, after the counts.
func (r *blockReader) readIdentity(s *segment, m *blockMeta) error {
	at := m.offset + int64(m.countsLen)
	frame, err := r.frame(s, at, m.identityLen, m.identityCRC)
	if err != nil {
		return err
	}
	if err := r.decode(r.codec, &r.columns, frame, m.identityRaw); err != nil {
		return fmt.Errorf("%w: identities at %d of %s", err, at, s.path)
	}
	return nil
}

// readText reads the text.
func (r *blockReader) readText(s *segment, m *blockMeta) error {
	at := m.offset + int64(m.countsLen) + int64(m.identityLen)
	frame, err := r.frame(s, at, m.textLen, m.textCRC)
	if err != nil {
		return err
	}
	if r.textBuf, err = r.codec.unpack(r.textBuf[:0], frame, int(m.textBytes)); err != nil {
		return fmt.Errorf("%w: text at %d of %s: %w", errFormat, at, s.path, err)
	}
	r.text = r.textBuf
	return nil
}

// identityTable is the table of the last block whose identity was read.
func (r *blockReader) identityTable() []storage.SourceID { return r.table }
