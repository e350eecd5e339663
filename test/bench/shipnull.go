package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/binnacle-obs/binnacle/storage/otlp"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

// nullReceiver takes logs as our server and as Elasticsearch do, checks and
// counts them, and stores nothing. It runs in a process of its own, whose CPU
// time does not count.
type nullReceiver struct {
	records, wrong atomic.Int64
	zstd           *zstd.Decoder
}

func serveNull(addr string) error {
	d, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	n := &nullReceiver{zstd: d}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, n.records.Load(), n.wrong.Load())
	})
	mux.HandleFunc("POST "+otlp.Path, n.otlp)
	mux.HandleFunc("POST /discard", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /api/v1/write", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", n.elastic)
	return http.ListenAndServe(addr, mux)
}

func (n *nullReceiver) body(r *http.Request) ([]byte, error) {
	packed, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "":
		return packed, nil
	case "snappy":
		return s2.Decode(nil, packed)
	case "zstd":
		return n.zstd.DecodeAll(packed, nil)
	case "gzip":
		unpacked, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(unpacked)
	default:
		return nil, fmt.Errorf("content encoding %q", coding)
	}
}

func (n *nullReceiver) otlp(w http.ResponseWriter, r *http.Request) {
	body, err := n.body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	batch, err := otlp.Decode(body, otlp.DecodeOptions{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for i := range batch.Records {
		if _, _, err := (corpus.Shape{}).Check(batch.Records[i].Line); err != nil {
			n.wrong.Add(1)
		}
	}
	n.records.Add(int64(len(batch.Records)))
}

// elastic answers what a client asks before it sends anything so that it goes
// on, and bulk requests with success.
func (n *nullReceiver) elastic(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_bulk"):
		n.bulk(w, r)
	case r.URL.Path == "/":
		_, _ = io.WriteString(w, `{"name":"null","cluster_name":"null","version":{"number":"8.19.0","build_flavor":"default"},"tagline":"You Know, for Search"}`)
	case r.URL.Path == "/_tasks":
		_, _ = io.WriteString(w, `{"nodes":{}}`)
	case strings.HasSuffix(r.URL.Path, "/_search"):
		_, _ = io.WriteString(w, `{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":{"hits":[]}}`)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{}`)
	default:
		_, _ = io.WriteString(w, `{"acknowledged":true}`)
	}
}

// bulk counts the documents: an action and a document are a line each.
func (n *nullReceiver) bulk(w http.ResponseWriter, r *http.Request) {
	body, err := n.body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	documents := bytes.Count(body, []byte("\n")) / 2
	n.records.Add(int64(documents))
	item := `{"create":{"_index":"null","status":201}}`
	_, _ = io.WriteString(w, `{"took":1,"errors":false,"items":[`+strings.TrimSuffix(strings.Repeat(item+",", documents), ",")+`]}`)
}
