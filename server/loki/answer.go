package loki

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const (
	jsonType  = "application/json; charset=UTF-8"
	linesType = "application/x-ndjson"
)

// incompleteHeader names in an answer the limits that kept a part of the
// result, for clients that do not look for warnings.
const incompleteHeader = "X-Binnacle-Incomplete"

// minPacked is the smallest document worth packing: it fits in one packet.
const minPacked = 1400

// packers are shared: one is 800 KB.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is right
	return z
}}

// takesGzip tells whether a client wants its answer packed.
func takesGzip(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for offer := range strings.SplitSeq(header, ",") {
			coding, params, _ := strings.Cut(offer, ";")
			if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "*" {
				continue
			}
			q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			if weight, err := strconv.ParseFloat(q, 64); !found || err != nil || weight > 0 {
				return true
			}
		}
	}
	return false
}

// writeJSON answers with a document in parts, which it does not join.
func writeJSON(w http.ResponseWriter, r *http.Request, parts ...[]byte) {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Add("Vary", "Accept-Encoding")
	var out io.Writer = w
	if size >= minPacked && takesGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		z := packers.Get().(*gzip.Writer)
		defer packers.Put(z)
		z.Reset(w)
		defer z.Close()
		out = z
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(size))
	}
	for _, part := range parts {
		if _, err := out.Write(part); err != nil {
			return // a client that is gone does not need the answer
		}
	}
}

// writeData answers with a document that has Loki's frame around data.
func writeData(w http.ResponseWriter, r *http.Request, warnings []string, data ...[]byte) {
	head := []byte(`{"status":"success",`)
	if len(warnings) > 0 {
		head = append(head, `"warnings":`...)
		head = appendStrings(head, warnings)
		head = append(head, ',')
	}
	head = append(head, `"data":`...)
	parts := append([][]byte{head}, data...)
	writeJSON(w, r, append(parts, []byte("}\n"))...)
}
