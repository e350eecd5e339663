//go:build system

package system

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// bulkProxy stands between a client and Elasticsearch and spoils bulk
// requests. What it did and saw is counted.
type bulkProxy struct {
	*httptest.Server
	target string

	mu sync.Mutex
	// rejectEvery answers every n-th item with 429 in the server's place; it
	// never gets there. 0 rejects none.
	rejectEvery int
	// cutEvery cuts the connection of every n-th request after the server has
	// carried it out. 0 cuts none.
	cutEvery int
	// beforeCut is called between the server's answer and the cut.
	beforeCut func()

	items, rejected, requests, cuts int
	// refused counts the server's own answers by status, of items and whole requests.
	refusedItems, refusedRequests map[int]int
}

func newBulkProxy(t testing.TB, target string) *bulkProxy {
	p := &bulkProxy{target: target, refusedItems: map[int]int{}, refusedRequests: map[int]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP implements http.Handler.
func (p *bulkProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	var cut bool
	var rejected []bool
	bulk := strings.HasSuffix(r.URL.Path, "/_bulk")
	if bulk {
		if body, rejected, cut, err = p.spoil(r, body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	status, header, answer, err := p.forward(r, body)
	if err != nil {
		panic(http.ErrAbortHandler) // as if the server were not there
	}
	if bulk {
		answer = p.merge(status, answer, rejected)
	}
	if cut {
		p.mu.Lock()
		before := p.beforeCut
		p.mu.Unlock()
		if before != nil {
			before()
		}
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Type", "X-Elastic-Product", "Retry-After"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(status)
	w.Write(answer)
}

// forward carries a request out. The answer comes unpacked.
func (p *bulkProxy) forward(r *http.Request, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for _, name := range []string{"Content-Type", "Content-Encoding", "Accept", "Authorization"} {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, answer, err
}

// spoil takes the items to reject out of a bulk request and decides on a cut.
func (p *bulkProxy) spoil(r *http.Request, body []byte) (left []byte, rejected []bool, cut bool, err error) {
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, nil, false, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return nil, nil, false, err
		}
		r.Header.Del("Content-Encoding")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if p.cutEvery > 0 && p.requests%p.cutEvery == 0 {
		p.cuts++
		cut = true
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines)%2 != 0 {
		return nil, nil, false, fmt.Errorf("a bulk request of %d lines", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		p.items++
		reject := p.rejectEvery > 0 && p.items%p.rejectEvery == 0
		rejected = append(rejected, reject)
		if reject {
			p.rejected++
			continue
		}
		left = append(append(left, lines[i]...), lines[i+1]...)
	}
	if len(left) > 0 && left[len(left)-1] != '\n' {
		left = append(left, '\n')
	}
	if len(left) == 0 { // Elasticsearch refuses requests without an item
		return nil, nil, false, errors.New("every item is rejected")
	}
	return left, rejected, cut, nil
}

// bulkAnswer is what is read of the answer to a bulk request.
type bulkAnswer struct {
	Took   int                          `json:"took"`
	Errors bool                         `json:"errors"`
	Items  []map[string]json.RawMessage `json:"items"`
}

// merge puts the rejected items into the server's answer.
func (p *bulkProxy) merge(status int, answer []byte, rejected []bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if status != http.StatusOK {
		p.refusedRequests[status]++
		return answer
	}
	var a bulkAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		panic(err)
	}
	var items []map[string]json.RawMessage
	for _, r := range rejected {
		if r {
			a.Errors = true
			items = append(items, map[string]json.RawMessage{
				"create": json.RawMessage(`{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected by the test"}}`),
			})
			continue
		}
		item := a.Items[0]
		a.Items = a.Items[1:]
		var result struct{ Status int }
		if err := json.Unmarshal(item["create"], &result); err != nil {
			panic(err)
		}
		if result.Status/100 != 2 {
			p.refusedItems[result.Status]++
		}
		items = append(items, item)
	}
	a.Items = items
	merged, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return merged
}

// counts tells what the proxy did and saw.
func (p *bulkProxy) counts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d requests of %d items, %d items rejected, %d connections cut; the server refused items %v and requests %v",
		p.requests, p.items, p.rejected, p.cuts, p.refusedItems, p.refusedRequests)
}
