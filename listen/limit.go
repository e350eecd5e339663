package listen

import (
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	authFailures *prometheus.CounterVec
	reloadErrors *prometheus.CounterVec
	connections  prometheus.Gauge
	accepted     prometheus.Counter
	limited      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		authFailures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_http_auth_failures_total", Help: "Requests refused before they were looked at, by reason.",
		}, []string{"reason"}),
		reloadErrors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_http_reload_errors_total", Help: "Checks that found a changed file which cannot be used, by file.",
		}, []string{"file"}),
		connections: f.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_http_connections", Help: "Open connections.",
		}),
		accepted: f.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_http_connections_total", Help: "Connections accepted.",
		}),
		limited: f.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_http_connections_limited_total", Help: "Times that no connection was accepted until another closed.",
		}),
	}
}

// limited accepts no more than a number of connections at a time. The others
// wait in the kernel's queue.
type limited struct {
	net.Listener
	metrics *metrics
	slots   chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func newLimited(l net.Listener, n int, m *metrics) *limited {
	return &limited{Listener: l, metrics: m, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a slot and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	default:
		l.metrics.limited.Inc()
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.metrics.accepted.Inc()
	l.metrics.connections.Inc()
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() {
		l.metrics.connections.Dec()
		<-l.slots
	})}, nil
}

// Close also ends an Accept that waits for a slot.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close gives the slot back, once.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
