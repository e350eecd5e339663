package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// ndjson is the form of answers that has no limit and keeps the exact order.
	ndjson = "application/x-ndjson"
	// maxWireLine bounds one line of an answer: a record of the longest line
	// that agents send, every byte of it escaped, fits many times.
	maxWireLine = 64 << 20
	// maxSources bounds the labels that are remembered in parsed form.
	maxSources = 20_000
	// maxErrorBody is how much of an error response is read.
	maxErrorBody = 64 << 10
)

// errEnough ends the reading of an answer of which no more is wanted.
var errEnough = errors.New("enough")

// logSource is who wrote a line: the labels of its stream.
type logSource struct {
	labels map[string]string
	// name tells sources apart for people, restarts of a container aside.
	namespace, pod, container, filename string
	// file is the same for what was written to one file: stdout and stderr of
	// one run of a container.
	file string
}

// logEntry is one line of an answer.
type logEntry struct {
	source *logSource
	at     time.Time
	ns     int64
	line   string
	id     string
	flags  []string
	// metadata and parsed are labels of this line alone.
	metadata, parsed map[string]string
}

// level is the severity that the server knows of the line.
func (e *logEntry) level() string { return e.metadata[storage.LabelLevel] }

// logEnd is the last line of an answer.
type logEnd struct {
	Entries  int64    `json:"entries"`
	More     bool     `json:"more"`
	Warnings []string `json:"warnings"`
	Error    string   `json:"error"`
}

// wireLine is any line of an answer, in the form of docs/logs-api.md.
type wireLine struct {
	NS       string            `json:"ns"`
	Labels   json.RawMessage   `json:"labels"`
	Metadata map[string]string `json:"metadata"`
	Parsed   map[string]string `json:"parsed"`
	Line     *string           `json:"line"`
	ID       string            `json:"id"`
	Flags    []string          `json:"flags"`
	End      *logEnd           `json:"end"`
	Progress *struct {
		Dropped int64 `json:"dropped"`
	} `json:"progress"`
}

// logClient asks a server by the Loki-compatible API.
type logClient struct {
	*client
	http    *http.Client
	sources map[string]*logSource
}

func newLogClient(p *process, s clientSettings) (*logClient, error) {
	c, err := newClient(p, s)
	if err != nil {
		return nil, err
	}
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	return &logClient{client: c, http: &http.Client{Transport: transport}, sources: map[string]*logSource{}}, nil
}

// get sends a request and returns the body of a good answer, which the caller
// closes.
func (c *logClient) get(ctx context.Context, path string, params url.Values, accept string) (io.ReadCloser, error) {
	address := strings.TrimRight(c.settings.addr, "/") + "/loki/api/v1/" + path + "?" + params.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, explainConnection(c.settings.addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, accept) {
			resp.Body.Close()
			return nil, fmt.Errorf("%s does not answer as binnacle's log API does: it sent %q instead of %s", c.settings.addr, got, accept)
		}
		return resp.Body, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	return nil, c.refused(resp.StatusCode, body)
}

// refusal is an answer with an error status.
type refusal struct {
	status int
	err    error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// refused says what an error status means and what to do about it.
func (c *logClient) refused(status int, body []byte) error {
	text := oneLine(body)
	if text == "" {
		text = http.StatusText(status)
	}
	c.recorder.status, c.recorder.body = status, body
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return &refusal{status, c.explain(errors.New(text))}
	}
	if strings.Contains(text, "HTTP request to an HTTPS server") {
		return c.explain(errors.New(text))
	}
	return &refusal{status, fmt.Errorf("%s answers %d: %s", c.settings.addr, status, text)}
}

// stream sends a query, calls each for every entry in order and idle before
// it has to wait for more. It returns the last line of the answer.
func (c *logClient) stream(ctx context.Context, path string, params url.Values, each func(*logEntry) error, idle func() error) (logEnd, error) {
	body, err := c.get(ctx, path, params, ndjson)
	if err != nil {
		return logEnd{}, err
	}
	defer body.Close()
	return c.readLines(ctx, body, each, idle)
}

