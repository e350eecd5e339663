package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func writeFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// clientCertificate writes a new self-signed certificate and its key.
func clientCertificate(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certFile = writeFile(t, filepath.Join(dir, "client.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyFile = writeFile(t, filepath.Join(dir, "client.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	return certFile, keyFile
}

func TestCredentialsAreReadAgain(t *testing.T) {
	r := &receiver{points: map[string][]storagetest.Point{}}
	names := make(chan string, 10)
	r.Server = httptest.NewUnstartedServer(r)
	r.TLS = &tls.Config{
		ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(c tls.ConnectionState) error {
			names <- c.PeerCertificates[0].Subject.CommonName
			return nil
		},
	}
	r.StartTLS()
	t.Cleanup(r.Close)

	dir := t.TempDir()
	ca := writeFile(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
	cert, key := clientCertificate(t, dir, "first")
	token := writeFile(t, filepath.Join(dir, "token"), []byte("hunter2\n"))
	f := openQueue(t, Options{Endpoints: []Endpoint{{
		URL: r.URL, TokenFile: token, CAFile: ca, CertFile: cert, KeyFile: key, Headers: map[string]string{"X-Scope-OrgID": "tenant"},
	}}})
	f.start(t)
	f.append(t, 1, 1, 1)
	eventually(t, r.has(1, 1), f.log)
	require.Equal(t, "Bearer hunter2", r.headers[0].Get("Authorization"))
	require.Equal(t, "tenant", r.headers[0].Get("X-Scope-OrgID"))
	require.Equal(t, "first", <-names)

	writeFile(t, token, []byte("hunter3"))
	clientCertificate(t, dir, "second")
	f.append(t, 1, 2, 2)
	eventually(t, r.has(1, 1, 2), f.log)
	require.Equal(t, "Bearer hunter3", r.headers[1].Get("Authorization"))
	require.Equal(t, "second", <-names)

	// Without the token nothing is sent, and nothing is lost.
	require.NoError(t, os.Remove(token))
	f.append(t, 1, 3, 3)
	eventually(t, func() bool { return f.value(t, "retried_samples_total", "reason", "network") > 0 })
	writeFile(t, token, []byte("hunter4"))
	eventually(t, r.has(1, 1, 2, 3), f.log)
	require.NotContains(t, f.log.String(), "hunter")
}

func TestUntrustedServerIsRefused(t *testing.T) {
	r := &receiver{points: map[string][]storagetest.Point{}}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
	f.start(t)
	f.append(t, 1, 1, 1)
	eventually(t, func() bool { return f.value(t, "retried_samples_total", "reason", "network") > 0 })
	requests, _, _ := r.count()
	require.Zero(t, requests)
	require.Contains(t, f.log.String(), "certificate")
}
