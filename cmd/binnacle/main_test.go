package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testNow is the time of all client tests.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// outcome is what a command left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// golden is the outcome in the form of golden files.
func (o outcome) golden() string {
	var b strings.Builder
	b.WriteString(o.stdout)
	if o.stderr != "" {
		b.WriteString("--- stderr\n" + o.stderr)
	}
	if o.code != 0 {
		b.WriteString("--- exit " + string(rune('0'+o.code)) + "\n")
	}
	return b.String()
}

// options of one execution in a test.
type options struct {
	environ []string
	columns int // of a terminal on stdout
	ctx     context.Context
	stdin   io.Reader
}

// execute runs a command line in this process.
func execute(t *testing.T, o options, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &process{
		environ: o.environ,
		stdin:   o.stdin,
		stdout:  &stdout,
		stderr:  &stderr,
		columns: func(io.Writer) int { return o.columns },
		hangup:  func() <-chan os.Signal { return nil },
		now:     func() time.Time { return testNow },
		zone:    time.UTC,
	}
	ctx := o.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := run(ctx, p, args)
	return outcome{code, stdout.String(), stderr.String()}
}

// requireGolden compares text with a file in testdata.
func requireGolden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "go test ./cmd/binnacle -update writes it")
	require.Equal(t, string(want), text)
}

// fakeAPI answers as a server does, from a map of path and query to a
// response body.
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	path, query string
	form        map[string][]string
	header      http.Header
}

// newFakeAPI starts a server that answers each request by answer.
func newFakeAPI(t *testing.T, answer func(request) (status int, body string)) *fakeAPI {
	t.Helper()
	f := &fakeAPI{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		req := request{r.URL.Path, r.Form.Get("query"), r.Form, r.Header}
		f.mu.Lock()
		f.requests = append(f.requests, req)
		f.mu.Unlock()
		status, body := answer(req)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(f.Close)
	return f
}

// last returns the last request.
func (f *fakeAPI) last() request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

// success wraps data in the API's envelope.
func success(data string) string {
	return `{"status":"success","data":` + data + `}`
}

func always(status int, body string) func(request) (int, string) {
	return func(request) (int, string) { return status, body }
}
