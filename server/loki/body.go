package loki

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// bodyTooLargeError says that a body is above the limit, packed or unpacked.
type bodyTooLargeError struct{ limit int }

func (e *bodyTooLargeError) Error() string {
	return fmt.Sprintf("the body is larger than %d bytes; send fewer records at a time", e.limit)
}

// encodingError says that a body is packed in a way that is not known.
type encodingError struct{ encoding string }

func (e *encodingError) Error() string {
	return fmt.Sprintf("Content-Encoding %q is not supported; gzip, deflate, snappy, zstd and none are", e.encoding)
}

// readBody returns the unpacked body of a request, of at most limit bytes.
func readBody(r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, &bodyTooLargeError{limit}
	}
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
		return readAll(r.Body, r.ContentLength, limit)
	case "gzip":
		z, err := gzip.NewReader(io.LimitReader(r.Body, int64(limit)))
		if err != nil {
			return nil, badRequest("the body is not gzip as its Content-Encoding says: %v", err)
		}
		defer z.Close()
		return readAll(z, -1, limit)
	case "deflate":
		return readDeflated(r.Body, limit)
	case "zstd":
		z, err := zstd.NewReader(io.LimitReader(r.Body, int64(limit)), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(8<<20)) // what RFC 8878 asks decoders to support
		if err != nil {
			return nil, badRequest("the body is not zstd as its Content-Encoding says: %v", err)
		}
		defer z.Close()
		return readAll(z, -1, limit)
	case "snappy":
		packed, err := readAll(r.Body, r.ContentLength, limit)
		if err != nil {
			return nil, err
		}
		return unsnap(packed, limit)
	default:
		return nil, &encodingError{encoding}
	}
}

// readDeflated takes deflate with the header of zlib, which is what the name
// means in HTTP, and without, which is what many send.
func readDeflated(body io.Reader, limit int) ([]byte, error) {
	packed, err := readAll(body, -1, limit)
	if err != nil {
		return nil, err
	}
	if z, err := zlib.NewReader(bytes.NewReader(packed)); err == nil {
		defer z.Close()
		return readAll(z, -1, limit)
	}
	z := flate.NewReader(bytes.NewReader(packed))
	defer z.Close()
	return readAll(z, -1, limit)
}

// unsnap unpacks a snappy block, whose first bytes tell how large it is.
func unsnap(packed []byte, limit int) ([]byte, error) {
	size, err := snappy.DecodedLen(packed)
	if err != nil {
		return nil, badRequest("the body is not packed by snappy: %v", err)
	}
	if size > limit {
		return nil, &bodyTooLargeError{limit}
	}
	body, err := snappy.Decode(nil, packed)
	if err != nil {
		return nil, badRequest("the body is not packed by snappy: %v", err)
	}
	return body, nil
}

// readAll reads up to limit bytes. promised is how many there should be, below
// 0 if that is not known.
func readAll(from io.Reader, promised int64, limit int) ([]byte, error) {
	var b bytes.Buffer
	if promised > 0 {
		b.Grow(int(promised) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(from, int64(limit)+1))
	switch {
	case n > int64(limit):
		return nil, &bodyTooLargeError{limit}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, badRequest("the body is cut off after %d bytes", n)
	case err != nil:
		return nil, badRequest("cannot read the body: %v", err)
	}
	return b.Bytes(), nil
}
