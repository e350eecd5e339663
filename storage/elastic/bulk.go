package elastic

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/buger/jsonparser"
	"github.com/klauspost/compress/gzip"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// flushAt is how much text is gathered before it is compressed.
	flushAt = 64 << 10
	// maxKept bounds the body of a request that is kept for the next.
	maxKept = 8 << 20
)

// bulk is the body of a bulk request in the making.
type bulk struct {
	encoder encoder
	text    []byte // not compressed yet
	body    bytes.Buffer
	gzip    *gzip.Writer
	// length is the size of the body before compression.
	length int64
}

// bulks keeps bodies for reuse.
type bulks struct {
	pool  sync.Pool
	forms forms
}

func (p *bulks) get() *bulk {
	b, ok := p.pool.Get().(*bulk)
	if !ok {
		b = &bulk{encoder: encoder{forms: &p.forms}}
		// The level is one of the package's own.
		b.gzip, _ = gzip.NewWriterLevel(&b.body, gzip.BestSpeed)
	}
	b.length = 0
	b.text = b.text[:0]
	b.body.Reset()
	b.gzip.Reset(&b.body)
	return b
}

func (p *bulks) put(b *bulk) {
	if b.body.Cap() <= maxKept && cap(b.text) <= maxKept {
		b.encoder.stream, b.encoder.form = nil, nil
		p.pool.Put(b)
	}
}

// add writes the documents of the records of batch named by which.
func (b *bulk) add(batch []storage.Record, which []int) {
	for _, i := range which {
		b.text = b.encoder.append(b.text, &batch[i])
		if len(b.text) >= flushAt {
			b.compress()
		}
	}
}

// compress writes to memory, which does not fail.
func (b *bulk) compress() {
	_, _ = b.gzip.Write(b.text)
	b.length += int64(len(b.text))
	b.text = b.text[:0]
}

// finish returns the body.
func (b *bulk) finish() []byte {
	b.compress()
	_ = b.gzip.Close()
	return b.body.Bytes()
}

// postBulk sends what b holds and returns the answer.
func (s *Store) postBulk(ctx context.Context, st *state, t target, b *bulk) ([]byte, error) {
	body := b.finish()
	s.metrics.documentBytes.Add(float64(b.length))
	s.metrics.sentBytes.Add(float64(len(body)))
	query := url.Values{"filter_path": {"errors,items.*.status,items.*.error.type,items.*.error.reason"}}
	if !st.caps.DataStreams {
		// Without its alias the name would become an index of its own.
		query.Set("require_alias", "true")
	}
	return s.client.send(ctx, http.MethodPost, "/"+t.index+"/_bulk", query, body, http.Header{
		"Content-Type": {"application/x-ndjson"}, "Content-Encoding": {"gzip"},
	})
}

// failure is an item of a bulk request that was not created.
type failure struct {
	item   int
	status int
	kind   string // the server's name for it
	reason string
}

func (f failure) Error() string {
	return fmt.Sprintf("elasticsearch refuses a document with status %d, %s: %s", f.status, f.kind, f.reason)
}

// parseBulk reads the answer to a bulk request of so many items. It returns
// those that failed, ascending.
func parseBulk(answer []byte, items int) ([]failure, error) {
	failed, err := jsonparser.GetBoolean(answer, "errors")
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: the answer to a bulk request has no valid \"errors\": %w", err)
	}
	if !failed {
		return nil, nil
	}
	var failures []failure
	n := 0
	_, arrayErr := jsonparser.ArrayEach(answer, func(item []byte, _ jsonparser.ValueType, _ int, _ error) {
		f := parseItem(item)
		f.item = n
		n++
		if f.status/100 != 2 {
			f.kind, f.reason = limited(f.kind), limited(f.reason)
			failures = append(failures, f)
		}
	}, "items")
	if arrayErr != nil {
		return nil, fmt.Errorf("elasticsearch: the answer to a bulk request has no valid \"items\": %w", arrayErr)
	}
	if n != items {
		return nil, fmt.Errorf("elasticsearch: the answer to a bulk request of %d items tells of %d", items, n)
	}
	return failures, nil
}

// parseItem reads {"create":{"status":400,"error":{"type":"…","reason":"…"}}}.
// An item that does not tell its status has status 0.
func parseItem(item []byte) failure {
	var f failure
	// What is missing of a failure stays empty.
	status, _ := jsonparser.GetInt(item, "create", "status")
	f.status = int(status)
	if f.status/100 != 2 {
		f.kind, _ = jsonparser.GetString(item, "create", "error", "type")
		f.reason, _ = jsonparser.GetString(item, "create", "error", "reason")
	}
	return f
}

func limited(text string) string {
	return text[:min(len(text), maxExcerpt)]
}
