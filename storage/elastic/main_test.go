package elastic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake answers what no real server answers on demand. Real ones are used in
// test/elasticsearch.
type fake struct {
	*httptest.Server
	mu sync.Mutex
	// answers are by "METHOD /path", or by the path alone; without one the
	// status is 404.
	answers  map[string]func(w http.ResponseWriter, body string)
	requests []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{answers: make(map[string]func(http.ResponseWriter, string))}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.on("/_nodes/_local", 200, `{"nodes":{"a":{"version":"1.2.3"}}}`)
	f.on("POST /_index_template/_simulate", 200, `{}`)
	f.on("PUT /_index_template/binnacle-logs", 200, `{}`)
	f.on("PUT /_index_template/binnacle-dead-letters-logs", 200, `{}`)
	f.on("GET /_tasks", 200, `{}`)
	return f
}

// on sets an answer.
func (f *fake) on(what string, status int, answer string) {
	f.do(what, func(w http.ResponseWriter, _ string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
}

func (f *fake) do(what string, answer func(w http.ResponseWriter, body string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[what] = answer
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = unzip
	}
	text, _ := io.ReadAll(body)
	f.mu.Lock()
	f.requests = append(f.requests, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), text))
	answer := f.answers[r.Method+" "+r.URL.Path]
	if answer == nil {
		answer = f.answers[r.URL.Path]
	}
	f.mu.Unlock()
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer(w, string(text))
}

// sent returns the requests that begin with prefix.
func (f *fake) sent(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []string
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			found = append(found, r)
		}
	}
	return found
}

func (f *fake) open(t *testing.T, change func(*Options)) *Store {
	t.Helper()
	o := Options{URLs: []string{f.URL}, Index: "logs", Timeout: 5 * time.Second}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// recordsAt makes n records of one source.
func recordsAt(start time.Time, n int) []storage.Record {
	stream := &storage.Stream{Labels: labels.FromStrings(storage.LabelNamespace, "shop", storage.LabelPod, "cart-1")}
	records := make([]storage.Record, n)
	for i := range records {
		line := fmt.Appendf(nil, "line %d", i)
		records[i] = storage.Record{
			Stream: stream, Time: start.UnixNano() + int64(i), Source: storage.SourceID{1}, Offset: int64(i) * 10, Line: line, Size: int32(len(line)),
		}
	}
	return records
}

// fresh records are younger than any process.
func fresh(n int) []storage.Record { return recordsAt(time.Now().Add(time.Hour), n) }

// withoutProduct hides the header by which the client knows Elasticsearch.
type withoutProduct struct{ http.Handler }

// ServeHTTP implements http.Handler.
func (h withoutProduct) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.Handler.ServeHTTP(headerless{w}, r)
}

type headerless struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w headerless) WriteHeader(status int) {
	w.Header().Del("X-Elastic-Product")
	w.ResponseWriter.WriteHeader(status)
}

// headerSpy tells of credentials.
type headerSpy struct {
	http.Handler
	seen chan<- string
}

// ServeHTTP implements http.Handler.
func (h headerSpy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.seen <- r.Header.Get("Authorization")
	h.Handler.ServeHTTP(w, r)
}
