package listen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.key, a.cert, a.pem = issue(t, nil, "authority", 1)
	return a
}

func issue(t *testing.T, by *authority, name string, serial int64) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := template, key
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage, template.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pair returns a certificate and its key as PEM.
func (a *authority) pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, _, cert := issue(t, a, "binnacle", serial)
	der, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (a *authority) certificate(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(a.pair(t, 99))
	require.NoError(t, err)
	return c
}

// logs collects log lines.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// rig is a Listener that serves, with its files.
type rig struct {
	*Listener
	dir  string
	ca   *authority
	logs *logs
}

func (r *rig) file(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) put(t *testing.T, name string, b []byte) {
	t.Helper()
	tmp := r.file(name + ".new") // the server reads at any time
	require.NoError(t, os.WriteFile(tmp, b, 0o600))
	require.NoError(t, os.Rename(tmp, r.file(name)))
}

// start serves h with what configure makes of a fresh folder of files.
func start(t *testing.T, h http.Handler, configure func(r *rig, o *Options)) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), ca: newAuthority(t), logs: &logs{}}
	cert, key := r.ca.pair(t, 1)
	r.put(t, "cert", cert)
	r.put(t, "key", key)
	r.put(t, "ca", r.ca.pem)
	r.put(t, "token", []byte("# agents\nagent: s3cret-one\ns3cret-two\n"))
	o := Options{
		Address: "127.0.0.1:0", Registerer: prometheus.NewPedanticRegistry(),
		Logger: slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	configure(r, &o)
	var err error
	r.Listener, err = New(o)
	require.NoError(t, err)
	r.reloadEvery = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Error("Serve did not end")
		}
		require.NotContains(t, r.logs.String(), "s3cret")
	})
	return r
}

func withTLS(r *rig, o *Options)    { o.CertFile, o.KeyFile = r.file("cert"), r.file("key") }
func withToken(r *rig, o *Options)  { withTLS(r, o); o.TokenFile = r.file("token") }
func withCA(r *rig, o *Options)     { withTLS(r, o); o.ClientCAFile = r.file("ca") }
func withEither(r *rig, o *Options) { withToken(r, o); withCA(r, o) }
func plain(*rig, *Options)          {}

// client trusts the rig's authority and makes one connection for a request.
func (r *rig) client(t *testing.T, certs ...tls.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(r.ca.cert)
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

type answer struct {
	*http.Response
	body string
}

func (r *rig) get(t *testing.T, c *http.Client, path string, edit ...func(*http.Request)) answer {
	t.Helper()
	scheme := "http"
	if r.opts.tls() {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+r.Addr().String()+path, nil)
	require.NoError(t, err)
	for _, e := range edit {
		e(req)
	}
	resp, err := c.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp, string(b)}
}

func authorization(v string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", v) }
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello over ", r.Proto) })
