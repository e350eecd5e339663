package collector

import (
	"errors"
	"io/fs"

	"github.com/binnacle-obs/binnacle/collector/proc"
)

var udpStates = [...]string{"listen", "dropped", "rxqueued", "txqueued"}

// tcpSection is filled by hand: the states of IPv4, then those of IPv6.
func tcpSection() section {
	s := section{name: groupTCP}
	for _, name := range []string{"container_network_tcp_usage_total", "container_network_tcp6_usage_total"} {
		for state := proc.TCPEstablished; state <= proc.TCPClosing; state++ {
			s.slots = append(s.slots, slot{name: name, labels: []string{"tcp_state", state.String()}})
		}
	}
	return s
}

// udpSection is filled by hand: the states of IPv4, then those of IPv6.
func udpSection() section {
	s := section{name: groupUDP}
	for _, name := range []string{"container_network_udp_usage_total", "container_network_udp6_usage_total"} {
		for _, state := range udpStates {
			s.slots = append(s.slots, slot{name: name, labels: []string{"udp_state", state}})
		}
	}
	return s
}

// fillSockets appends the states of the sockets in the namespace that ct shows.
func (c *Collector) fillSockets(ct *container, b *batch, pid int) {
	if ct.net == nil || pid == 0 {
		return
	}
	for i, six := range []bool{false, true} {
		if c.optIn[groupTCP] {
			states, err := c.files.TCPStates(pid, six)
			if c.socketsRead(groupTCP, err) {
				n := int(proc.TCPClosing)
				for state := proc.TCPEstablished; state <= proc.TCPClosing; state++ {
					c.sections.tcp.put(ct, b, i*n+int(state)-1, float64(states[state]))
				}
			}
		}
		if c.optIn[groupUDP] {
			states, err := c.files.UDPStates(pid, six)
			if c.socketsRead(groupUDP, err) {
				for j, v := range []uint64{states.Listen, states.Dropped, states.RxQueued, states.TxQueued} {
					c.sections.udp.put(ct, b, i*len(udpStates)+j, float64(v))
				}
			}
		}
	}
}

// socketsRead tells whether there are states to show. A kernel without IPv6
// and a process that has just ended are no failures.
func (c *Collector) socketsRead(group string, err error) bool {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, proc.ErrGone) {
		c.failed(group, err)
	}
	return err == nil
}
