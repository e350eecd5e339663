package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// defaultMaxRecords is above what senders put into a request, and bounds
	// what a small body of empty records can ask for.
	defaultMaxRecords = 1 << 18
	// maxLine is the longest line, as for lines of files.
	maxLine = 1 << 20
	// maxParts bounds the attributes of a record, scope or resource, and the
	// scopes of a resource.
	maxParts = 1 << 14
	// maxMetadata bounds what the attributes of all records take in memory: a
	// small body can give those of a scope to very many records.
	maxMetadata = 64 << 20
)

// DecodeOptions are for Decode and DecodeJSON.
type DecodeOptions struct {
	// MaxRecords bounds the records of a body; 0 means 262,144.
	MaxRecords int
	// Now is the time, in nanoseconds since the Unix epoch, of records that
	// have none.
	Now int64
	// Streams gives the same Stream to the same resource in body after body; it
	// may be nil.
	Streams *Streams
}

// Batch is what a body holds.
type Batch struct {
	// Records in the order of the body. Those of a resource share a Stream.
	Records []storage.Record
	// Replaced counts lines and values of attributes with invalid UTF-8 or NUL
	// bytes, which are U+FFFD now.
	Replaced int
	// Truncated counts lines of more than 1 MiB, and values of attributes of
	// more than 64 KiB, that were cut.
	Truncated int
}

// Decode reads an ExportLogsServiceRequest in protobuf. Lines point into body,
// which must not change as long as the records are used. Errors name the place;
// they wrap storage.ErrTooLarge when the body has too many records.
//
// What Encode has made becomes the same records again. Of other senders,
// attributes of the resource become labels of the stream, and those of the
// scope and the record, with the ids of trace and span, metadata.
func Decode(body []byte, o DecodeOptions) (Batch, error) {
	if o.MaxRecords == 0 {
		o.MaxRecords = defaultMaxRecords
	}
	d := &decoder{options: o}
	n := 0
	err := fields(body, func(f field) error {
		if f.number != requestResourceLogs {
			return nil
		}
		err := d.resourceLogs(f)
		if err != nil {
			err = fmt.Errorf("resource_logs[%d]: %w", n, err)
		}
		n++
		return err
	})
	if err != nil {
		return Batch{}, fmt.Errorf("not a request of OTLP logs: %w", err)
	}
	return d.batch, nil
}

// decoder is for one body.
type decoder struct {
	options DecodeOptions
	batch   Batch
	offsets []int64  // of the current scope of ours
	in      incoming // the current record
	// metadata is what attributes take in memory.
	metadata int
	// expected is the end of the line before, to which an offset is relative.
	expected int64
}

// field is one field of a message: the value is bytes or bits, by its kind.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	bits   uint64
}

// message returns the content of a field that is a message, string or bytes.
func (f field) message(name string) ([]byte, error) {
	if f.kind != protowire.BytesType {
		return nil, fmt.Errorf("%s has wire type %d, not %d", name, f.kind, protowire.BytesType)
	}
	return f.bytes, nil
}

// fields calls each for the fields of a message, in their order.
func fields(message []byte, each func(field) error) error {
	for rest := message; len(rest) > 0; {
		number, kind, n := consumeTag(rest)
		if n < 0 {
			return fmt.Errorf("byte %d of %d: %w", len(message)-len(rest), len(message), protowire.ParseError(n))
		}
		f := field{number: number, kind: kind}
		value := rest[n:]
		switch kind {
		case protowire.BytesType:
			f.bytes, n = consumeBytes(value)
		case protowire.VarintType:
			f.bits, n = protowire.ConsumeVarint(value)
		case protowire.Fixed64Type:
			f.bits, n = protowire.ConsumeFixed64(value)
		default:
			n = protowire.ConsumeFieldValue(number, kind, value)
		}
		if n < 0 {
			return fmt.Errorf("byte %d of %d: field %d: %w", len(message)-len(value), len(message), number, protowire.ParseError(n))
		}
		if err := each(f); err != nil {
			return err
		}
		rest = value[n:]
	}
	return nil
}

// appendPart appends one of several fields that are messages.
func appendPart(to [][]byte, f field, name string) ([][]byte, error) {
	if len(to) == maxParts {
		return to, fmt.Errorf("more than %d %s", maxParts, name)
	}
	content, err := f.message(name)
	return append(to, content), err
}

// consumeTag is protowire's, faster for fields below 16: all of ours.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	if b[0] < 0x80 && b[0] >= 8 {
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), 1
	}
	return protowire.ConsumeTag(b)
}

// consumeBytes is protowire's, faster for less than 16 KiB.
func consumeBytes(b []byte) ([]byte, int) {
	if len(b) > 1 {
		n, length := 1, int(b[0])
		if b[0] >= 0x80 && b[1] < 0x80 {
			n, length = 2, int(b[0]&0x7f)|int(b[1])<<7
		}
		if length < 1<<14 && b[n-1] < 0x80 && len(b)-n >= length {
			return b[n : n+length], n + length
		}
	}
	return protowire.ConsumeBytes(b)
}

