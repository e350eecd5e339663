package listen

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestReload(t *testing.T) {
	r := start(t, hello, withEither)
	serial := func() int64 {
		resp := r.get(t, r.client(t), "/-/ready")
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	status := func(token string, certs ...tls.Certificate) int {
		return r.get(t, r.client(t, certs...), "/", authorization("Bearer "+token)).StatusCode
	}
	errorsOf := func(file string) float64 { return testutil.ToFloat64(r.metrics.reloadErrors.WithLabelValues(file)) }
	eventually := func(what string, ok func() bool) {
		t.Helper()
		require.Eventually(t, ok, patience, 5*time.Millisecond, what)
	}
	require.EqualValues(t, 1, serial())

	cert, key := r.ca.pair(t, 2)
	r.put(t, "cert", cert)
	eventually("a certificate without its key is no use", func() bool { return errorsOf("certificate") > 0 })
	require.EqualValues(t, 1, serial())
	require.Contains(t, r.logs.String(), "--tls-cert-file")
	r.put(t, "key", key)
	eventually("the new certificate", func() bool { return serial() == 2 })

	r.put(t, "token", []byte("s3cret-three\n"))
	eventually("the new token", func() bool { return status("s3cret-three") == 200 })
	require.Equal(t, 401, status("s3cret-one"))
	r.put(t, "token", nil)
	eventually("an empty file is no use", func() bool { return errorsOf("token") > 0 })
	require.NoError(t, os.Remove(r.file("token")))
	before := errorsOf("token")
	eventually("nor is a missing one", func() bool { return errorsOf("token") > before+1 })
	require.Equal(t, 200, status("s3cret-three"), "the old one stays in force")
	require.LessOrEqual(t, strings.Count(r.logs.String(), "stays in force"), 5, "each error is logged once")

	// A connection that was let in by a certificate is asked again.
	kept := r.client(t, r.ca.certificate(t))
	require.Equal(t, 200, r.get(t, kept, "/").StatusCode)
	other := newAuthority(t)
	r.put(t, "ca", []byte("nonsense"))
	eventually("not PEM", func() bool { return errorsOf("client_ca") > 0 })
	require.Equal(t, 200, r.get(t, kept, "/").StatusCode)
	r.put(t, "ca", other.pem)
	eventually("the new authority", func() bool { return status("none", other.certificate(t)) == 200 })
	require.Equal(t, 401, r.get(t, kept, "/").StatusCode)
}

// TestReloadOfSwappedSymlinks changes files as kubelet does for a Secret.
func TestReloadOfSwappedSymlinks(t *testing.T) {
	var write func(version string, token string)
	r := start(t, hello, func(r *rig, o *Options) {
		write = func(version, token string) {
			require.NoError(t, os.Mkdir(r.file(version), 0o700))
			r.put(t, filepath.Join(version, "token"), []byte(token))
			require.NoError(t, os.Symlink(version, r.file("..tmp")))
			require.NoError(t, os.Rename(r.file("..tmp"), r.file("..data")))
		}
		write("v1", "s3cret-v1")
		require.NoError(t, os.Remove(r.file("token")))
		require.NoError(t, os.Symlink("..data/token", r.file("token")))
		o.TokenFile = r.file("token")
	})
	try := func(token string) int { return r.get(t, r.client(t), "/", authorization("Bearer "+token)).StatusCode }
	require.Equal(t, 200, try("s3cret-v1"))
	write("v2", "s3cret-v2")
	require.Eventually(t, func() bool { return try("s3cret-v2") == 200 }, patience, 5*time.Millisecond)
	require.Equal(t, 401, try("s3cret-v1"))
}

func TestHandshakesCheckTheFilesOnceInAWhile(t *testing.T) {
	r := start(t, hello, withToken)
	s, err := openSecrets(r.opts, newMetrics(nil))
	require.NoError(t, err)
	change := func(serial int64) {
		cert, key := r.ca.pair(t, serial)
		r.put(t, "cert", cert)
		r.put(t, "key", key)
	}
	first := s.certificate.Load()
	change(7)
	s.checkSoon()
	second := s.certificate.Load()
	require.NotEqual(t, first.Certificate, second.Certificate)
	change(8)
	s.checked = time.Now().Add(time.Minute)
	s.checkSoon()
	require.Equal(t, second.Certificate, s.certificate.Load().Certificate)
}
