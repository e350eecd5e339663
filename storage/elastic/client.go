package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/prometheus/common/config"
)

const (
	// maxExcerpt bounds what an error quotes of an answer.
	maxExcerpt = 512
	// maxAnswer bounds an answer that is read as a whole: a page of hits, or
	// what a bulk request says of its items.
	maxAnswer = 64 << 20
	// maxRetryAfter bounds how long a server can make us wait.
	maxRetryAfter = 5 * time.Minute
)

// errAnswerTooLarge means that an answer is longer than was asked for.
var errAnswerTooLarge = errors.New("elasticsearch: the answer is too large")

// statusError is an answer of the server other than 2xx.
type statusError struct {
	status     int
	retryAfter time.Duration
	what       string // method and path
	excerpt    string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("elasticsearch answers %s with status %d: %s", e.what, e.status, e.excerpt)
}

// statusOf is the status of a statusError in err, 0 without one.
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	return 0
}

// client sends requests to a cluster, one attempt each: whether to send again
// is for those to decide who know what a second time means.
type client struct {
	base    *elasticsearch.BaseClient
	timeout time.Duration
}

func newClient(o Options) (*client, error) {
	conf := config.HTTPClientConfig{
		// Credentials are meant for the configured address only.
		FollowRedirects: false,
		EnableHTTP2:     true,
		TLSConfig:       config.TLSConfig{CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile},
		ProxyConfig:     config.ProxyConfig{ProxyFromEnvironment: true},
	}
	if o.Username != "" {
		conf.BasicAuth = &config.BasicAuth{Username: o.Username, PasswordFile: o.PasswordFile}
	}
	if o.APIKeyFile != "" {
		conf.Authorization = &config.Authorization{Type: "ApiKey", CredentialsFile: o.APIKeyFile}
	}
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	transport, err := config.NewRoundTripperFromConfig(conf, "binnacle_elasticsearch")
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	if o.OpenSearch {
		transport = openSearchTransport{transport}
	}
	base, err := elasticsearch.NewBaseClient(elasticsearch.Config{
		Addresses: o.URLs, CloudID: o.CloudID,
		Transport:    transport,
		DisableRetry: true,
		Header:       http.Header{"User-Agent": {userAgent()}},
		// Elasticsearch 7.17 and OpenSearch refuse the versioned media types.
		EnableCompatibilityMode: false,
	})
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %w", err)
	}
	return &client{base: base, timeout: o.Timeout}, nil
}

// openSearchTransport adds the header by which the client knows its own kind
// of server.
type openSearchTransport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t openSearchTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Set("X-Elastic-Product", "Elasticsearch")
	}
	return resp, err
}

func userAgent() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "binnacle/" + info.Main.Version
	}
	return "binnacle"
}

// call sends body, marshaled unless it is nil, and returns the answer of at
// most maxAnswer bytes. An answer other than 2xx is a *statusError.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("elasticsearch: encode the body of %s %s: %w", method, path, err)
		}
	}
	return c.send(ctx, method, path, query, raw, http.Header{"Content-Type": {"application/json"}})
}

// send is call for a body that is encoded already.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body []byte, header http.Header) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target := path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %s %s: %w", method, path, err)
	}
	if len(body) > 0 {
		req.Header = header
	}
	what := method + " " + path
	resp, err := c.base.Perform(req)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: %s: %w", what, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, newStatusError(resp, what)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("elasticsearch: read the answer of %s: %w", what, err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes for %s", errAnswerTooLarge, maxAnswer, what)
	}
	return answer, nil
}

func newStatusError(resp *http.Response, what string) error {
	// What cannot be read of the answer matters only for the message.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	excerpt := bytes.TrimSpace(body)
	excerpt = excerpt[:min(len(excerpt), maxExcerpt)]
	return &statusError{
		status: resp.StatusCode, what: what, excerpt: string(excerpt),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// parseRetryAfter reads the header of that name: seconds or a date.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(text); err == nil && s > 0 {
		return min(time.Duration(s), maxRetryAfter/time.Second) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, min(t.Sub(now), maxRetryAfter))
	}
	return 0
}

// withoutURL removes the URL from an error of net/http: it says no more than
// the method and path that the caller adds.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// close ends idle connections.
func (c *client) close() { _ = c.base.Close(context.Background()) }
