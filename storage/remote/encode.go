package remote

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/binnacle-obs/binnacle/storage"
)

// Requests are cut at these sizes, below what receivers are known to accept.
const (
	maxRequestSamples = 5000
	maxRequestBytes   = 1 << 20 // before compression
)

// Keys (field number and wire type) of the messages of the 2.0 request.
const (
	keyTimeSeries      = 5<<3 | 2
	keyLabelRefs       = 1<<3 | 2
	keySample          = 2<<3 | 2
	keyHistogram       = 3<<3 | 2
	keyExemplar        = 4<<3 | 2
	keyMetadata        = 5<<3 | 2
	keySampleValue     = 1<<3 | 1
	keySampleTime      = 2 << 3
	keySampleStart     = 3 << 3
	keyExemplarValue   = 2<<3 | 1
	keyExemplarTime    = 3 << 3
	keyMetadataType    = 1 << 3
	keyMetadataHelpRef = 3 << 3
	keyMetadataUnitRef = 4 << 3
)

// point is one sample of any kind with what may come with it. At most one of
// h and fh is set; without either the value is v.
type point struct {
	series    *storage.Series
	st, t     int64 // start (0: unknown) and time, milliseconds since the epoch
	v         float64
	h         *histogram.Histogram
	fh        *histogram.FloatHistogram
	exemplars []exemplar.Exemplar
}

// stale tells whether the point is a staleness marker, the end of its series.
func (p *point) stale() bool {
	switch {
	case p.h != nil:
		return value.IsStaleNaN(p.h.Sum)
	case p.fh != nil:
		return value.IsStaleNaN(p.fh.Sum)
	default:
		return value.IsStaleNaN(p.v)
	}
}

// encoder builds the bodies of remote write 2.0 requests one after the other.
// It writes the protobuf encoding itself: the generated code wants all samples
// as messages in memory first, which costs several times as much.
type encoder struct {
	cache  *seriesCache
	series []byte // the timeseries field, encoded
	counts counts // of the request under construction

	refs    []byte // scratch: label references of one series
	message []byte // scratch: one timeseries message
	nested  []byte // scratch: one message inside of it
	frame   []byte // the finished frame
}

// counts are the numbers of things in one request.
type counts struct {
	samples    uint32
	histograms uint32
	exemplars  uint32
}

// points is the number of samples of either kind.
func (c counts) points() int { return int(c.samples) + int(c.histograms) }

// begin starts a request.
func (e *encoder) begin() {
	e.cache.symbols.begin()
	e.series = e.series[:0]
	e.counts = counts{}
}

// full tells whether the request has to be sent before more is added.
func (e *encoder) full() bool {
	return e.counts.points() >= maxRequestSamples ||
		len(e.series)+len(e.cache.symbols.encoded) >= maxRequestBytes
}

// add encodes one point of the given series.
func (e *encoder) add(s *cachedSeries, p *point) error {
	symbols := &e.cache.symbols
	e.refs = e.refs[:0]
	for _, id := range s.ids {
		e.refs = binary.AppendUvarint(e.refs, uint64(symbols.ref(id)))
	}
	e.message = appendBytes(e.message[:0], keyLabelRefs, e.refs)
	var err error
	switch {
	case p.h != nil:
		err = e.addHistogram(writev2.FromIntHistogram(p.st, p.t, p.h))
	case p.fh != nil:
		err = e.addHistogram(writev2.FromFloatHistogram(p.st, p.t, p.fh))
	default:
		e.message = appendSample(e.message, p)
		e.counts.samples++
	}
	if err != nil {
		return err
	}
	for i := range p.exemplars {
		e.addExemplar(&p.exemplars[i])
	}
	e.message = appendMetadata(e.message, uint64(s.kind), uint64(symbols.ref(s.help)), uint64(symbols.ref(s.unit)))
	e.series = appendBytes(e.series, keyTimeSeries, e.message)
	return nil
}

func appendBytes(dst []byte, key byte, b []byte) []byte {
	dst = append(dst, key)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// appendSample appends a sample whose length fits into one byte.
func appendSample(dst []byte, p *point) []byte {
	dst = append(dst, keySample, 0)
	start := len(dst)
	if bits := math.Float64bits(p.v); bits != 0 {
		dst = append(dst, keySampleValue)
		dst = binary.LittleEndian.AppendUint64(dst, bits)
	}
	dst = appendInt(dst, keySampleTime, p.t)
	dst = appendInt(dst, keySampleStart, p.st)
	dst[start-1] = byte(len(dst) - start)
	return dst
}

// appendInt appends an integer field unless it has the default value.
func appendInt(dst []byte, key byte, v int64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, key), uint64(v))
}

// appendMetadata appends a metadata message whose length fits into one byte.
func appendMetadata(dst []byte, kind, help, unit uint64) []byte {
	dst = append(dst, keyMetadata, 0)
	start := len(dst)
	dst = appendInt(dst, keyMetadataType, int64(kind))
	dst = appendInt(dst, keyMetadataHelpRef, int64(help))
	dst = appendInt(dst, keyMetadataUnitRef, int64(unit))
	dst[start-1] = byte(len(dst) - start)
	return dst
}

// addHistogram uses the generated code: native histograms are few and complex.
func (e *encoder) addHistogram(h writev2.Histogram) error {
	b, err := h.Marshal()
	if err != nil {
		return fmt.Errorf("encode native histogram: %w", err)
	}
	e.message = appendBytes(e.message, keyHistogram, b)
	e.counts.histograms++
	return nil
}

func (e *encoder) addExemplar(x *exemplar.Exemplar) {
	symbols := &e.cache.symbols
	e.refs = e.refs[:0]
	x.Labels.Range(func(l labels.Label) {
		e.refs = binary.AppendUvarint(e.refs, uint64(symbols.ref(symbols.id(l.Name))))
		e.refs = binary.AppendUvarint(e.refs, uint64(symbols.once(l.Value)))
	})
	e.nested = appendBytes(e.nested[:0], keyLabelRefs, e.refs)
	e.nested = append(e.nested, keyExemplarValue)
	e.nested = binary.LittleEndian.AppendUint64(e.nested, math.Float64bits(x.Value))
	e.nested = appendInt(e.nested, keyExemplarTime, x.Ts)
	e.message = appendBytes(e.message, keyExemplar, e.nested)
	e.counts.exemplars++
}

// finish compresses the request and returns it in a frame, which is valid
// until the next call.
func (e *encoder) finish(now time.Time) []byte {
	raw := append(e.cache.symbols.encoded, e.series...)
	e.cache.symbols.encoded = raw[:0]
	if need := frameHeaderSize + s2.MaxEncodedLen(len(raw)); cap(e.frame) < need {
		e.frame = make([]byte, need)
	}
	e.frame = e.frame[:cap(e.frame)]
	body := s2.EncodeSnappy(e.frame[frameHeaderSize:], raw)
	e.frame = e.frame[:frameHeaderSize+len(body)]
	putFrameHeader(e.frame, frameHeader{counts: e.counts, created: now.UnixMilli()})
	return e.frame
}