// readLines reads an answer until its last line. An answer without one was
// cut off.
func (c *logClient) readLines(ctx context.Context, body io.Reader, each func(*logEntry) error, idle func() error) (logEnd, error) {
	reader := bufio.NewReaderSize(body, 256<<10)
	var buffer []byte
	var dropped int64
	for {
		if reader.Buffered() == 0 {
			if err := idle(); err != nil {
				return logEnd{}, err
			}
		}
		line, err := readWireLine(reader, buffer[:0])
		if err != nil {
			if ctx.Err() != nil {
				return logEnd{}, ctx.Err()
			}
			return logEnd{}, &cutError{fmt.Errorf("the answer of %s was cut off: %w", c.settings.addr, err)}
		}
		buffer = line
		var w wireLine
		if err := json.Unmarshal(line, &w); err != nil {
			return logEnd{}, fmt.Errorf("%s does not answer as binnacle's log API does: %w", c.settings.addr, err)
		}
		switch {
		case w.End != nil:
			return *w.End, nil
		case w.Progress != nil && w.Progress.Dropped > dropped:
			c.note("warning: this reader is too slow, %d lines are left out", w.Progress.Dropped-dropped)
			dropped = w.Progress.Dropped
		case w.Line != nil:
			entry, err := c.entry(&w)
			if err != nil {
				return logEnd{}, err
			}
			if err := each(entry); err != nil {
				return logEnd{}, err
			}
		}
	}
}

// cutError is an answer that ended before its last line.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

// readWireLine reads one line, without its end, into buffer.
func readWireLine(reader *bufio.Reader, buffer []byte) ([]byte, error) {
	for {
		part, err := reader.ReadSlice('\n')
		buffer = append(buffer, part...)
		switch {
		case err == nil:
			return buffer[:len(buffer)-1], nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(buffer) > maxWireLine:
			return nil, fmt.Errorf("a line is longer than %s", formatBytes(maxWireLine))
		}
	}
}

// entry turns a line of an answer into an entry.
func (c *logClient) entry(w *wireLine) (*logEntry, error) {
	ns, err := strconv.ParseInt(w.NS, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s sent the time %q: want nanoseconds", c.settings.addr, w.NS)
	}
	source, err := c.source(w.Labels)
	if err != nil {
		return nil, err
	}
	return &logEntry{
		source: source, ns: ns, at: time.Unix(0, ns), line: *w.Line, id: w.ID, flags: w.Flags,
		metadata: w.Metadata, parsed: w.Parsed,
	}, nil
}

// source parses the labels of a stream, once for all of its entries.
func (c *logClient) source(raw json.RawMessage) (*logSource, error) {
	if s := c.sources[string(raw)]; s != nil {
		return s, nil
	}
	var labels map[string]string
	if err := json.Unmarshal(raw, &labels); err != nil {
		return nil, fmt.Errorf("%s sent labels that are none: %w", c.settings.addr, err)
	}
	s := &logSource{
		labels: labels, namespace: labels[storage.LabelNamespace], pod: labels[storage.LabelPod],
		container: labels[storage.LabelContainer], filename: labels[storage.LabelFilename], file: fileOf(labels),
	}
	if len(c.sources) >= maxSources {
		clear(c.sources)
	}
	c.sources[string(raw)] = s
	return s, nil
}

// fileOf writes all labels but the one that tells stdout from stderr.
func fileOf(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != storage.LabelStream {
			b.WriteString(name + "\xfe" + labels[name] + "\xff")
		}
	}
	return b.String()
}

// askList asks for a list of names or label sets.
func askList[T any](ctx context.Context, c *logClient, path string, params url.Values) ([]T, error) {
	body, err := c.get(ctx, path, params, "application/json")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answer struct {
		Data []T `json:"data"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s does not answer as Loki's API does: %w", c.settings.addr, err)
	}
	return answer.Data, nil
}
