package remote

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// errWire means that bytes are not the protobuf message that they should be.
var errWire = errors.New("malformed remote write 2.0 request")

// transcoder turns the bodies of remote write 2.0 requests into those of 1.0.
// It works on the encoded form, in which samples and native histograms of both
// versions are the same but for the start timestamps that 1.0 does not have.
type transcoder struct {
	raw     []byte
	symbols [][]byte
	series  [][]byte
	// described tells, by reference of the name, whose metadata is in there.
	described map[uint64]struct{}

	out      []byte // prometheus.WriteRequest
	metadata []byte // its metadata field
	message  []byte // scratch: one series
	nested   []byte // scratch: one message inside of it
	body     []byte
}

// transcode returns the 1.0 body; it is valid until the next call.
func (t *transcoder) transcode(body []byte) ([]byte, error) {
	size, err := s2.DecodedLen(body)
	if err != nil || size > 4*maxFrameBody {
		return nil, fmt.Errorf("decompress a request of %d bytes: %w", size, errors.Join(errWire, err))
	}
	if t.raw, err = s2.Decode(t.raw[:cap(t.raw)], body); err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	t.symbols, t.series = t.symbols[:0], t.series[:0]
	err = eachField(t.raw, func(num protowire.Number, _, data []byte) error {
		switch num {
		case 4:
			t.symbols = append(t.symbols, data)
		case 5:
			t.series = append(t.series, data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.out, t.metadata, t.described = t.out[:0], t.metadata[:0], make(map[uint64]struct{})
	for _, s := range t.series {
		if err := t.timeSeries(s); err != nil {
			return nil, err
		}
	}
	t.out = append(t.out, t.metadata...)
	t.body = s2.EncodeSnappy(t.body[:cap(t.body)], t.out)
	return t.body, nil
}

// eachField calls f with every field of a message: its encoded form with the
// key and, if it is a string or message, the content.
func eachField(msg []byte, f func(num protowire.Number, whole, data []byte) error) error {
	for len(msg) > 0 {
		num, kind, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errWire
		}
		length := protowire.ConsumeFieldValue(num, kind, msg[n:])
		if length < 0 {
			return errWire
		}
		var data []byte
		if kind == protowire.BytesType {
			data, _ = protowire.ConsumeBytes(msg[n:])
		}
		if err := f(num, msg[:n+length], data); err != nil {
			return err
		}
		msg = msg[n+length:]
	}
	return nil
}

func (t *transcoder) symbol(ref uint64) ([]byte, error) {
	if ref >= uint64(len(t.symbols)) {
		return nil, errWire
	}
	return t.symbols[ref], nil
}

// timeSeries appends one series to out.
func (t *transcoder) timeSeries(msg []byte) error {
	t.message = t.message[:0]
	var name uint64
	var metadata []byte
	err := eachField(msg, func(num protowire.Number, _, data []byte) (err error) {
		switch num {
		case 1:
			t.message, name, err = t.labels(t.message, data)
		case 2:
			err = t.copyWithout(2, data, 3)
		case 3:
			err = t.copyWithout(4, data, 17)
		case 4:
			err = t.exemplar(data)
		case 5:
			metadata = data
		}
		return err
	})
	if err != nil {
		return err
	}
	t.out = appendBytes(t.out, 1<<3|2, t.message)
	if _, done := t.described[name]; done || len(metadata) == 0 {
		return nil
	}
	t.described[name] = struct{}{}
	return t.describe(name, metadata)
}

// labels appends the labels that packed references name to a message that has
// them in field 1, and returns the reference of the metric name.
func (t *transcoder) labels(dst, refs []byte) (_ []byte, name uint64, err error) {
	for len(refs) > 0 {
		var pair [2]uint64
		var text [2][]byte
		for i := range pair {
			ref, n := protowire.ConsumeVarint(refs)
			if n < 0 {
				return dst, 0, errWire
			}
			refs = refs[n:]
			if text[i], err = t.symbol(ref); err != nil {
				return dst, 0, err
			}
			pair[i] = ref
		}
		if string(text[0]) == model.MetricNameLabel {
			name = pair[1]
		}
		size := protowire.SizeBytes(len(text[0])) + protowire.SizeBytes(len(text[1])) + 2
		dst = protowire.AppendVarint(append(dst, 1<<3|2), uint64(size))
		dst = appendBytes(dst, 1<<3|2, text[0])
		dst = appendBytes(dst, 2<<3|2, text[1])
	}
	return dst, name, nil
}

// copyWithout appends msg without one of its fields to the series, as field num.
func (t *transcoder) copyWithout(num byte, msg []byte, without protowire.Number) error {
	t.nested = t.nested[:0]
	err := eachField(msg, func(num protowire.Number, whole, _ []byte) error {
		if num != without {
			t.nested = append(t.nested, whole...)
		}
		return nil
	})
	t.message = appendBytes(t.message, num<<3|2, t.nested)
	return err
}

func (t *transcoder) exemplar(msg []byte) error {
	t.nested = t.nested[:0]
	err := eachField(msg, func(num protowire.Number, whole, data []byte) (err error) {
		if num == 1 {
			t.nested, _, err = t.labels(t.nested, data)
		} else {
			t.nested = append(t.nested, whole...)
		}
		return err
	})
	t.message = appendBytes(t.message, 3<<3|2, t.nested)
	return err
}

// describe appends the metadata of a metric.
func (t *transcoder) describe(name uint64, msg []byte) error {
	family, err := t.symbol(name)
	if err != nil {
		return err
	}
	var kind, help, unit uint64
	err = eachField(msg, func(num protowire.Number, whole, _ []byte) error {
		_, _, n := protowire.ConsumeTag(whole)
		v, n := protowire.ConsumeVarint(whole[n:])
		if n < 0 {
			return errWire
		}
		switch num {
		case 1:
			kind = v
		case 3:
			help = v
		case 4:
			unit = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.nested = appendInt(t.nested[:0], 1<<3, int64(kind))
	t.nested = appendBytes(t.nested, 2<<3|2, familyV1(family, prompb.MetricMetadata_MetricType(kind)))
	for _, f := range []struct {
		key byte
		ref uint64
	}{{4<<3 | 2, help}, {5<<3 | 2, unit}} {
		text, err := t.symbol(f.ref)
		if err != nil {
			return err
		}
		t.nested = appendBytes(t.nested, f.key, text)
	}
	t.metadata = appendBytes(t.metadata, 3<<3|2, t.nested)
	return nil
}

// familyV1 is the name of the family, by which 1.0 has its metadata, of a
// series with the given name.
func familyV1(name []byte, kind prompb.MetricMetadata_MetricType) []byte {
	if kind != prompb.MetricMetadata_HISTOGRAM && kind != prompb.MetricMetadata_SUMMARY {
		return name
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if family, found := bytes.CutSuffix(name, []byte(suffix)); found {
			return family
		}
	}
	return name
}
