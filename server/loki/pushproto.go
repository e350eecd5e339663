package loki

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of fields of logproto.PushRequest and its parts, Loki's push.proto:
//
//	PushRequest { repeated Stream streams = 1 }
//	Stream { string labels = 1; repeated Entry entries = 2 }
//	Entry { Timestamp timestamp = 1; string line = 2; repeated LabelPair structuredMetadata = 3 }
//	Timestamp { int64 seconds = 1; int32 nanos = 2 }
//	LabelPair { string name = 1; string value = 2 }
const (
	pushStreams   = 1
	streamLabels  = 1
	streamEntries = 2
	entryTime     = 1
	entryLine     = 2
	entryMetadata = 3
	timeSeconds   = 1
	timeNanos     = 2
	pairName      = 1
	pairValue     = 2
)

// labelParser reads the labels of a stream, which senders write as Prometheus
// writes those of a series.
var labelParser = parser.NewParser(parser.Options{})

// decodeProto adds the entries of a push request in protobuf to batch. Lines
// point into body.
func decodeProto(body []byte, batch *pushBatch) error {
	i, n := 0, 0
	err := eachField(body, func(number protowire.Number, _ uint64, stream []byte) error {
		if number != pushStreams {
			return nil
		}
		if stream == nil {
			return errKind
		}
		if err := decodeStream(stream, batch, &n); err != nil {
			return fmt.Errorf("streams[%d]: %w", i, err)
		}
		i++
		return nil
	})
	var tooMany *tooManyError
	if err == nil || errors.As(err, &tooMany) {
		return err
	}
	return badRequest("cannot decode the body, a push request in protobuf packed by snappy is needed: %v", err)
}

func decodeStream(message []byte, batch *pushBatch, n *int) error {
	var text []byte
	entries := 0
	err := eachField(message, func(number protowire.Number, _ uint64, value []byte) error {
		if value == nil && (number == streamLabels || number == streamEntries) {
			return errKind
		}
		switch number {
		case streamLabels:
			text = value
		case streamEntries:
			entries++
		}
		return nil
	})
	if err != nil || entries == 0 {
		return err
	}
	if *n += entries; *n > batch.h.opts.MaxEntriesPerPush {
		return &tooManyError{batch.h.opts.MaxEntriesPerPush}
	}
	if len(text) > maxLabelBytes {
		return errors.New("the labels are longer than 1 MiB")
	}
	l, err := labelParser.ParseMetric(string(text))
	if err != nil {
		return fmt.Errorf("error parsing labels %.200q: %w", text, err)
	}
	stream := batch.stream(l, entries)
	j := 0
	return eachField(message, func(number protowire.Number, _ uint64, value []byte) error {
		if number != streamEntries {
			return nil
		}
		ns, line, metadata, err := decodeEntry(value)
		if err != nil {
			return fmt.Errorf("entries[%d]: %w", j, err)
		}
		if stream != nil {
			batch.add(stream, ns, line, metadata)
		}
		j++
		return nil
	})
}

func decodeEntry(message []byte) (ns int64, line []byte, metadata []labels.Label, err error) {
	err = eachField(message, func(number protowire.Number, _ uint64, value []byte) error {
		if value == nil && number >= entryTime && number <= entryMetadata {
			return errKind
		}
		var err error
		switch number {
		case entryTime:
			ns, err = decodeTime(value)
		case entryLine:
			line = value
		case entryMetadata:
			var pair labels.Label
			pair, err = decodePair(value)
			metadata = append(metadata, pair)
		}
		return err
	})
	return ns, line, metadata, err
}

func decodeTime(message []byte) (ns int64, err error) {
	var seconds, nanos int64
	err = eachField(message, func(number protowire.Number, bits uint64, value []byte) error {
		switch {
		case value != nil && number <= timeNanos:
			return errKind
		case number == timeSeconds:
			seconds = int64(bits)
		case number == timeNanos:
			nanos = int64(int32(bits))
		}
		return nil
	})
	const most = math.MaxInt64/int64(time.Second) - 1
	if err == nil && (seconds > most || seconds < -most || nanos < 0 || nanos >= int64(time.Second)) {
		err = fmt.Errorf("the time of %d s and %d ns is out of range", seconds, nanos)
	}
	return seconds*int64(time.Second) + nanos, err
}

func decodePair(message []byte) (pair labels.Label, err error) {
	err = eachField(message, func(number protowire.Number, _ uint64, value []byte) error {
		if number != pairName && number != pairValue {
			return nil
		}
		if value == nil {
			return errKind
		}
		if len(value) > maxLabelBytes {
			return errors.New("a label is longer than 1 MiB")
		}
		if number == pairName {
			pair.Name = string(value)
		} else {
			pair.Value = string(value)
		}
		return nil
	})
	return pair, err
}

var errKind = errors.New("a field has another type than it should have")

// eachField calls f for each field of a message: value is nil unless the field
// is a string, bytes or a message, and bits are those of a number.
func eachField(message []byte, f func(number protowire.Number, bits uint64, value []byte) error) error {
	for rest := message; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return fmt.Errorf("byte %d of %d: %w", len(message)-len(rest), len(message), protowire.ParseError(n))
		}
		rest = rest[n:]
		var bits uint64
		var value []byte
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(rest)
			if value = slices.Clip(value); value == nil {
				value = []byte{} // present, but empty
			}
		case protowire.VarintType:
			bits, n = protowire.ConsumeVarint(rest)
		default:
			n = protowire.ConsumeFieldValue(number, kind, rest)
		}
		if n < 0 {
			return fmt.Errorf("byte %d of %d: %w", len(message)-len(rest), len(message), protowire.ParseError(n))
		}
		if err := f(number, bits, value); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
