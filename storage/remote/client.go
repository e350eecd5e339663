package remote

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
	upstream "github.com/prometheus/prometheus/storage/remote"
)

const (
	defaultTimeout = 30 * time.Second
	// maxExcerpt bounds what is read of an answer for the log.
	maxExcerpt = 512
	// maxDrain bounds what is read of an answer to use the connection again.
	maxDrain = 64 << 10

	contentTypeV1 = "application/x-protobuf"
	contentTypeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

// reservedHeaders are set by the protocol and by the credentials.
var reservedHeaders = []string{
	"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Retry-Attempt",
	"Transfer-Encoding", "User-Agent", "X-Prometheus-Remote-Write-Version",
}

// Endpoint is one receiver of remote write.
type Endpoint struct {
	// URL is the complete http or https address, such as
	// https://server:7070/api/v1/write. It must not hold a user or password.
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

// client sends request bodies to one receiver.
type client struct {
	http    *http.Client
	url     string
	name    string // of the endpoint, without secrets
	agent   string // User-Agent
	headers map[string]string
	timeout time.Duration
}

// reply is the answer of a receiver.
type reply struct {
	status     int
	retryAfter time.Duration
	// written is what the receiver says it stored; it is confirmed if at least
	// one of the response headers of version 2.0 was there.
	written upstream.WriteResponseStats
	excerpt string
	target  string // of a redirection
}

// newClient checks the endpoint. Its errors hold no secrets.
func newClient(e Endpoint) (*client, error) {
	name, err := endpointName(e.URL)
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
	c := &client{url: e.URL, name: name, agent: userAgent(), headers: e.Headers, timeout: e.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.http, err = config.NewClientFromConfig(conf, "binnacle_remote"); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", name, err)
	}
	return c, nil
}

// endpointName is the URL without what may be secret.
func endpointName(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse quotes the URL.
		return "", errors.New("the URL of a remote write endpoint cannot be parsed; it should look like https://server:7070/api/v1/write")
	}
	if u.User != nil {
		return "", fmt.Errorf("endpoint %s: the URL must not hold a user or password; use a token file", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
	}
	name := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("endpoint %q: the URL should look like https://server:7070/api/v1/write", name)
	}
	return name, nil
}

// post sends one body. The error is that of the network or of reading the
// credentials; every HTTP answer is a reply.
func (c *client) post(ctx context.Context, body []byte, v2 bool, attempt int) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return reply{}, withoutURL(err)
	}
	for k, v := range c.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("User-Agent", c.agent)
	if v2 {
		req.Header.Set("Content-Type", contentTypeV2)
		req.Header.Set(upstream.RemoteWriteVersionHeader, upstream.RemoteWriteVersion20HeaderValue)
	} else {
		req.Header.Set("Content-Type", contentTypeV1)
		req.Header.Set(upstream.RemoteWriteVersionHeader, upstream.RemoteWriteVersion1HeaderValue)
	}
	if attempt > 0 {
		req.Header.Set("Retry-Attempt", strconv.Itoa(attempt))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, withoutURL(err)
	}
	defer resp.Body.Close()
	r := readReply(resp)
	if req.URL.Scheme == "http" && r.status == http.StatusBadRequest && strings.Contains(r.excerpt, "HTTPS") {
		// The answer of a TLS port, of Go's and nginx' servers for example: not
		// the samples are bad.
		return reply{}, errSpeaksHTTPS
	}
	return r, nil
}

var errSpeaksHTTPS = errors.New("the receiver speaks HTTPS: use https:// in its URL")

func readReply(resp *http.Response) reply {
	r := reply{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	// A header that is not a number counts as 0, like one that is missing.
	r.written, _ = upstream.ParseWriteResponseStats(resp)
	// What cannot be read of the answer matters only for the log.
	excerpt, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt))
	r.excerpt = string(bytes.TrimSpace(excerpt))
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	if target, err := resp.Location(); err == nil {
		r.target = (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}).String()
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
		return min(time.Duration(s), maxRetryAfter/time.Second) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, min(t.Sub(now), maxRetryAfter))
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
