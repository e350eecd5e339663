package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/endpoint"
)

// Endpoint is one receiver of logs. Its URL is the base of the server, such as
// https://server:7070, to which Path is added.
type Endpoint = endpoint.Options

// ClientOptions configure a Client.
type ClientOptions struct {
	// Endpoint is the receiver.
	Endpoint Endpoint
}

// Client is a storage.LogSink that sends records to an OTLP receiver.
type Client struct {
	endpoint *endpoint.Client
	// coding is the index in codings of the one in use; settled tells that the
	// receiver has taken a body in it.
	coding  atomic.Int32
	settled atomic.Bool
	buffers sync.Pool // of *buffers
}

// buffers are for one request.
type buffers struct{ plain, packed []byte }

// maxKept bounds the buffers that are kept for the next request: one large line
// must not hold memory for good.
const maxKept = 4 << 20

var _ storage.LogSink = (*Client)(nil)

// NewClient checks the options; it does not connect. Errors hold no secrets.
func NewClient(o ClientOptions) (*Client, error) {
	const example = "https://server:7070"
	e := o.Endpoint
	if u, err := url.Parse(e.URL); err == nil {
		e.URL = u.JoinPath(Path).String()
	}
	c, err := endpoint.New(e, example)
	if err != nil {
		return nil, fmt.Errorf("OTLP: %w", err)
	}
	return &Client{endpoint: c, buffers: sync.Pool{New: func() any { return new(buffers) }}}, nil
}

// Name is the receiver's address without what may be secret.
func (c *Client) Name() string { return c.endpoint.Name() }

// Close closes connections. No Write may be under way.
func (c *Client) Close() { c.endpoint.Close() }

// StatusError is an answer of a receiver that is no success.
type StatusError struct {
	Status int
	// Answer is the beginning of what it wrote.
	Answer string
	// Target is where a redirection leads.
	Target string
	kind   error // a sentinel error of storage, or nil
}

// Error names the status and the beginning of the answer.
func (e *StatusError) Error() string {
	text := "the receiver answers " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	if e.Target != "" {
		return text + " to " + e.Target + ": redirections are not followed, configure the final address"
	}
	if e.Answer != "" {
		text += ": " + e.Answer
	}
	return text
}

// Unwrap returns storage.ErrFull or storage.ErrTooLarge where that is meant.
func (e *StatusError) Unwrap() error { return e.kind }

// Reason is the value of a reason label.
func (e *StatusError) Reason() string { return "http_" + strconv.Itoa(e.Status) }

// networkError is trouble on the way to a receiver.
type networkError struct{ error }

// Reason is the value of a reason label.
func (e networkError) Reason() string {
	if errors.Is(e.error, context.DeadlineExceeded) {
		return "timeout"
	}
	return "network"
}

func (e networkError) Unwrap() error { return e.error }

// Write implements storage.LogSink.
func (c *Client) Write(ctx context.Context, batch []storage.Record) error {
	if len(batch) == 0 {
		return nil
	}
	size := 0
	for i := range batch {
		size += len(batch[i].Line)
	}
	if size > MaxEncodedBytes/2 {
		return fmt.Errorf("lines of %d bytes in one request: %w", size, storage.ErrTooLarge)
	}
	b := c.buffers.Get().(*buffers)
	defer c.release(b)
	b.plain = Encode(b.plain[:0], batch)
	for {
		current := c.coding.Load()
		b.packed = codings[current].pack(b.packed[:0], b.plain)
		reply, err := c.endpoint.Post(ctx, b.packed, map[string]string{
			"Content-Type": "application/x-protobuf", "Content-Encoding": codings[current].name,
		})
		if err != nil {
			return networkError{err}
		}
		if !c.otherCoding(current, reply.Status) {
			return outcome(reply, len(batch))
		}
	}
}

func (c *Client) release(b *buffers) {
	if cap(b.plain) <= maxKept && cap(b.packed) <= maxKept {
		c.buffers.Put(b)
	}
}

// otherCoding tells that the request should be made again in another coding,
// as the receiver does not know this one: it says so (415), or it cannot read
// the first body it gets.
func (c *Client) otherCoding(current int32, status int) bool {
	if status/100 == 2 {
		c.settled.Store(true)
	}
	unknown := status == http.StatusUnsupportedMediaType || status == http.StatusBadRequest && !c.settled.Load()
	if !unknown {
		return false
	}
	if int(current) == len(codings)-1 {
		if status == http.StatusBadRequest {
			c.coding.Store(0) // it was not the coding
		}
		return false
	}
	c.coding.CompareAndSwap(current, current+1)
	return true
}

// outcome turns an answer to a request with n records into the error of Write.
func outcome(r endpoint.Reply, n int) error {
	err := &StatusError{Status: r.Status, Answer: r.Excerpt(), Target: r.Target}
	switch r.Status {
	case http.StatusRequestEntityTooLarge:
		err.kind = storage.ErrTooLarge
		return err
	case http.StatusInsufficientStorage:
		err.kind = storage.ErrFull
		return retryAll(n, r.RetryAfter, err)
	}
	switch {
	case r.Status/100 == 2:
		return partialSuccess(r.Body, n)
	case retryable(r.Status):
		return retryAll(n, r.RetryAfter, err)
	}
	return &storage.PartialError{Refused: map[string]int{err.Reason(): n}, First: err}
}

// retryable tells whether a later attempt can succeed. Redirections, a missing
// path and a refused credential are trouble of the address, not of the records:
// they wait until somebody mends it.
func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusNotFound, http.StatusProxyAuthRequired, http.StatusUnsupportedMediaType:
		return true
	}
	return status/100 != 4
}

func retryAll(n int, after time.Duration, err error) error {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return &storage.PartialError{Retry: all, RetryAfter: after, First: err}
}

// partialSuccess reads the ExportLogsServiceResponse of a success. OTLP does not
// name the records that were refused, and does not want them sent again.
func partialSuccess(body []byte, n int) error {
	rejected, text := int64(0), ""
	// An answer that cannot be read is as good as an empty one, which is what
	// complete success looks like.
	_ = fields(body, func(f field) error {
		if f.number != responsePartial {
			return nil
		}
		return fields(f.bytes, func(f field) error {
			switch f.number {
			case partialRejected:
				rejected = int64(f.bits)
			case partialErrorText:
				text = strings.ToValidUTF8(string(f.bytes[:min(len(f.bytes), 512)]), "\uFFFD")
			}
			return nil
		})
	})
	if rejected <= 0 {
		return nil
	}
	return &storage.PartialError{
		Refused: map[string]int{"partial_success": int(min(rejected, int64(n)))},
		First:   fmt.Errorf("the receiver took a part of the request: %s", text),
	}
}

// AppendResponse appends the answer of a receiver that has refused so many
// records for good: an ExportLogsServiceResponse, which is empty for none.
func AppendResponse(dst []byte, refused int, text string) []byte {
	if refused == 0 {
		return dst
	}
	size := 1 + protowire.SizeVarint(uint64(refused)) + 1 + protowire.SizeBytes(len(text))
	dst = protowire.AppendTag(dst, responsePartial, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, partialRejected, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(refused))
	dst = protowire.AppendTag(dst, partialErrorText, protowire.BytesType)
	return protowire.AppendString(dst, text)
}