// resourceLogs decodes a ResourceLogs. A message may have its fields in any
// order, so the resource is looked for before the records.
func (d *decoder) resourceLogs(f field) error {
	message, err := f.message("ResourceLogs")
	if err != nil {
		return err
	}
	var resource []byte
	var scopes [][]byte
	err = fields(message, func(f field) (err error) {
		switch f.number {
		case resourceLogsResource:
			resource, err = f.message("resource")
		case resourceLogsScope:
			scopes, err = appendPart(scopes, f, "scope_logs")
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, scope := range scopes {
		if err := d.scopeLogs(resource, scope); err != nil {
			return fmt.Errorf("scope_logs[%d]: %w", i, err)
		}
	}
	return nil
}

// scopeLogs decodes a ScopeLogs, in two passes like resourceLogs.
func (d *decoder) scopeLogs(resource, message []byte) error {
	var s scope
	records := 0
	err := fields(message, func(f field) error {
		switch f.number {
		case scopeLogsScope:
			content, err := f.message("scope")
			if err != nil {
				return err
			}
			return d.scope(&s, content)
		case scopeLogsRecords:
			records++
		}
		return nil
	})
	if err != nil || records == 0 {
		return err
	}
	if len(d.batch.Records)+records > d.options.MaxRecords {
		return fmt.Errorf("more than %d records, send fewer at a time: %w", d.options.MaxRecords, storage.ErrTooLarge)
	}
	if err := d.identity(&s, records); err != nil {
		return err
	}
	stream, err := d.stream(resource, s.ours)
	if err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	d.batch.Records = slices.Grow(d.batch.Records, records)
	n := 0
	return fields(message, func(f field) error {
		if f.number != scopeLogsRecords {
			return nil
		}
		if err := d.record(f, stream, &s, n); err != nil {
			return fmt.Errorf("log_records[%d]: %w", n, err)
		}
		n++
		return nil
	})
}

// identity reads what a scope of ours says about its records: their source and
// offsets.
func (d *decoder) identity(s *scope, records int) error {
	d.offsets, d.expected = d.offsets[:0], 0
	if !s.ours || s.source.IsZero() {
		return nil
	}
	packed := s.offsets
	for len(packed) > 0 {
		v, n := binary.Varint(packed)
		if n <= 0 {
			return fmt.Errorf("attribute %s: offset %d is cut off", attrOffsets, len(d.offsets))
		}
		d.offsets = append(d.offsets, v)
		packed = packed[n:]
	}
	if len(d.offsets) != records {
		return fmt.Errorf("attribute %s has %d offsets for %d records: nothing between agent and server may regroup records",
			attrOffsets, len(d.offsets), records)
	}
	return nil
}

// record decodes record n of a scope.
func (d *decoder) record(f field, stream *storage.Stream, s *scope, n int) error {
	message, err := f.message("LogRecord")
	if err != nil {
		return err
	}
	in := &d.in
	if err := in.read(message); err != nil {
		return err
	}
	r := storage.Record{Stream: stream, Level: storage.LevelOfSeverity(in.severity)}
	length, err := d.line(&r, in.body, s.ours)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if s.ours {
		err = d.ours(&r, in)
	} else {
		err = d.foreign(&r, in, s)
	}
	if err != nil {
		return err
	}
	if len(d.offsets) > 0 {
		r.Source = s.source
		r.Offset = d.expected + d.offsets[n]
		d.expected = r.Offset + int64(length)
	}
	d.batch.Records = append(d.batch.Records, r)
	return nil
}

// incoming are the fields of a LogRecord that are used.
type incoming struct {
	time, observed      uint64
	severity            int32
	severityText, event []byte
	body                []byte
	attributes          [][]byte
	traceID, spanID     []byte
}

func (in *incoming) read(message []byte) error {
	*in = incoming{attributes: in.attributes[:0]}
	return fields(message, func(f field) (err error) {
		switch f.number {
		case recordTime:
			in.time, err = f.fixed64("time_unix_nano")
		case recordObserved:
			in.observed, err = f.fixed64("observed_time_unix_nano")
		case recordSeverity:
			if f.kind != protowire.VarintType {
				return errors.New("severity_number is no number")
			}
			in.severity = int32(min(f.bits, math.MaxInt32))
		case recordSeverityText:
			in.severityText, err = f.message("severity_text")
		case recordBody:
			in.body, err = f.message("body")
		case recordAttributes:
			in.attributes, err = appendPart(in.attributes, f, "attributes")
		case recordTraceID:
			in.traceID, err = f.message("trace_id")
		case recordSpanID:
			in.spanID, err = f.message("span_id")
		case recordEventName:
			in.event, err = f.message("event_name")
		}
		return err
	})
}

func (f field) fixed64(name string) (uint64, error) {
	if f.kind != protowire.Fixed64Type {
		return 0, fmt.Errorf("%s has wire type %d, not %d", name, f.kind, protowire.Fixed64Type)
	}
	return f.bits, nil
}
