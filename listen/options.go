// Package listen opens the one socket that a process serves on. Loopback
// needs nothing; any other address needs TLS and a credential, or an explicit
// wish to go without. It does not know what is served.
package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// The flags that the errors of this package name.
const (
	flagCert     = "--tls-cert-file"
	flagKey      = "--tls-key-file"
	flagClientCA = "--tls-client-ca-file"
	flagToken    = "--auth-token-file"
	flagInsecure = "--insecure"
)

const unixPrefix = "unix:"

// defaultMaxConnections leaves room below the usual limit of descriptors.
const defaultMaxConnections = 1024

// Options of a Listener.
type Options struct {
	// Address is host:port, or unix:/path/of/socket. Loopback is 127.0.0.0/8,
	// ::1, localhost and every Unix socket (which only its owner may open).
	Address string
	// CertFile and KeyFile make it TLS; PEM.
	CertFile, KeyFile string
	// ClientCAFile lets in clients with a certificate of these authorities; PEM.
	ClientCAFile string
	// TokenFile lets in clients with one of its bearer tokens: one a line,
	// with a name before it if wished ("name: token"); # begins a comment.
	TokenFile string
	// Insecure permits other addresses without TLS or credential. What is
	// configured is still asked for.
	Insecure bool
	// AllowedHosts are more names that requests to loopback may ask for when
	// no credential is configured, without port.
	AllowedHosts []string
	// MaxConnections bounds the open connections; default 1024. More wait
	// until one closes.
	MaxConnections int
	Logger         *slog.Logger
	// Registerer gets the metrics binnacle_http_*: one Listener for each.
	Registerer prometheus.Registerer
}

// Validate says whether the address may be served in this way, and if not,
// which flags to give. It looks at no file.
func (o Options) Validate() error {
	local, err := isLoopback(o.Address)
	if err != nil {
		return err
	}
	switch {
	case o.CertFile != "" && o.KeyFile == "":
		return fmt.Errorf("%s needs %s as well", flagCert, flagKey)
	case o.KeyFile != "" && o.CertFile == "":
		return fmt.Errorf("%s needs %s as well", flagKey, flagCert)
	case o.ClientCAFile != "" && !o.tls():
		return fmt.Errorf("%s needs TLS: give %s and %s as well", flagClientCA, flagCert, flagKey)
	case local || o.Insecure || (o.tls() && o.credential()):
		return nil
	}
	var missing []string
	if !o.tls() {
		missing = append(missing, fmt.Sprintf("%s and %s", flagCert, flagKey))
	}
	if !o.credential() {
		missing = append(missing, fmt.Sprintf("%s or %s", flagToken, flagClientCA))
	}
	return fmt.Errorf("listening on %s, which is not a loopback address, needs TLS and a credential: give %s (or %s to let everybody in)",
		o.Address, strings.Join(missing, ", and "), flagInsecure)
}

func (o Options) tls() bool        { return o.CertFile != "" && o.KeyFile != "" }
func (o Options) credential() bool { return o.TokenFile != "" || o.ClientCAFile != "" }

// isLoopback tells whether only this machine can reach address.
func isLoopback(address string) (bool, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if path == "" {
			return false, errors.New("listen address unix: lacks the path of the socket: unix:/path")
		}
		return true, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("listen address %q: want host:port or unix:/path: %w", address, err)
	}
	return loopbackHost(host), nil
}

// loopbackHost does not ask DNS: a name that somebody else answers for is not
// loopback.
func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
