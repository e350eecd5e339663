package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestRefusals(t *testing.T) {
	const (
		sendToken = `send "Authorization: Bearer TOKEN" with a token of the server's --auth-token-file`
		sendCert  = "present a client certificate of an authority in the server's --tls-client-ca-file"
	)
	stranger := newAuthority(t)
	none := []tls.Certificate(nil)
	foreign := []tls.Certificate{stranger.certificate(t)}
	for name, c := range map[string]struct {
		configure func(*rig, *Options)
		certs     []tls.Certificate // own: the rig's
		own       bool
		header    string
		reason    string // nothing: let in
		challenge string
		body      string
	}{
		"first token":              {configure: withToken, header: "Bearer s3cret-one"},
		"second token":             {configure: withToken, header: "bearer  s3cret-two"},
		"no token":                 {withToken, none, false, "", reasonMissing, `Bearer realm="binnacle"`, "there is no credential; " + sendToken},
		"wrong token":              {withToken, none, false, "Bearer s3cret-on", reasonToken, `Bearer realm="binnacle", error="invalid_token"`, "the token is not known here; " + sendToken},
		"empty token":              {withToken, none, false, "Bearer ", reasonToken, `Bearer realm="binnacle", error="invalid_token"`, sendToken},
		"name of a token":          {withToken, none, false, "Bearer agent", reasonToken, `Bearer realm="binnacle", error="invalid_token"`, sendToken},
		"basic":                    {withToken, none, false, "Basic s3cret-one", reasonScheme, `Bearer realm="binnacle"`, "not a bearer token; " + sendToken},
		"certificate for a token":  {withToken, none, true, "", reasonMissing, `Bearer realm="binnacle"`, sendToken},
		"certificate":              {configure: withCA, own: true},
		"no certificate":           {withCA, none, false, "", reasonMissing, `ClientCertificate realm="binnacle"`, "there is no credential; " + sendCert},
		"foreign certificate":      {withCA, foreign, false, "", reasonCertificate, `ClientCertificate realm="binnacle"`, "the client certificate is not trusted here; " + sendCert},
		"token for a certificate":  {withCA, none, false, "Bearer s3cret-one", reasonMissing, `ClientCertificate realm="binnacle"`, sendCert},
		"either: certificate":      {configure: withEither, own: true},
		"either: token":            {configure: withEither, header: "Bearer s3cret-one"},
		"either: foreign, token":   {configure: withEither, certs: foreign, header: "Bearer s3cret-one"},
		"either: certificate, bad": {configure: withEither, own: true, header: "Bearer nonsense"},
		"either: nothing":          {withEither, none, false, "", reasonMissing, `Bearer realm="binnacle"`, sendToken + ", or " + sendCert},
		"loopback with token":      {configure: func(r *rig, o *Options) { o.TokenFile = r.file("token") }, header: "Bearer s3cret-one"},
		"loopback without token":   {func(r *rig, o *Options) { o.TokenFile = r.file("token") }, none, false, "", reasonMissing, `Bearer realm="binnacle"`, sendToken},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, hello, c.configure)
			if c.own {
				c.certs = []tls.Certificate{r.ca.certificate(t)}
			}
			client := r.client(t, c.certs...)
			set := func(req *http.Request) {
				if c.header != "" {
					req.Header.Set("Authorization", c.header)
				}
			}
			for _, path := range []string{"/-/healthy", "/-/ready"} {
				require.Equal(t, http.StatusOK, r.get(t, client, path, set).StatusCode, "probes need no credential")
			}
			got := r.get(t, client, "/", set)
			if c.reason == "" {
				require.Equal(t, http.StatusOK, got.StatusCode, got.body)
				require.Contains(t, got.body, "hello")
				return
			}
			require.Equal(t, http.StatusUnauthorized, got.StatusCode)
			require.Equal(t, c.challenge, got.Header.Get("WWW-Authenticate"))
			require.Contains(t, got.body, "unauthorized: ")
			require.Contains(t, got.body, c.body)
			require.NotContains(t, got.body, "s3cret")
			require.Equal(t, http.StatusUnauthorized, r.get(t, client, "/-/healthy/../x", set).StatusCode)
			require.InDelta(t, 2, testutil.ToFloat64(r.metrics.authFailures.WithLabelValues(c.reason)), 0)
		})
	}
}

