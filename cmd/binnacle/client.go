package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/spf13/pflag"
)

// clientSettings are the flags that all client commands share. Each has an
// environment variable of its name, such as BINNACLE_ADDR.
type clientSettings struct {
	addr      string
	tokenFile string
	caFile    string
	certFile  string
	keyFile   string
	quiet     bool
	color     string
}

// define adds the flags of the connection to a server.
func (s *clientSettings) define(flags *pflag.FlagSet) {
	s.addr = "http://127.0.0.1:7070"
	b := flagBlock{flags, "Connection"}
	b.add(textValue(&s.addr, kindURL), "addr", "server to ask")
	b.add(textValue(&s.tokenFile, kindFile), "token-file", "file with the bearer token to send")
	b.add(textValue(&s.caFile, kindFile), "ca-file", "PEM authorities to verify the server with, instead of the system's")
	b.add(textValue(&s.certFile, kindFile), "cert-file", "PEM client certificate")
	b.add(textValue(&s.keyFile, kindFile), "key-file", "PEM key of the client certificate")
	b.addShort(boolValue(&s.quiet), "quiet", "q", "print nothing but results and errors")
}

// client asks a server by the Prometheus API and keeps what the API's types
// leave out: the document as sent, and the status.
type client struct {
	promv1.API
	recorder *recorder
	p        *process
	settings clientSettings
}

// newClient builds a client from the flags.
func newClient(p *process, s clientSettings) (*client, error) {
	transport, err := s.transport()
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(api.Config{Address: s.addr, RoundTripper: transport})
	if err != nil {
		return nil, usagef("flag --addr: %w", err)
	}
	r := &recorder{Client: c}
	return &client{API: promv1.NewAPI(r), recorder: r, p: p, settings: s}, nil
}

// transport sets up TLS and the bearer token.
func (s *clientSettings) transport() (http.RoundTripper, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		pem, err := os.ReadFile(s.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s holds no PEM certificate", s.caFile)
		}
	}
	if (s.certFile == "") != (s.keyFile == "") {
		return nil, usagef("--cert-file and --key-file need each other")
	}
	if s.certFile != "" {
		pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     config,
		ForceAttemptHTTP2:   true,
	}
	if s.tokenFile == "" {
		return transport, nil
	}
	token, err := readToken(s.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return &bearer{token: token, next: transport}, nil
}

// readToken reads a file that holds nothing but a token.
func readToken(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	if token == "" {
		return "", fmt.Errorf("%s is empty: want a token", file)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: want one token on one line and nothing else; comments and several tokens belong in the file of --auth-token-file", file)
	}
	return token, nil
}

// bearer adds a token to every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// recorder keeps the last response. It is not for concurrent use.
type recorder struct {
	api.Client
	status int
	body   []byte
}

// Do sends a request and remembers what came back.
func (r *recorder) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	r.status, r.body = 0, nil
	resp, body, err := r.Client.Do(ctx, req)
	if resp != nil {
		r.status, r.body = resp.StatusCode, body
	}
	return resp, body, err
}

// finish turns the outcome of the last request into the error to end with,
// and prints the warnings and infos that came with it.
func (c *client) finish(err error) error {
	if err != nil {
		return c.explain(err)
	}
	var notes struct{ Warnings, Infos []string }
	if err := json.Unmarshal(c.recorder.body, &notes); err != nil {
		return fmt.Errorf("%s does not answer as the Prometheus API does: %w", c.settings.addr, err)
	}
	for _, w := range notes.Warnings {
		c.note("warning: %s", w)
	}
	for _, i := range notes.Infos {
		c.note("info: %s", i)
	}
	return nil
}

// note prints a remark for people to stderr, unless they asked for quiet.
func (c *client) note(format string, args ...any) {
	if !c.settings.quiet {
		_, _ = fmt.Fprintf(c.p.stderr, format+"\n", args...)
	}
}

// explain says what failed and what to do about it.
func (c *client) explain(err error) error {
	addr, status := c.settings.addr, c.recorder.status
	var answer *promv1.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case status == http.StatusUnauthorized:
		return &codedError{exitForbidden, fmt.Errorf("%s asks for a credential (401): give --token-file, or --cert-file and --key-file", addr)}
	case status == http.StatusForbidden:
		return &codedError{exitForbidden, fmt.Errorf("%s forbids this (403): %s", addr, oneLine(c.recorder.body))}
	case status == http.StatusNotFound:
		return fmt.Errorf("%s has no such API (404): check host, port and path of --addr", addr)
	case strings.Contains(string(c.recorder.body), "HTTP request to an HTTPS server"):
		return fmt.Errorf("%s speaks HTTPS: give --addr %s", addr, "https://"+strings.TrimPrefix(addr, "http://"))
	case errors.As(err, &answer) && answer.Type == promv1.ErrBadResponse:
		return fmt.Errorf("%s does not answer as the Prometheus API does: %s", addr, answer.Msg)
	case errors.As(err, &answer) && answer.Detail != "":
		return fmt.Errorf("%s: %s: %s", addr, answer.Msg, oneLine([]byte(answer.Detail)))
	case errors.As(err, &answer):
		return errors.New(answer.Msg)
	case status == http.StatusOK:
		return errors.New("the result is of a type that only -o json can print")
	}
	return explainConnection(addr, err)
}

// explainConnection says why no answer came.
func explainConnection(addr string, err error) error {
	var dns *net.DNSError
	var unknownCA x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is \"binnacle run\" (or \"binnacle server\") started? Another server is named by --addr or BINNACLE_ADDR", addr)
	case errors.As(err, &dns):
		return fmt.Errorf("the host of %s is not known (%s): check --addr", addr, dns.Err)
	case errors.As(err, &unknownCA):
		return fmt.Errorf("the certificate of %s is signed by an unknown authority: give its certificate with --ca-file", addr)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s does not speak HTTPS: give --addr %s", addr, "http://"+strings.TrimPrefix(addr, "https://"))
	default:
		return fmt.Errorf("no answer from %s: %w", addr, err)
	}
}

// oneLine shortens the body of an error response for a message.
func oneLine(body []byte) string {
	const most = 300
	var document struct{ Error string }
	text := string(body)
	if json.Unmarshal(body, &document) == nil && document.Error != "" {
		text = document.Error
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
