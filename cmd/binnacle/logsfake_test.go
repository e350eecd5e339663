package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testLine is a line that a fake server sends.
type testLine struct {
	seconds float64 // before testNow
	labels  string  // namespace/pod/container/restart/stream, or a file name
	level   string
	text    string
	id      string
	flags   []string
}

// wire is the line in the form of docs/logs-api.md.
func (l testLine) wire() string {
	ns := testNow.Add(-time.Duration(l.seconds * float64(time.Second))).UnixNano()
	metadata := map[string]string{}
	if l.level != "" {
		metadata["level"] = l.level
	}
	flags := l.flags
	if flags == nil {
		flags = []string{}
	}
	b, err := json.Marshal(map[string]any{
		"timestamp": time.Unix(0, ns).UTC().Format(time.RFC3339Nano), "ns": strconv.FormatInt(ns, 10),
		"labels": testLabels(l.labels), "metadata": metadata, "parsed": map[string]string{},
		"line": l.text, "id": l.id, "flags": flags,
	})
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

func testLabels(text string) map[string]string {
	if strings.HasPrefix(text, "/") {
		return map[string]string{"node": "a", "filename": text}
	}
	parts := strings.Split(text, "/")
	return map[string]string{
		"node": "a", "namespace": parts[0], "pod": parts[1], "uid": "uid-" + parts[1],
		"container": parts[2], "restart": parts[3], "stream": parts[4],
	}
}

// endLine is the last line of an answer.
func endLine(entries int, more bool, warnings ...string) string {
	text, _ := json.Marshal(append([]string{}, warnings...))
	return fmt.Sprintf(`{"end":{"entries":%d,"more":%t,"stats":{},"warnings":%s,"error":""}}`+"\n", entries, more, text)
}

// answerOf is a complete answer.
func answerOf(lines ...testLine) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.wire())
	}
	return b.String() + endLine(len(lines), false)
}

// fakeLogs is a server of the log API.
type fakeLogs struct {
	*httptest.Server
	mu       sync.Mutex
	requests []url.Values // of query_range and tail
	series   []string     // label sets in the notation of testLine
	// queries answers query_range, tails one request of tail after the other.
	queries func(url.Values) string
	tails   []func(w io.Writer, r *http.Request)
	names   []string // answer of everything that lists names
	asked   []string // paths and the selector of requests for lists
}

func newFakeLogs(t *testing.T) *fakeLogs {
	t.Helper()
	f := &fakeLogs{}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeLogs) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/loki/api/v1/")
	switch {
	case path == "query_range":
		f.requests = append(f.requests, r.Form)
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_, _ = io.WriteString(w, f.queries(r.Form))
	case path == "tail" && len(f.tails) > 0:
		f.requests = append(f.requests, r.Form)
		tail := f.tails[0]
		f.tails = f.tails[1:]
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		f.mu.Unlock()
		defer f.mu.Lock()
		tail(flushing{w}, r)
	case path == "series":
		f.asked = append(f.asked, path+" "+r.Form.Get("match[]"))
		f.list(w, f.matchingSeries(r.Form.Get("match[]")))
	case path == "labels" || strings.HasPrefix(path, "label/"):
		f.asked = append(f.asked, path+" "+r.Form.Get("query"))
		f.list(w, f.names)
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeLogs) list(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	text, _ := json.Marshal(map[string]any{"status": "success", "data": data})
	_, _ = w.Write(text)
}

// flushing sends what is written at once.
type flushing struct{ http.ResponseWriter }

func (w flushing) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

func (f *fakeLogs) last() url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

// matchingSeries evaluates a selector of one condition on the pod or file.
func (f *fakeLogs) matchingSeries(selector string) []map[string]string {
	out := []map[string]string{}
	for _, s := range f.series {
		labels := testLabels(s)
		if selectorHolds(selector, labels) {
			out = append(out, labels)
		}
	}
	return out
}

var selectorCondition = regexp.MustCompile(`(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")`)

// selectorHolds evaluates the stream selector of a query.
func selectorHolds(selector string, labels map[string]string) bool {
	for _, m := range selectorCondition.FindAllStringSubmatch(selector, -1) {
		value, err := strconv.Unquote(m[3])
		if err != nil {
			panic(err)
		}
		got := labels[m[1]]
		var holds bool
		switch m[2] {
		case "=":
			holds = got == value
		case "!=":
			holds = got != value
		case "=~":
			holds = regexp.MustCompile("^(?:" + value + ")$").MatchString(got)
		case "!~":
			holds = !regexp.MustCompile("^(?:" + value + ")$").MatchString(got)
		}
		if !holds {
			return false
		}
	}
	return true
}
