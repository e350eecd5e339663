package otlp

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// coding is a Content-Encoding.
type coding struct {
	name string
	pack func(dst, src []byte) []byte
}

// codings in the order in which they are tried. Snappy's block format comes
// first: of logs it leaves a third more bytes than zstd's fastest level but
// needs less than half of its CPU time, and compression is most of what an
// agent does (BenchmarkCompress: 2.6, 5.4 and 7.3 CPU-s/GiB for snappy, zstd and
// gzip, to 0.29, 0.23 and 0.25 of the size). The agent shares a node with the
// workloads it observes, while 0.29 of their logs is little traffic. S2, a
// superset of snappy, is hardly better, and only snappy is known to others.
// OTLP obliges every receiver to take gzip.
var codings = [...]coding{{"snappy", packSnappy}, {"zstd", packZstd}, {"gzip", packGzip}}

func packSnappy(dst, src []byte) []byte {
	if cap(dst) == 0 {
		dst = make([]byte, 0, 1<<16)
	}
	return s2.EncodeSnappy(dst[:cap(dst)], src)
}

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // options that do not go together
	}
	return e
})

func packZstd(dst, src []byte) []byte { return zstdEncoder().EncodeAll(src, dst) }

func packGzip(dst, src []byte) []byte {
	out := bytes.NewBuffer(dst)
	w, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		panic(err) // a level that does not exist
	}
	// A buffer takes everything.
	_, _ = w.Write(src)
	_ = w.Close()
	return out.Bytes()
}
