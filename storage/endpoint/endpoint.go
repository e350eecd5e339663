// Package endpoint posts request bodies to one HTTP receiver: its address,
// credentials that may change, TLS, and what its answers say. What a body means
// is its users' affair.
package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
)

const (
	defaultTimeout = 30 * time.Second
	// MaxRetryAfter bounds what a receiver can ask for.
	MaxRetryAfter = 10 * time.Minute
	// maxBody bounds what is kept of an answer, maxExcerpt what of that is for
	// the log.
	maxBody    = 4 << 10
	maxExcerpt = 512
	// maxDrain bounds what is read of an answer to use the connection again.
	maxDrain = 64 << 10
)

// reservedHeaders are set by the protocol and by the credentials.
var reservedHeaders = []string{
	"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Retry-Attempt",
	"Transfer-Encoding", "User-Agent", "X-Prometheus-Remote-Write-Version",
}

// Options say how to reach a receiver.
type Options struct {
	// URL is the complete http or https address. It must not hold a user or
	// password.
	URL string
	// TokenFile holds a bearer token; it is read again for every request.
	TokenFile string
	// CAFile holds the certificates (PEM) to trust instead of the system's.
	// Changes of this and the next two files are picked up.
	CAFile string
	// CertFile and KeyFile are the client certificate and its key (PEM).
	CertFile string
	KeyFile  string
	// Headers are added to every request. Their values are treated as secrets.
	Headers map[string]string
	// Timeout of one request; 0 means 30 seconds.
	Timeout time.Duration
}

// Client sends request bodies to one receiver. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	url     string
	name    string // of the endpoint, without secrets
	agent   string // User-Agent
	headers map[string]string
	timeout time.Duration
}

// Reply is the answer of a receiver, whatever its status.
type Reply struct {
	Status int
	Header http.Header
	// RetryAfter is how long the receiver asks to wait, at most MaxRetryAfter.
	RetryAfter time.Duration
	// Body is the beginning of the answer.
	Body []byte
	// Target is that of a redirection, without what may be secret.
	Target string
}

// Excerpt is the beginning of the answer, for a log.
func (r *Reply) Excerpt() string {
	return string(bytes.TrimSpace(r.Body[:min(len(r.Body), maxExcerpt)]))
}

// New checks the options; example is a URL to show to who has given a wrong
// one. Its errors hold no secrets.
func New(e Options, example string) (*Client, error) {
	name, err := nameOf(e.URL, example)
	if err != nil {
		return nil, err
	}
	for h := range e.Headers {
		if slices.Contains(reservedHeaders, textproto.CanonicalMIMEHeaderKey(h)) {
			return nil, fmt.Errorf("endpoint %s: header %s cannot be set", name, h)
		}
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		return nil, fmt.Errorf("endpoint %s: a client certificate needs both a certificate file and a key file", name)
	}
	conf := config.HTTPClientConfig{
		// Redirections are refused: the body and credentials are meant for
		// the configured address only.
		FollowRedirects: false,
		EnableHTTP2:     true,
		TLSConfig:       config.TLSConfig{CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile},
		ProxyConfig:     config.ProxyConfig{ProxyFromEnvironment: true},
	}
	if e.TokenFile != "" {
		conf.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: e.TokenFile}
	}
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", name, err)
	}
	c := &Client{url: e.URL, name: name, agent: userAgent(), headers: e.Headers, timeout: e.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.http, err = config.NewClientFromConfig(conf, "binnacle"); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", name, err)
	}
	return c, nil
}

// nameOf is the URL without what may be secret.
func nameOf(raw, example string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse quotes the URL.
		return "", fmt.Errorf("the URL of an endpoint cannot be parsed; it should look like %s", example)
	}
	if u.User != nil {
		return "", fmt.Errorf("endpoint %s: the URL must not hold a user or password; use a token file", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
	}
	name := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("endpoint %q: the URL should look like %s", name, example)
	}
	return name, nil
}

// URL is the complete address, which may hold secrets.
func (c *Client) URL() string { return c.url }

// Name is the address without what may be secret.
func (c *Client) Name() string { return c.name }

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Post sends one body with a header. The error is that of the network or of
// reading the credentials, without secrets; every HTTP answer is a Reply.
func (c *Client) Post(ctx context.Context, body []byte, header map[string]string) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Reply{}, withoutURL(err)
	}
	for k, v := range c.headers {
		req.Header.Set(k, v)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{}, withoutURL(err)
	}
	defer resp.Body.Close()
	r := readReply(resp)
	if req.URL.Scheme == "http" && r.Status == http.StatusBadRequest && strings.Contains(r.Excerpt(), "HTTPS") {
		// The answer of a TLS port, of Go's and nginx' servers for example: not
		// the body is bad.
		return Reply{}, errSpeaksHTTPS
	}
	return r, nil
}

var errSpeaksHTTPS = errors.New("the receiver speaks HTTPS: use https:// in its URL")

func readReply(resp *http.Response) Reply {
	r := Reply{
		Status: resp.StatusCode, Header: resp.Header, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	// What cannot be read of the answer matters only for the log.
	r.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	if target, err := resp.Location(); err == nil {
		r.Target = (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}).String()
	}
	return r
}

// withoutURL removes the URL, whose query may hold secrets, from an error of
// net/http.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// retryAfter parses the header of that name: seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(text); err == nil && s > 0 {
		return min(time.Duration(s), MaxRetryAfter/time.Second) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, min(t.Sub(now), MaxRetryAfter))
	}
	return 0
}

// userAgent names the program and its version.
func userAgent() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "binnacle/" + info.Main.Version
	}
	return "binnacle"
}
