package logdb

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errFormat means that bytes whose checksum holds do not have their format.
var errFormat = errors.New("malformed")

// errNewerFormat means that a later version of the program wrote a file, which
// must be left alone.
var errNewerFormat = errors.New("format is of version")

// input reads what was encoded. After the first error every method returns
// zero values.
type input struct {
	b   []byte
	err error
}

func (in *input) fail() {
	in.b, in.err = nil, errFormat
}

func (in *input) uvarint() uint64 {
	if len(in.b) > 0 && in.b[0] < 0x80 {
		v := in.b[0]
		in.b = in.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.fail()
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *input) varint() int64 {
	u := in.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of elements that take at least size bytes each.
func (in *input) count(size int) int {
	v := in.uvarint()
	if v > uint64(len(in.b)/size) {
		in.fail()
		return 0
	}
	return int(v)
}

// next returns the next n bytes, which stay part of the input.
func (in *input) next(n int) []byte {
	if n < 0 || n > len(in.b) {
		in.fail()
		return nil
	}
	b := in.b[:n:n]
	in.b = in.b[n:]
	return b
}

func (in *input) byte() byte {
	b := in.next(1)
	if b == nil {
		return 0
	}
	return b[0]
}

func (in *input) uint32() uint32 {
	b := in.next(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (in *input) source() (s storage.SourceID) {
	copy(s[:], in.next(len(s)))
	return s
}

func (in *input) string() string {
	return string(in.next(in.count(1)))
}

// labels reads what appendLabels wrote.
func (in *input) labels(b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	for range in.count(2) {
		name := in.string()
		b.Add(name, in.string())
	}
	b.Sort()
	return b.Labels()
}

// end is the error of the whole input, which must be used up.
func (in *input) end() error {
	if in.err == nil && len(in.b) > 0 {
		return errFormat
	}
	return in.err
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendLabels(b []byte, l labels.Labels) []byte {
	b = binary.AppendUvarint(b, uint64(l.Len()))
	l.Range(func(l labels.Label) {
		b = appendString(b, l.Name)
		b = appendString(b, l.Value)
	})
	return b
}
