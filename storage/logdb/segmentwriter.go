package logdb

import (
	"bufio"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// segmentWriter writes a segment to a temporary file that gets its name when
// it is complete and on the disk.
type segmentWriter struct {
	dir     string
	seq     uint64
	f       *os.File
	w       *bufio.Writer
	codec   *codec
	encoder *blockEncoder
	skip    skipBuilder

	footer footer
	skips  []byte
	offset int64
}

func newSegmentWriter(dir string, seq uint64, codec *codec) (*segmentWriter, error) {
	f, err := os.Create(segmentPath(dir, seq) + tmpSuffix)
	if err != nil {
		return nil, fmt.Errorf("logdb: create segment: %w", err)
	}
	w := &segmentWriter{dir: dir, seq: seq, f: f, w: bufio.NewWriterSize(f, 256*kib), codec: codec, encoder: newBlockEncoder(codec)}
	w.write(newHeader(segmentMagic))
	return w, nil
}

// write passes b on. The error is that of the bufio.Writer, which finish sees.
func (w *segmentWriter) write(b []byte) {
	_, _ = w.w.Write(b)
	w.offset += int64(len(b))
}

// addStream appends a stream; blocks refer to it by the index returned.
func (w *segmentWriter) addStream(l labels.Labels) uint32 {
	w.footer.streams = append(w.footer.streams, l)
	return uint32(len(w.footer.streams) - 1)
}

// add writes a block of sorted records of a stream, whose sources are indexes
// into table.
func (w *segmentWriter) add(stream uint32, c *columns, table []storage.SourceID) {
	m := blockMeta{
		minTime: c.times[0], maxTime: c.times[len(c.times)-1], offset: w.offset,
		stream: stream, rows: uint32(c.len()), textBytes: uint32(len(c.text)),
	}
	for _, l := range c.levels {
		m.levels |= 1 << (l & 7)
	}
	f := w.encoder.encode(c, table)
	m.countsLen, m.identityLen, m.textLen = uint32(len(f.counts)), uint32(len(f.identity)), uint32(len(f.text))
	m.countsCRC, m.identityCRC, m.textCRC = checksum(f.counts), checksum(f.identity), checksum(f.text)
	m.identityRaw = f.identityRaw
	m.skipOffset = uint32(len(w.skips))
	w.skips, m.skipLog = w.skip.build(w.skips, c.text)
	w.write(f.counts)
	w.write(f.identity)
	w.write(f.text)
	w.footer.blocks = append(w.footer.blocks, m)
}

// addEncoded writes a block as it is in another segment.
func (w *segmentWriter) addEncoded(stream uint32, m blockMeta, frames, bitmap []byte) {
	m.stream, m.offset, m.skipOffset = stream, w.offset, uint32(len(w.skips))
	w.skips = append(w.skips, bitmap...)
	w.write(frames)
	w.footer.blocks = append(w.footer.blocks, m)
}

// finish completes the file and puts it, and its name, on the disk. In any
// case the writer is done.
func (w *segmentWriter) finish() error {
	t := trailer{dataBytes: uint64(w.offset - headerSize), skipSize: uint32(len(w.skips)), skipCRC: checksum(w.skips)}
	w.write(w.skips)
	raw := w.footer.append(nil)
	packed := w.codec.enc.EncodeAll(raw, nil)
	t.footerLen, t.footerRaw, t.footerCRC = uint32(len(packed)), uint32(len(raw)), checksum(packed)
	t.blockCount = uint32(len(w.footer.blocks))
	w.write(packed)
	w.write(t.append(nil))
	err := w.w.Flush()
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		w.abort()
		return fmt.Errorf("logdb: write segment: %w", err)
	}
	path := segmentPath(w.dir, w.seq)
	if err := w.f.Close(); err != nil {
		_ = os.Remove(path + tmpSuffix) // It is no segment; the next start would remove it.
		return fmt.Errorf("logdb: close segment: %w", err)
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return fmt.Errorf("logdb: name segment: %w", err)
	}
	if err := syncDir(w.dir); err != nil {
		_ = os.Remove(path) // Who called will write it again, perhaps under another name.
		return fmt.Errorf("logdb: sync %s: %w", w.dir, err)
	}
	return nil
}

// abort removes the file.
func (w *segmentWriter) abort() {
	w.f.Close()
	_ = os.Remove(segmentPath(w.dir, w.seq) + tmpSuffix) // The next start removes what is left of it.
}

// err is the first error of a write.
func (w *segmentWriter) err() error {
	_, err := w.w.Write(nil)
	return err
}
