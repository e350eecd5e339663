//go:build system

package elasticsearch

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands before a server and does what networks and full servers do.
type proxy struct {
	*httptest.Server
	server *Server

	// rejectEvery, if not 0, has every so-manieth item of bulk requests
	// rejected with 429, before the server sees it.
	rejectEvery int64
	items       atomic.Int64
	rejected    atomic.Int64

	// cut, if set, says of a bulk request whether its connection is cut when
	// the server has carried it out. It is called with mu held.
	mu  sync.Mutex
	cut func() bool
}

// newProxy starts a proxy, which ends with the test.
func newProxy(t *testing.T, s *Server) *proxy {
	t.Helper()
	p := &proxy{server: s}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP forwards requests.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	isBulk := strings.HasSuffix(r.URL.Path, "/_bulk")
	var rejected []bool
	if isBulk && p.rejectEvery > 0 {
		body, rejected = p.rejectItems(body)
	}
	status, header, answer := p.forward(r, body)
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	if isBulk && p.isCut() {
		panic(http.ErrAbortHandler)
	}
	if len(rejected) > 0 && status == http.StatusOK {
		answer = withRejected(answer, rejected)
	}
	for _, name := range []string{"Content-Type", "X-Elastic-Product", "Retry-After"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (p *proxy) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut != nil && p.cut()
}

// forward has status 0 when the server does not answer.
func (p *proxy) forward(r *http.Request, body []byte) (int, http.Header, []byte) {
	req, err := http.NewRequest(r.Method, p.server.URL+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil
	}
	return resp.StatusCode, resp.Header, answer
}

// rejectItems takes items out of a body.
func (p *proxy) rejectItems(body []byte) (left []byte, rejected []bool) {
	unzip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body, nil
	}
	text, err := io.ReadAll(unzip)
	if err != nil {
		return body, nil
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	lines := bytes.SplitAfter(text, []byte("\n"))
	kept := 0
	for i := 0; i+1 < len(lines); i += 2 {
		reject := p.items.Add(1)%p.rejectEvery == 0 && len(lines) > 4
		rejected = append(rejected, reject)
		if reject {
			p.rejected.Add(1)
			continue
		}
		kept++
		_, _ = zip.Write(append(lines[i], lines[i+1]...))
	}
	_ = zip.Close()
	if kept == 0 {
		return body, nil
	}
	return out.Bytes(), rejected
}

// withRejected puts the rejected items into the answer to the others.
func withRejected(answer []byte, rejected []bool) []byte {
	var of struct {
		Errors bool              `json:"errors"`
		Items  []json.RawMessage `json:"items"`
	}
	if json.Unmarshal(answer, &of) != nil {
		return answer
	}
	left := of.Items
	of.Items, of.Errors = nil, true
	for _, r := range rejected {
		if r {
			of.Items = append(of.Items, json.RawMessage(`{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected by the test"}}}`))
			continue
		}
		of.Items, left = append(of.Items, left[0]), left[1:]
	}
	answer, err := json.Marshal(of)
	if err != nil {
		return nil
	}
	return answer
}

// rollOver has the server begin a new index.
func (s *Server) rollOver(t testing.TB, index string) {
	t.Helper()
	var answer struct {
		RolledOver bool `json:"rolled_over"`
	}
	require.NoError(t, json.Unmarshal(s.Call(t, http.MethodPost, "/"+index+"/_rollover", ""), &answer))
	require.True(t, answer.RolledOver)
}
