package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Reasons for a refusal.
const (
	reasonMissing     = "missing"     // no credential at all
	reasonScheme      = "scheme"      // an Authorization that is no bearer token
	reasonToken       = "token"       // a bearer token that is not known
	reasonCertificate = "certificate" // a client certificate that is not trusted
	reasonHost        = "host"        // loopback under a foreign name
	reasonOrigin      = "origin"      // a page of another site asks for a change
)

// connectionKey is the key of a *connection in a request's context.
type connectionKey struct{}

// connection remembers which authorities its client certificate was checked
// against, so that this is done once and again after they change.
type connection struct{ trusted atomic.Pointer[x509.CertPool] }

func withConnection(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// protect puts the checks before h.
func (l *Listener) protect(h http.Handler) http.Handler {
	switch {
	case l.opts.credential():
		h = l.authenticate(h)
	case l.loopback && !strings.HasPrefix(l.opts.Address, unixPrefix):
		h = l.ownNames(h)
	}
	return limitBody(h)
}

// isProbe reports requests that need no credential: the probes of orchestrators
// have none.
func isProbe(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		(r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready")
}

// authenticate lets in requests with a token or a client certificate.
func (l *Listener) authenticate(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isProbe(r) {
			h.ServeHTTP(w, r)
			return
		}
		reason := l.refuse(r)
		if reason == "" {
			h.ServeHTTP(w, r)
			return
		}
		l.metrics.authFailures.WithLabelValues(reason).Inc()
		l.log.Debug("request without a valid credential", "reason", reason, "client", r.RemoteAddr, "path", r.URL.Path)
		w.Header().Set("WWW-Authenticate", l.challenge(reason))
		reject(w, r, http.StatusUnauthorized, "unauthorized: "+explain(reason)+"; "+l.advice())
	})
}

// refuse returns the reason not to let r in, or nothing.
func (l *Listener) refuse(r *http.Request) string {
	reason := reasonMissing
	if l.opts.ClientCAFile != "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if l.trusts(r) {
			return ""
		}
		reason = reasonCertificate
	}
	header := r.Header.Get("Authorization")
	if l.opts.TokenFile == "" || header == "" {
		return reason
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return reasonScheme
	}
	if !l.secrets.hasToken(strings.TrimSpace(token)) {
		return reasonToken
	}
	return ""
}

// trusts verifies the client certificate of r's connection; that the client
// has its key, the handshake has shown.
func (l *Listener) trusts(r *http.Request) bool {
	pool := l.secrets.clientCA.Load()
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	if c != nil && c.trusted.Load() == pool {
		return true
	}
	if err := verify(r.TLS, pool); err != nil {
		l.log.Debug("client certificate is not trusted", "client", r.RemoteAddr, "err", err)
		return false
	}
	if c != nil {
		c.trusted.Store(pool)
	}
	return true
}

func verify(state *tls.ConnectionState, roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func (l *Listener) challenge(reason string) string {
	switch {
	case l.opts.TokenFile == "":
		return `ClientCertificate realm="binnacle"`
	case reason == reasonToken:
		return `Bearer realm="binnacle", error="invalid_token"`
	}
	return `Bearer realm="binnacle"`
}

func explain(reason string) string {
	switch reason {
	case reasonScheme:
		return "the Authorization header is not a bearer token"
	case reasonToken:
		return "the token is not known here"
	case reasonCertificate:
		return "the client certificate is not trusted here"
	}
	return "there is no credential"
}

// advice says what this listener takes.
func (l *Listener) advice() string {
	var ways []string
	if l.opts.TokenFile != "" {
		ways = append(ways, `send "Authorization: Bearer TOKEN" with a token of the server's `+flagToken)
	}
	if l.opts.ClientCAFile != "" {
		ways = append(ways, "present a client certificate of an authority in the server's "+flagClientCA)
	}
	return strings.Join(ways, ", or ")
}

// ownNames guards loopback without a credential from web pages that the user
// has open: one may give its own name the address 127.0.0.1 (DNS rebinding),
// or send forms here.
func (l *Listener) ownNames(h http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		named := loopbackHost(host) || slices.ContainsFunc(l.opts.AllowedHosts, func(name string) bool { return strings.EqualFold(name, host) })
		switch {
		case isProbe(r):
		case !named:
			l.metrics.authFailures.WithLabelValues(reasonHost).Inc()
			reject(w, r, http.StatusForbidden, fmt.Sprintf(
				"forbidden: this address is served to the local machine only, as localhost, 127.0.0.1 or [::1], not as %q; to serve other names, give %s and %s, and %s or %s",
				host, flagCert, flagKey, flagToken, flagClientCA))
			return
		case sameOrigin.Check(r) != nil:
			l.metrics.authFailures.WithLabelValues(reasonOrigin).Inc()
			reject(w, r, http.StatusForbidden, "forbidden: a page of another site may not make changes here")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostname takes the port and the brackets off a Host header.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

// reject answers a request that nobody has looked at. A body that is still
// coming is not waited for: the connection ends with it.
func reject(w http.ResponseWriter, r *http.Request, status int, text string) {
	if r.ProtoMajor == 1 && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTimeout))
		w.Header().Set("Connection", "close")
	}
	http.Error(w, text, status)
}

// limitBody bounds the time in which the body of a request must have come.
func limitBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			c := http.NewResponseController(w)
			if err := c.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
				r.Body = &timedBody{ReadCloser: r.Body, control: c}
			}
		}
		h.ServeHTTP(w, r)
	})
}

// timedBody lifts the time limit at the end of the body: the connection is
// read on, to notice a client that leaves before a long answer.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
