package main

import (
	"log/slog"
	"net"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/listen"
)

// listenOptions are those of the process' one listener.
func (s *modeSettings) listenOptions(log *slog.Logger, registry prometheus.Registerer) listen.Options {
	o := listen.Options{
		Address:      s.listen,
		CertFile:     s.tlsCertFile,
		KeyFile:      s.tlsKeyFile,
		ClientCAFile: s.tlsClientCAFile,
		TokenFile:    s.authTokenFile,
		Insecure:     s.insecure,
		Logger:       log,
		Registerer:   registry,
	}
	// A proxy on this machine passes on the name that users know.
	if u, err := url.Parse(s.externalURL); err == nil && u.Hostname() != "" {
		o.AllowedHosts = []string{u.Hostname()}
	}
	return o
}

// url is where the listener answers.
func (s *modeSettings) url(address net.Addr) string {
	switch {
	case address.Network() == "unix":
		return "unix:" + address.String()
	case s.tlsCertFile != "":
		return "https://" + address.String()
	default:
		return "http://" + address.String()
	}
}
