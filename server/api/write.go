package api

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/storage"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxWrites bounds the writes decoded at the same time, and with
	// maxWriteBytes their memory. Prometheus sends over up to 50 connections
	// per queue, an agent over a few.
	maxWrites = 16
	// maxWriteBytes bounds a body of samples, packed as well as unpacked. It is
	// upstream's bound on what it unpacks, which cannot be changed; senders
	// stay far below it (2,000 samples by default).
	maxWriteBytes = 32 << 20
	// retryAfter is in seconds: senders that are told to come back do so
	// soon enough not to lose their place, and late enough to be of help.
	retryAfter = "5"
)

// errTooLarge says that a body is above maxWriteBytes.
var errTooLarge = fmt.Errorf("the body is larger than %d bytes; send fewer samples at a time", maxWriteBytes)

// outcome is what the handler of a write learns from the parts below it and
// upstream's handlers do not pass on.
type outcome struct {
	// tooLarge says that the body went on beyond its bound, reached that it
	// could be decoded and storing began, and full that the store has no room.
	tooLarge, reached, full bool
	// commit is why nothing was stored in the end.
	commit error
}

type outcomeKey struct{}

// bodyKind is how a kind of request packs its body.
type bodyKind struct {
	// open returns the bounded body, or errTooLarge.
	open func(r *http.Request, out *outcome) (io.Reader, error)
	// needed completes upstream's terse complaints about what they cannot
	// decode; "" where other complaints are possible before anything is stored.
	needed string
}

var (
	remoteWriteBody = bodyKind{snappyBody, "cannot decode the body, a protobuf message packed by snappy is needed: "}
	remoteReadBody  = bodyKind{snappyBody, ""}
	otlpWriteBody   = bodyKind{otlpBody, "cannot decode the body, an OTLP message in protobuf or JSON is needed: "}
)

// bounded limits the body, and corrects the status where upstream's handlers
// answer too generally: 413 for what is too large, and 503 with Retry-After
// while the store has no room, which tells senders to keep their samples.
func (a *API) bounded(kind bodyKind, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := &outcome{}
		opened, err := kind.open(r, out)
		if err != nil {
			code := http.StatusBadRequest
			if errors.Is(err, errTooLarge) {
				code = http.StatusRequestEntityTooLarge
				a.metrics.Rejected(guard.ReasonTooLarge)
			}
			http.Error(w, err.Error(), code)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), outcomeKey{}, out))
		r.Body = struct {
			io.Reader
			io.Closer
		}{opened, r.Body}
		h(&guard.Response{ResponseWriter: w, Correct: func(header http.Header, code int) (int, string) {
			return a.correct(kind, out, header, code)
		}}, r)
	}
}

// correct returns the right status and what to write in front of the body.
func (a *API) correct(kind bodyKind, out *outcome, header http.Header, code int) (int, string) {
	prefix := ""
	if code < http.StatusBadRequest && out.commit != nil {
		// Upstream's OTLP handler forgets this error and claims success.
		code, prefix = http.StatusInternalServerError, out.commit.Error()+"\n"
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	switch {
	case code < http.StatusBadRequest:
	case out.tooLarge:
		a.metrics.Rejected(guard.ReasonTooLarge)
		code = http.StatusRequestEntityTooLarge
	case out.full:
		a.metrics.Rejected(guard.ReasonFull)
		header.Set("Retry-After", retryAfter)
		code = http.StatusServiceUnavailable
	case code == http.StatusBadRequest && !out.reached:
		prefix = kind.needed
	}
	return code, prefix
}

// snappyBody refuses by the size that the first bytes of a snappy block
// promise, before anything is unpacked.
func snappyBody(r *http.Request, out *outcome) (io.Reader, error) {
	if r.ContentLength > maxWriteBytes {
		return nil, errTooLarge
	}
	packed := bufio.NewReaderSize(&body{r.Body, maxWriteBytes, r.ContentLength, 0, out}, 16)
	// Too short a body is left to the decoder, which knows what is wrong.
	start, _ := packed.Peek(binary.MaxVarintLen32)
	if size, n := binary.Uvarint(start); n > 0 && size > maxWriteBytes {
		return nil, errTooLarge
	}
	return packed, nil
}

// otlpBody unpacks gzip itself: upstream would cut off what is too large and
// then complain about a broken message.
func otlpBody(r *http.Request, out *outcome) (io.Reader, error) {
	// Upstream never reads past its own bound, at which ours must tell.
	const limit = maxWriteBytes - 1
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	packed := &body{r.Body, limit, r.ContentLength, 0, out}
	if r.Header.Get("Content-Encoding") != "gzip" {
		return packed, nil
	}
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("the body is not gzip as its Content-Encoding says: %w", err)
	}
	r.Header.Del("Content-Encoding")
	return &body{unpacked, limit, -1, 0, out}, nil
}

