package logdb

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	walMagic       = "BNCLWAL\n"
	walSuffix      = ".wal"
	frameHeader    = 12
	frameHasLabels = 1 << 3
	// maxFrameBytes bounds what a frame may be said to unpack to: a chunk of a
	// batch, or one long line, and the labels of its streams.
	maxFrameBytes = 64 * mib
)

// walFile is a write-ahead log file. The writer appends; Sync may be called
// beside it.
type walFile struct {
	seq  uint64
	path string
	f    *os.File
	// size is the end of the last whole frame.
	size int64

	syncMu sync.Mutex
	// synced is how far the file is known to be on the disk. Guarded by syncMu.
	synced int64
}

func walPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d%s", seq, walSuffix))
}

// parseSeq returns the sequence number in the name of a file of ours.
func parseSeq(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// createWAL makes a file that survives a crash from the start.
func createWAL(dir string, seq uint64) (*walFile, error) {
	path := walPath(dir, seq)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("logdb: create write-ahead log: %w", err)
	}
	header := newHeader(walMagic)
	_, err = f.Write(header)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(path) // Without its header it is no log; it is replaced.
		return nil, fmt.Errorf("logdb: create write-ahead log: %w", err)
	}
	return &walFile{seq: seq, path: path, f: f, size: headerSize, synced: headerSize}, nil
}

// append writes a frame in one call. After an error the file is as before.
func (w *walFile) append(frame []byte) error {
	n, err := w.f.WriteAt(frame, w.size)
	if err != nil {
		if n > 0 {
			// What is left of the frame fails its checksum at the next start, and
			// the next frame overwrites it.
			_ = w.f.Truncate(w.size)
		}
		return fmt.Errorf("logdb: write to %s: %w", w.path, err)
	}
	w.size += int64(n)
	return nil
}

// sync puts the first n bytes on the disk unless they are there already.
func (w *walFile) sync(n int64) error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	if w.synced >= n {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("logdb: sync %s: %w", w.path, err)
	}
	w.synced = n
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// frameEncoder makes frames of accepted records.
type frameEncoder struct {
	raw, frame []byte
}

// encode makes the frame of a chunk: what is new in the dictionaries of the
// file, the records, and then their text.
func (e *frameEncoder) encode(c *chunk) []byte {
	b := binary.AppendUvarint(e.raw[:0], uint64(len(c.newStreams)))
	for _, s := range c.newStreams {
		b = appendLabels(b, s.Labels)
	}
	b = binary.AppendUvarint(b, uint64(len(c.newSources)))
	for _, s := range c.newSources {
		b = append(b, s.source[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.rows)))
	var time, offset int64
	for i := range c.rows {
		a := &c.rows[i]
		r := &c.batch[a.index]
		b = binary.AppendUvarint(b, uint64(a.stream))
		b = binary.AppendUvarint(b, uint64(a.source))
		b = binary.AppendVarint(b, r.Time-time)
		b = binary.AppendVarint(b, r.Offset-offset)
		time, offset = r.Time, r.Offset
		attributes := uint64(r.Flags)<<4 | uint64(r.Level&7)
		if r.Metadata.IsEmpty() {
			b = binary.AppendUvarint(b, attributes)
		} else {
			b = binary.AppendUvarint(b, attributes|frameHasLabels)
			b = appendLabels(b, r.Metadata)
		}
		b = binary.AppendUvarint(b, uint64(len(r.Line)))
	}
	for i := range c.rows {
		b = append(b, c.batch[c.rows[i].index].Line...)
	}
	e.raw = b
	return e.pack()
}

// pack compresses e.raw and puts a header in front.
func (e *frameEncoder) pack() []byte {
	need := frameHeader + s2.MaxEncodedLen(len(e.raw))
	if cap(e.frame) < need {
		e.frame = make([]byte, need)
	}
	body := s2.Encode(e.frame[frameHeader:cap(e.frame)], e.raw)
	frame := e.frame[:frameHeader+len(body)]
	binary.LittleEndian.PutUint32(frame, uint32(len(body)))
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(e.raw)))
	binary.LittleEndian.PutUint32(frame[8:], frameChecksum(frame))
	return frame
}

// frameChecksum covers the lengths and the body of a frame.
func frameChecksum(frame []byte) uint32 {
	return checksum(frame[:8]) ^ checksum(frame[frameHeader:])
}

// frameRows are the contents of a frame. Lines are part of the decoder's
// memory.
type frameRows struct {
	streams []labels.Labels
	sources []storage.SourceID
	rows    []frameRow
}

// frameRow is a record; Stream and Source are not set.
type frameRow struct {
	stream, source uint32
	record         storage.Record
}

// parseFrame decodes the contents of a frame.
func parseFrame(raw []byte) (*frameRows, error) {
	in := input{b: raw}
	f := &frameRows{}
	var names labels.ScratchBuilder
	for range in.count(1) {
		f.streams = append(f.streams, in.labels(&names))
	}
	for range in.count(len(storage.SourceID{})) {
		f.sources = append(f.sources, in.source())
	}
	var time, offset int64
	var sizes []int
	for range in.count(6) {
		row := frameRow{stream: in.small(), source: in.small()}
		time += in.varint()
		offset += in.varint()
		attributes := in.uvarint()
		row.record = storage.Record{
			Time: time, Offset: offset, Level: storage.Level(attributes & 7), Flags: storage.RecordFlags(attributes >> 4),
		}
		if attributes&frameHasLabels != 0 {
			row.record.Metadata = in.labels(&names)
		}
		sizes = append(sizes, int(in.small()))
		f.rows = append(f.rows, row)
	}
	for i, size := range sizes {
		f.rows[i].record.Line = in.next(size)
		f.rows[i].record.Size = int32(size)
	}
	return f, in.end()
}

// nextFrame returns the contents of the frame at the beginning of b, appended
// to dst, and the frame's length.
func nextFrame(dst, b []byte) (raw []byte, n int, err error) {
	if len(b) < frameHeader {
		return dst, 0, fmt.Errorf("%w: half a frame header", errFormat)
	}
	n = frameHeader + int(binary.LittleEndian.Uint32(b))
	size := int(binary.LittleEndian.Uint32(b[4:]))
	if n > len(b) || size > maxFrameBytes {
		return dst, 0, fmt.Errorf("%w: a frame of %d bytes where %d are left", errFormat, n, len(b))
	}
	if binary.LittleEndian.Uint32(b[8:]) != frameChecksum(b[:n]) {
		return dst, 0, fmt.Errorf("%w: checksum of a frame", errFormat)
	}
	if got, err := s2.DecodedLen(b[frameHeader:n]); err != nil || got != size {
		return dst, 0, fmt.Errorf("%w: length of a frame", errFormat)
	}
	raw, err = s2.Decode(dst[:cap(dst)], b[frameHeader:n])
	return raw, n, err
}
