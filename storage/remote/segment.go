package remote

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The on-disk format is described in docs/formats/remote-buffer.md.
const (
	segmentMagic      = "BNCLRWB\n"
	formatVersion     = 1
	segmentHeaderSize = 16
	frameMagic        = "\xb1RWF"
	frameHeaderSize   = 40
	// maxFrameBody is above anything the encoder makes. A longer length in a
	// header is damage.
	maxFrameBody = 8 << 20
	// resyncWindow is how much is read at once while looking for a frame.
	resyncWindow = 64 << 10
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

var (
	// errNoFrame means that there is no frame header at an offset.
	errNoFrame = errors.New("no entry header")
	// errBody means that a body does not match the checksum in its header.
	errBody = errors.New("checksum of an entry does not match")
	// errNewerFormat means that a later version of the program wrote a segment.
	errNewerFormat = errors.New("format is of a newer version")
)

// frameHeader precedes every request body in a segment.
type frameHeader struct {
	counts
	bodyLen uint32
	bodyCRC uint32
	created int64 // milliseconds since the epoch when it was written
}

// size is the length of the frame with its header.
func (h frameHeader) size() int64 { return frameHeaderSize + int64(h.bodyLen) }

// putFrameHeader completes a frame whose body is in place already.
func putFrameHeader(frame []byte, h frameHeader) {
	body := frame[frameHeaderSize:]
	copy(frame, frameMagic)
	le := binary.LittleEndian
	le.PutUint32(frame[8:], crc32.Checksum(body, crcTable))
	le.PutUint32(frame[12:], uint32(len(body)))
	le.PutUint32(frame[16:], h.samples)
	le.PutUint32(frame[20:], h.histograms)
	le.PutUint32(frame[24:], h.exemplars)
	le.PutUint32(frame[28:], 0)
	le.PutUint64(frame[32:], uint64(h.created))
	le.PutUint32(frame[4:], crc32.Checksum(frame[8:frameHeaderSize], crcTable))
}

// parseFrameHeader returns errNoFrame unless b begins with an undamaged header.
func parseFrameHeader(b []byte) (frameHeader, error) {
	le := binary.LittleEndian
	if len(b) < frameHeaderSize || string(b[:4]) != frameMagic ||
		le.Uint32(b[4:]) != crc32.Checksum(b[8:frameHeaderSize], crcTable) {
		return frameHeader{}, errNoFrame
	}
	h := frameHeader{
		bodyCRC: le.Uint32(b[8:]),
		bodyLen: le.Uint32(b[12:]),
		counts:  counts{samples: le.Uint32(b[16:]), histograms: le.Uint32(b[20:]), exemplars: le.Uint32(b[24:])},
		created: int64(le.Uint64(b[32:])),
	}
	if h.bodyLen > maxFrameBody {
		return frameHeader{}, errNoFrame
	}
	return h, nil
}

// newSegmentHeader returns the beginning of a segment file.
func newSegmentHeader() []byte {
	b := make([]byte, segmentHeaderSize)
	copy(b, segmentMagic)
	b[8] = formatVersion
	putSegmentCRC(b)
	return b
}

func putSegmentCRC(header []byte) {
	binary.LittleEndian.PutUint32(header[12:], crc32.Checksum(header[:12], crcTable))
}

// checkSegmentHeader returns errNewerFormat when the segment must not be read.
// A damaged header is not an error: frames are found without it.
func checkSegmentHeader(r io.ReaderAt) error {
	b := make([]byte, segmentHeaderSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("read segment header: %w", err)
	}
	whole := string(b[:8]) == segmentMagic && binary.LittleEndian.Uint32(b[12:]) == crc32.Checksum(b[:12], crcTable)
	if whole && b[8] != formatVersion {
		return fmt.Errorf("%w %d, this program knows version %d", errNewerFormat, b[8], formatVersion)
	}
	return nil
}

// segmentReader reads the frames of one segment up to limit.
type segmentReader struct {
	r     io.ReaderAt
	limit int64
}

// header reads the frame header at off. io.EOF means that off is the end.
func (s segmentReader) header(off int64) (frameHeader, error) {
	if off >= s.limit {
		return frameHeader{}, io.EOF
	}
	var b [frameHeaderSize]byte
	if off+frameHeaderSize > s.limit {
		return frameHeader{}, errNoFrame
	}
	if _, err := s.r.ReadAt(b[:], off); err != nil {
		return frameHeader{}, fmt.Errorf("read at offset %d: %w", off, notEOF(err))
	}
	h, err := parseFrameHeader(b[:])
	if err == nil && off+h.size() > s.limit {
		return frameHeader{}, errNoFrame
	}
	return h, err
}

// body reads the body of the frame at off into buf, which grows as needed, and
// checks it.
func (s segmentReader) body(off int64, h frameHeader, buf []byte) ([]byte, error) {
	if cap(buf) < int(h.bodyLen) {
		buf = make([]byte, h.bodyLen)
	}
	buf = buf[:h.bodyLen]
	if _, err := s.r.ReadAt(buf, off+frameHeaderSize); err != nil {
		return buf, fmt.Errorf("read at offset %d: %w", off, notEOF(err))
	}
	if crc32.Checksum(buf, crcTable) != h.bodyCRC {
		return buf, errBody
	}
	return buf, nil
}

// notEOF replaces io.EOF, which callers take for a regular end.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// resync returns the offset of the first frame header after off, or limit.
func (s segmentReader) resync(off int64) (int64, error) {
	window := make([]byte, resyncWindow)
	for off++; off+frameHeaderSize <= s.limit; {
		b := window[:min(resyncWindow, s.limit-off)]
		if _, err := s.r.ReadAt(b, off); err != nil {
			return s.limit, fmt.Errorf("read at offset %d: %w", off, notEOF(err))
		}
		i := bytes.Index(b, []byte(frameMagic))
		if i < 0 {
			off += int64(len(b)) - int64(len(frameMagic)) + 1
			continue
		}
		if _, err := s.header(off + int64(i)); err == nil {
			return off + int64(i), nil
		}
		off += int64(i) + 1
	}
	return s.limit, nil
}

// lastValid returns the end of the last undamaged frame: what follows it was
// torn off in the middle of a write.
func (s segmentReader) lastValid() (int64, error) {
	end := int64(segmentHeaderSize)
	var buf []byte
	for off := end; off < s.limit; {
		h, err := s.header(off)
		if err == nil {
			if buf, err = s.body(off, h, buf); err == nil {
				off += h.size()
				end = off
				continue
			}
		}
		if !errors.Is(err, errNoFrame) && !errors.Is(err, errBody) {
			return end, err
		}
		if off, err = s.resync(off); err != nil {
			return end, err
		}
	}
	return end, nil
}
