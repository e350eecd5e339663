package otlp

import (
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
)

// lengthBytes is the room for the length of a message that is written before
// it is known: a varint may have leading zeros. Four bytes hold 2^28.
const lengthBytes = 4

// MaxEncodedBytes bounds what one call of Encode can append.
const MaxEncodedBytes = 1<<(7*lengthBytes) - 1

var encoders = sync.Pool{New: func() any { return &encoder{groups: map[groupKey]int{}} }}

// Encode appends an ExportLogsServiceRequest with the records to dst. The
// records of a stream and source stay in order and come together. It must be
// less than MaxEncodedBytes.
func Encode(dst []byte, records []storage.Record) []byte {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.group(records)
	for i := range e.chains {
		dst = e.appendGroup(dst, records, e.chains[i].first)
	}
	clear(e.groups)
	return dst
}

// encoder has scratch space for one call.
type encoder struct {
	groups map[groupKey]int // index in chains
	chains []chain
	next   []int32 // the record after this one in its chain, or -1
	packed []byte
}

type groupKey struct {
	stream *storage.Stream
	source storage.SourceID
}

// chain are the records of a stream and source.
type chain struct{ first, last int32 }

// group chains the records of each stream and source: stdout and stderr of a
// container alternate in a batch, and each needs its attributes but once.
func (e *encoder) group(records []storage.Record) {
	e.chains, e.next = e.chains[:0], e.next[:0]
	var last groupKey
	current := -1
	for i := range records {
		key := groupKey{records[i].Stream, records[i].Source}
		e.next = append(e.next, -1)
		if current < 0 || key != last {
			known := false
			if current, known = e.groups[key]; !known {
				current = len(e.chains)
				e.groups[key] = current
				e.chains = append(e.chains, chain{int32(i), int32(i)})
			}
			last = key
		}
		c := &e.chains[current]
		if c.last != int32(i) {
			e.next[c.last] = int32(i)
			c.last = int32(i)
		}
	}
}

// appendGroup appends a field ResourceLogs with one ScopeLogs.
func (e *encoder) appendGroup(dst []byte, records []storage.Record, first int32) []byte {
	dst, logs := open(dst, requestResourceLogs)
	dst, resource := open(dst, resourceLogsResource)
	records[first].Stream.Labels.Range(func(l labels.Label) {
		dst = appendResourceAttribute(dst, l)
	})
	shut(dst, resource)
	dst, scope := open(dst, resourceLogsScope)
	dst = e.appendScope(dst, records, first)
	for i := first; i >= 0; i = e.next[i] {
		dst = e.appendRecord(dst, &records[i])
	}
	shut(dst, scope)
	shut(dst, logs)
	return dst
}

// open begins a field with a message whose length is not known yet.
func open(dst []byte, field protowire.Number) (out []byte, content int) {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = append(dst, make([]byte, lengthBytes)...)
	return dst, len(dst)
}

// shut writes the length of the message that begins at content and ends here.
func shut(dst []byte, content int) {
	n := len(dst) - content
	for i := range lengthBytes {
		dst[content-lengthBytes+i] = byte(n>>(7*i))&0x7f | 0x80
	}
	dst[content-1] &= 0x7f
}

func appendResourceAttribute(dst []byte, l labels.Label) []byte {
	name, ok := attributeOf[l.Name]
	if !ok {
		name = l.Name
	}
	if l.Name == storage.LabelRestart {
		if n, err := strconv.ParseUint(l.Value, 10, 31); err == nil && strconv.FormatUint(n, 10) == l.Value {
			return appendIntAttribute(dst, resourceAttributes, name, n)
		}
	}
	return appendAttribute(dst, resourceAttributes, name, anyString, l.Value)
}

// appendAttribute appends a KeyValue whose value is a string or bytes.
func appendAttribute[T string | []byte](dst []byte, field protowire.Number, key string, kind protowire.Number, value T) []byte {
	dst = appendKey(dst, field, key, 1+protowire.SizeBytes(len(value)))
	dst = protowire.AppendTag(dst, kind, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// appendIntAttribute appends a KeyValue whose value is an integer.
func appendIntAttribute(dst []byte, field protowire.Number, key string, value uint64) []byte {
	dst = appendKey(dst, field, key, 1+protowire.SizeVarint(value))
	dst = protowire.AppendTag(dst, anyInt, protowire.VarintType)
	return protowire.AppendVarint(dst, value)
}

// appendKey appends a KeyValue up to its AnyValue, which has so many bytes.
func appendKey(dst []byte, field protowire.Number, key string, value int) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(key))+1+protowire.SizeBytes(value)))
	dst = protowire.AppendTag(dst, keyValueKey, protowire.BytesType)
	dst = protowire.AppendString(dst, key)
	dst = protowire.AppendTag(dst, keyValueValue, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(value))
}

// appendScope appends the scope with the identity of its records.
func (e *encoder) appendScope(dst []byte, records []storage.Record, first int32) []byte {
	dst, scope := open(dst, scopeLogsScope)
	dst = protowire.AppendTag(dst, scopeFieldName, protowire.BytesType)
	dst = protowire.AppendString(dst, scopeName)
	if source := records[first].Source; !source.IsZero() {
		dst = appendAttribute(dst, scopeFieldAttributes, attrSource, anyBytes, source[:])
		e.appendOffsets(records, first)
		dst = appendAttribute(dst, scopeFieldAttributes, attrOffsets, anyBytes, e.packed)
	}
	shut(dst, scope)
	return dst
}

// appendOffsets packs the offsets of a chain. Each is written as its distance
// from the end of the line before it, counted from that line's own offset: what
// a runtime puts around a line has mostly the same length, so that nearly all
// are the same byte and compress to nothing.
func (e *encoder) appendOffsets(records []storage.Record, first int32) {
	e.packed = e.packed[:0]
	expected := int64(0)
	for i := first; i >= 0; i = e.next[i] {
		r := &records[i]
		e.packed = binary.AppendVarint(e.packed, r.Offset-expected)
		expected = r.Offset + int64(len(r.Line))
	}
}

// appendRecord appends a field LogRecord.
func (e *encoder) appendRecord(dst []byte, r *storage.Record) []byte {
	value := 1 + protowire.SizeBytes(len(r.Line))
	size := 9 + 1 + protowire.SizeBytes(value)
	severity := r.Level.Severity() // below 128: one byte
	if severity != 0 {
		size += 2
	}
	e.packed = e.packed[:0]
	if r.Flags != 0 || !r.Metadata.IsEmpty() {
		e.appendRecordAttributes(r)
		size += len(e.packed)
	}
	dst = append(dst, scopeLogsRecords<<3|byte(protowire.BytesType))
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = append(dst, recordTime<<3|byte(protowire.Fixed64Type))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Time))
	if severity != 0 {
		dst = append(dst, recordSeverity<<3|byte(protowire.VarintType), byte(severity))
	}
	dst = append(dst, recordBody<<3|byte(protowire.BytesType))
	dst = protowire.AppendVarint(dst, uint64(value))
	dst = append(dst, anyString<<3|byte(protowire.BytesType))
	dst = protowire.AppendVarint(dst, uint64(len(r.Line)))
	dst = append(dst, r.Line...)
	return append(dst, e.packed...)
}

func (e *encoder) appendRecordAttributes(r *storage.Record) {
	if r.Flags != 0 {
		e.packed = appendIntAttribute(e.packed, recordAttributes, attrFlags, uint64(r.Flags))
	}
	r.Metadata.Range(func(l labels.Label) {
		e.packed = appendAttribute(e.packed, recordAttributes, l.Name, anyString, l.Value)
	})
}