// body reads up to limit bytes and says clearly why it cannot read on.
type body struct {
	io.Reader
	limit, promised, read int64
	out                   *outcome
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += int64(n)
	if b.read > b.limit {
		b.out.tooLarge = true
		return 0, errTooLarge
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		if b.promised >= 0 {
			return n, fmt.Errorf("the body is cut off: it ends after %d of %d bytes: %w", b.read, b.promised, err)
		}
		return n, fmt.Errorf("the body is cut off after %d bytes: %w", b.read, err)
	}
	return n, err
}

// notingAppendable tells the outcome in an appender's context when the store
// is full.
type notingAppendable struct{ store upstream.Storage }

func (n notingAppendable) Appender(ctx context.Context) upstream.Appender {
	return &notingAppender{n.store.Appender(ctx), outcomeOf(ctx)}
}

func (n notingAppendable) AppenderV2(ctx context.Context) upstream.AppenderV2 {
	return &notingAppenderV2{n.store.AppenderV2(ctx), outcomeOf(ctx)}
}

// outcomeOf returns the outcome to note in when storing begins.
func outcomeOf(ctx context.Context) *outcome {
	out, ok := ctx.Value(outcomeKey{}).(*outcome)
	if !ok {
		out = &outcome{}
	}
	out.reached = true
	return out
}

func (o *outcome) note(err error) error {
	if errors.Is(err, storage.ErrFull) {
		o.full = true
	}
	return err
}

func (o *outcome) noteCommit(err error) error {
	o.commit = err
	return o.note(err)
}

type notingAppender struct {
	upstream.Appender
	out *outcome
}

func (n *notingAppender) Append(ref upstream.SeriesRef, l labels.Labels, t int64, v float64) (upstream.SeriesRef, error) {
	ref, err := n.Appender.Append(ref, l, t, v)
	return ref, n.out.note(err)
}

func (n *notingAppender) AppendHistogram(ref upstream.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (upstream.SeriesRef, error) {
	ref, err := n.Appender.AppendHistogram(ref, l, t, h, fh)
	return ref, n.out.note(err)
}

func (n *notingAppender) AppendExemplar(ref upstream.SeriesRef, l labels.Labels, e exemplar.Exemplar) (upstream.SeriesRef, error) {
	ref, err := n.Appender.AppendExemplar(ref, l, e)
	return ref, n.out.note(err)
}

func (n *notingAppender) Commit() error { return n.out.noteCommit(n.Appender.Commit()) }

type notingAppenderV2 struct {
	upstream.AppenderV2
	out *outcome
}

func (n *notingAppenderV2) Append(ref upstream.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o upstream.AOptions) (upstream.SeriesRef, error) {
	ref, err := n.AppenderV2.Append(ref, l, st, t, v, h, fh, o)
	return ref, n.out.note(err)
}

func (n *notingAppenderV2) Commit() error { return n.out.noteCommit(n.AppenderV2.Commit()) }
