package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// headerTimeout bounds the TLS handshake and the header of a request.
	headerTimeout = 10 * time.Second
	// bodyTimeout bounds the arrival of a body, which for remote write may be
	// large; http.Server.ReadTimeout would also end long answers.
	bodyTimeout = 5 * time.Minute
	// refusedBodyTimeout bounds what is read of a request that was refused.
	refusedBodyTimeout = time.Second
	idleTimeout        = 2 * time.Minute
	maxHeaderBytes     = 64 << 10
	stopTimeout        = 10 * time.Second
	// reloadInterval is below the time in which people expect a rotated
	// secret to work.
	reloadInterval = 3 * time.Second
)

// Listener is an open socket.
type Listener struct {
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	listener net.Listener
	secrets  *secrets
	loopback bool

	// Those constants which tests shorten.
	reloadEvery, stopAfter time.Duration
}

// New validates o, reads its files and opens the socket.
func New(o Options) (*Listener, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = defaultMaxConnections
	}
	m := newMetrics(o.Registerer)
	s, err := openSecrets(o, m)
	if err != nil {
		return nil, err
	}
	inner, err := open(o.Address)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		opts: o, log: o.Logger, metrics: m, secrets: s,
		listener:    newLimited(inner, o.MaxConnections, m),
		reloadEvery: reloadInterval, stopAfter: stopTimeout,
	}
	l.loopback, _ = isLoopback(o.Address)
	// localhost is what /etc/hosts says it is.
	if a, ok := inner.Addr().(*net.TCPAddr); ok && l.loopback && !a.IP.IsLoopback() {
		inner.Close()
		return nil, fmt.Errorf("listen address %s is %s here, which is not a loopback address: give 127.0.0.1 instead", o.Address, a.IP)
	}
	return l, nil
}

// open binds the address.
func open(address string) (net.Listener, error) {
	network := "tcp"
	var lc net.ListenConfig
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	if isUnix {
		network = "unix"
		if err := removeStale(path); err != nil {
			return nil, err
		}
		// Before bind, so that there is no moment when others may connect.
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var chmod error
			err := c.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), 0o600) })
			return errors.Join(err, chmod)
		}
	}
	l, err := lc.Listen(context.Background(), network, path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// removeStale removes the socket of a process that is no more.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s%s: %w", unixPrefix, path, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on %s%s: there is something that is not a socket", unixPrefix, path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listen on %s%s: another process serves there", unixPrefix, path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen on %s%s: %w", unixPrefix, path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("listen on %s%s: remove the socket of an ended process: %w", unixPrefix, path, err)
	}
	return nil
}

// Addr is the address bound, with the real port when 0 was asked for.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

// Close closes the socket of a Listener that does not serve.
func (l *Listener) Close() error { return l.listener.Close() }

// Serve answers requests with h, guarded as the Options say, until ctx ends
// and then returns nil once the requests under way are answered, at most 10 s
// later; those still running then are cut off. Any other end is an error.
func (l *Listener) Serve(ctx context.Context, h http.Handler) error {
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	server := &http.Server{
		Handler:           l.protect(h),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:    slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: withConnection,
	}
	ended := make(chan error, 1)
	go func() { ended <- l.accept(server) }()
	reload := time.NewTicker(l.reloadEvery)
	defer reload.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("serve on %s: %w", l.opts.Address, err)
		case <-reload.C:
			l.secrets.check()
		case <-ctx.Done():
			l.stop(server)
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				l.log.Warn("serving ended with an error", "err", err)
			}
			return nil
		}
	}
}

// accept serves until the server is shut down.
func (l *Listener) accept(server *http.Server) error {
	if !l.opts.tls() {
		return server.Serve(l.listener)
	}
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			l.secrets.checkSoon()
			return l.secrets.certificate.Load(), nil
		},
	}
	if l.opts.ClientCAFile != "" {
		// Asked for, not required: a token will do, and health needs neither.
		// Whether it is trusted is decided for each request by the authorities
		// of that time.
		server.TLSConfig.ClientAuth = tls.RequestClientCert
	}
	return server.ServeTLS(l.listener, "", "")
}

func (l *Listener) stop(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), l.stopAfter)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		l.log.Warn("requests under way are cut off", "after", l.stopAfter, "err", err)
		_ = server.Close()
	}
}