func TestProtocols(t *testing.T) {
	r := start(t, hello, withToken)
	token := authorization("Bearer s3cret-one")
	require.Equal(t, "hello over HTTP/2.0", r.get(t, r.client(t), "/", token).body)
	one := r.client(t)
	one.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	require.Equal(t, "hello over HTTP/1.1", r.get(t, one, "/", token).body)

	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	d := tls.Dialer{Config: old}
	_, err := d.DialContext(t.Context(), "tcp", r.Addr().String())
	require.ErrorContains(t, err, "protocol version")
}

func TestLoopbackAnswersToItsOwnNamesOnly(t *testing.T) {
	r := start(t, hello, func(_ *rig, o *Options) { o.AllowedHosts = []string{"node-1"} })
	client := r.client(t)
	for host, want := range map[string]int{
		"127.0.0.1:7070": 200, "127.9.9.9": 200, "localhost:1": 200, "LOCALHOST": 200, "[::1]:7070": 200, "[::1]": 200, "node-1:7070": 200, "NODE-1": 200,
		"evil.example:7070": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403, "10.0.0.1:7070": 403, "node-1.evil.example": 403,
	} {
		got := r.get(t, client, "/", func(req *http.Request) { req.Host = host })
		require.Equal(t, want, got.StatusCode, host)
		if want == 403 {
			require.Contains(t, got.body, hostname(host))
			require.Contains(t, got.body, "--auth-token-file")
		}
		require.Equal(t, 200, r.get(t, client, "/-/ready", func(req *http.Request) { req.Host = host }).StatusCode)
	}
	require.InDelta(t, 5, testutil.ToFloat64(r.metrics.authFailures.WithLabelValues(reasonHost)), 0)

	crossSite := func(req *http.Request) { req.Method = http.MethodPost; req.Header.Set("Sec-Fetch-Site", "cross-site") }
	require.Equal(t, 403, r.get(t, client, "/", crossSite).StatusCode)
	require.Equal(t, 200, r.get(t, client, "/", func(req *http.Request) { req.Method = http.MethodPost }).StatusCode)

	with := start(t, hello, withToken)
	foreign := func(req *http.Request) {
		req.Host = "evil.example"
		req.Header.Set("Authorization", "Bearer s3cret-one")
	}
	require.Equal(t, 200, with.get(t, with.client(t), "/", foreign).StatusCode, "a credential is what no foreign page has")
}

func TestNewNamesTheFileThatIsWrong(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	cert, key := ca.pair(t, 1)
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	_, otherKey := ca.pair(t, 2)
	c, k, bad, missing := file("c", cert), file("k", key), file("bad", []byte("x y")), filepath.Join(dir, "missing")
	for want, o := range map[string]Options{
		"--tls-cert-file: open " + missing:                {CertFile: missing, KeyFile: k},
		"--tls-key-file: open " + missing:                 {CertFile: c, KeyFile: missing},
		"private key does not match":                      {CertFile: c, KeyFile: file("ok", otherKey)},
		"--tls-client-ca-file " + bad:                     {CertFile: c, KeyFile: k, ClientCAFile: bad},
		"--auth-token-file " + bad + ": line 1":           {TokenFile: bad},
		"--auth-token-file: open " + missing:              {TokenFile: missing},
		"--auth-token-file: " + filepath.Join(dir, "big"): {TokenFile: file("big", make([]byte, maxFile+1))},
	} {
		o.Address = "127.0.0.1:0"
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	r := start(t, hello, func(_ *rig, o *Options) { o.MaxConnections = 2 })
	var d net.Dialer
	dial := func() net.Conn {
		c, err := d.DialContext(t.Context(), "tcp", r.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	a, _ := dial(), dial()
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.metrics.connections) == 2 }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.metrics.limited) == 1 }, patience, time.Millisecond)
	waiting := dial() // into the kernel's queue
	_, err := fmt.Fprint(waiting, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	require.InDelta(t, 2, testutil.ToFloat64(r.metrics.accepted), 0)
	require.NoError(t, a.Close())
	buf := make([]byte, 15)
	_, err = io.ReadFull(waiting, buf)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK", string(buf))
	require.InDelta(t, 3, testutil.ToFloat64(r.metrics.accepted), 0)
}

