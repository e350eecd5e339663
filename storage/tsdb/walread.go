package tsdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/prometheus/prometheus/util/compression"
)

// The format of upstream's logs (tsdb/docs/format/wal.md): pages of 32 KiB
// hold fragments, each with a header of a type byte, a length and a checksum.
// A record is one full fragment, or a first, middle ones and a last.
const (
	pageBytes      = 32 << 10
	fragmentHeader = 7

	fragmentMask   = 0x07
	snappyFlag     = 0x08
	zstdFlag       = 0x10
	unusedFlags    = 0xe0
	fragmentNone   = 0
	fragmentFull   = 1
	fragmentFirst  = 2
	fragmentMiddle = 3
	fragmentLast   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logDamage is what is unreadable in one log file.
type logDamage struct {
	// places counts the stretches of unreadable bytes.
	places int
	// bytes is how many could not be read.
	bytes int64
	// first says what was wrong at the first place.
	first error
}

// logReader reads the records of one log file and goes on after damage, where
// upstream's reader stops.
type logReader struct {
	in     *bufio.Reader
	page   []byte
	offset int64 // of page in the file
	// record collects the fragments of an unfinished record.
	record []byte
	// inRecord says that a first fragment was read and its last is to come.
	inRecord bool
	flags    byte
	// resync says that fragments of a record whose beginning is lost are
	// expected, and are part of damage that is counted already.
	resync bool
	plain  compression.DecodeBuffer
	visit  logVisitor
	damage logDamage
}

// logVisitor is told what a log file holds, in order.
type logVisitor struct {
	// record gets every readable record, valid during the call only. An error
	// makes it damage.
	record func([]byte) error
	// damaged, if not nil, is called where something could not be read.
	damaged func()
}

// readLog reads a log file from its beginning to its end.
func readLog(path string, visit logVisitor) (logDamage, error) {
	f, err := os.Open(path)
	if err != nil {
		return logDamage{}, err
	}
	defer f.Close()
	r := logReader{
		in: bufio.NewReaderSize(f, 16*pageBytes), page: make([]byte, pageBytes), plain: compression.NewSyncDecodeBuffer(), visit: visit,
	}
	for {
		n, err := io.ReadFull(r.in, r.page)
		if n > 0 {
			r.readPage(r.page[:n])
			r.offset += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if r.inRecord {
				r.spoil(len(r.record), "record is not finished")
			}
			return r.damage, nil
		case err != nil:
			return r.damage, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// spoil counts damage and drops the unfinished record.
func (r *logReader) spoil(n int, format string, args ...any) {
	if r.damage.first == nil {
		r.damage.first = fmt.Errorf("at %d: "+format, append([]any{r.offset}, args...)...)
	}
	r.damage.places++
	r.damage.bytes += int64(n)
	r.record, r.inRecord, r.resync = r.record[:0], false, true
	if r.visit.damaged != nil {
		r.visit.damaged()
	}
}

// readPage reads the fragments of a page, or of what there is of the last one.
func (r *logReader) readPage(page []byte) {
	for len(page) > 0 {
		if isPadding(page) {
			return
		}
		size, err := fragmentAt(page)
		if err == nil {
			r.fragment(page[0], page[fragmentHeader:size])
			page = page[size:]
			continue
		}
		// What follows is found by its checksum, whichever part of this
		// fragment is damaged.
		skip := 1
		for ; skip < len(page); skip++ {
			if n, err := fragmentAt(page[skip:]); err == nil && n > fragmentHeader {
				break
			}
		}
		r.spoil(skip, "%w", err)
		page = page[skip:]
	}
}

// fragmentAt checks the fragment that page begins with and returns its size,
// header included.
func fragmentAt(page []byte) (int, error) {
	if len(page) < fragmentHeader {
		return 0, errors.New("fragment is cut off")
	}
	kind, size := page[0]&fragmentMask, fragmentHeader+int(binary.BigEndian.Uint16(page[1:]))
	switch {
	case kind == fragmentNone || kind > fragmentLast || page[0]&unusedFlags != 0:
		return 0, fmt.Errorf("fragment type %#x is unknown", page[0])
	case size > len(page):
		return 0, errors.New("fragment is cut off")
	case crc32.Checksum(page[fragmentHeader:size], castagnoli) != binary.BigEndian.Uint32(page[3:]):
		return 0, errors.New("fragment has a wrong checksum")
	}
	return size, nil
}

// isPadding tells whether the rest of a page is empty.
func isPadding(rest []byte) bool {
	for _, b := range rest {
		if b != 0 {
			return false
		}
	}
	return true
}

func (r *logReader) fragment(typ byte, data []byte) {
	kind, flags := typ&fragmentMask, typ&^byte(fragmentMask)
	begins := kind == fragmentFull || kind == fragmentFirst
	switch {
	case begins && r.inRecord:
		r.spoil(len(r.record), "record is not finished")
	case !begins && !r.inRecord:
		if r.resync {
			r.damage.bytes += int64(len(data))
			return
		}
		r.spoil(len(data), "record without a beginning")
		return
	case !begins && flags != r.flags:
		r.spoil(len(r.record)+len(data), "fragments are compressed differently")
		return
	}
	if begins {
		r.record, r.inRecord, r.resync, r.flags = r.record[:0], true, false, flags
	}
	r.record = append(r.record, data...)
	if kind != fragmentFull && kind != fragmentLast {
		return
	}
	r.inRecord = false
	if err := r.deliver(); err != nil {
		r.spoil(len(r.record), "record cannot be decoded: %w", err)
	}
}

// deliver decompresses the record and hands it over.
func (r *logReader) deliver() error {
	compressed := compression.None
	switch r.flags {
	case 0:
	case snappyFlag:
		compressed = compression.Snappy
	case zstdFlag:
		compressed = compression.Zstd
	default:
		return fmt.Errorf("compression flags %#x are unknown", r.flags)
	}
	record, err := compression.Decode(compressed, r.record, r.plain)
	if err != nil {
		return err
	}
	return r.visit.record(record)
}