func TestHeadersAreBounded(t *testing.T) {
	reached := make(chan struct{}, 1)
	r := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }), plain)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr().String(), nil)
	require.NoError(t, err)
	req.Header.Set("X", strings.Repeat("x", 2*maxHeaderBytes))
	resp, err := r.client(t).Do(req)
	if err == nil { // else the answer was overtaken by the end of the connection
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
	require.Empty(t, reached)
}

// TestRefusedBodyIsNotWaitedFor sends a body that never ends.
func TestRefusedBodyIsNotWaitedFor(t *testing.T) {
	r := start(t, hello, func(r *rig, o *Options) { o.TokenFile = r.file("token") })
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", r.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	b, err := io.ReadAll(c)
	require.NoError(t, err, "the server closes")
	require.Contains(t, string(b), "401 Unauthorized")
}

func TestBodyTimeLimitEndsWithTheBody(t *testing.T) {
	var deadlines []time.Time
	w := &deadlineWriter{ResponseWriter: nil, set: func(at time.Time) { deadlines = append(deadlines, at) }}
	h := limitBody(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.Len(t, deadlines, 1)
		require.False(t, deadlines[0].IsZero())
		_, err := io.ReadAll(r.Body)
		require.NoError(t, err)
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("body"))
	require.NoError(t, err)
	h.ServeHTTP(w, req)
	require.Len(t, deadlines, 2)
	require.True(t, deadlines[1].IsZero(), "a long answer is not cut off")
	req.Body = http.NoBody
	limitBody(hello).ServeHTTP(discard{w}, req)
	require.Len(t, deadlines, 2)
}

type deadlineWriter struct {
	http.ResponseWriter
	set func(time.Time)
}

func (w *deadlineWriter) SetReadDeadline(at time.Time) error { w.set(at); return nil }

type discard struct{ *deadlineWriter }

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		finish bool // the request under way comes to an end in time
	}{"finished": {true}, "cut off": {false}} {
		t.Run(name, func(t *testing.T) {
			l, err := New(Options{Address: "127.0.0.1:0"})
			require.NoError(t, err)
			if !c.finish {
				l.stopAfter = time.Millisecond
			}
			entered, finish, aborted := make(chan struct{}), make(chan struct{}), make(chan struct{})
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				select {
				case <-finish:
					fmt.Fprint(w, "finished")
				case <-r.Context().Done():
					close(aborted)
				}
			})
			ctx, cancel := context.WithCancel(context.Background())
			served, answered := make(chan error, 1), make(chan string, 1)
			go func() { served <- l.Serve(ctx, h) }()
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			go func() {
				req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+l.Addr().String(), nil)
				resp, err := (&http.Client{Transport: tr}).Do(req)
				if err != nil {
					answered <- ""
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				answered <- string(b)
			}()
			<-entered
			cancel()
			if c.finish {
				select {
				case err := <-served:
					t.Fatal("a request was under way", err)
				case <-time.After(20 * time.Millisecond):
				}
				close(finish)
				require.Equal(t, "finished", <-answered)
			} else {
				<-aborted
				require.Empty(t, <-answered)
			}
			require.NoError(t, <-served)
		})
	}
}

func TestServeReportsAClosedSocket(t *testing.T) {
	l, err := New(Options{Address: "127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorContains(t, l.Serve(t.Context(), hello), "serve on 127.0.0.1:0")
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	address := "unix:" + path
	l, err := New(Options{Address: address})
	require.NoError(t, err)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	_, err = New(Options{Address: address})
	require.ErrorContains(t, err, "another process serves there")

	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx, hello) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://any.name/", nil)
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: tr}).Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode, "who may open the file may ask for any name")
	tr.CloseIdleConnections()
	cancel()
	require.NoError(t, <-served)

	// A process that was killed leaves its socket behind.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	l, err = New(Options{Address: address})
	require.NoError(t, err)
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = New(Options{Address: address})
	require.ErrorContains(t, err, "not a socket")
}

func TestLimitedCloseEndsAccept(t *testing.T) {
	var lc net.ListenConfig
	inner, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := newLimited(inner, 1, newMetrics(nil))
	l.slots <- struct{}{}
	done := make(chan error, 1)
	go func() { _, err := l.Accept(); done <- err }()
	require.Eventually(t, func() bool { return testutil.ToFloat64(l.metrics.limited) == 1 }, patience, time.Millisecond)
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-done, net.ErrClosed)
}
