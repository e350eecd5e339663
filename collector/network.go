package collector

import (
	"errors"
	"strings"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/proc"
)

func networkFamilies() []Descriptor {
	const (
		g    = "network"
		from = "/proc/PID/net/dev"
		once = "better: each network namespace once, on the pod's sandbox; a hostNetwork pod does not repeat the host's; still read as the container ends"
	)
	f := func(name, unit, help string) Descriptor {
		return describe(g, "container_network_"+name, counter, unit, help, origin{from, from, once}, "interface")
	}
	states := func(group, name, file, label, help string) Descriptor {
		return describe(group, "container_network_"+name+"_usage_total", gauge, "", help,
			origin{"/proc/PID/net/" + file, "/proc/PID/net/" + file, "same"}, label)
	}
	return []Descriptor{
		f("receive_bytes_total", "bytes", "Bytes received."),
		f("receive_packets_total", "", "Packets received."),
		f("receive_packets_dropped_total", "", "Packets dropped while receiving."),
		f("receive_errors_total", "", "Errors while receiving."),
		f("transmit_bytes_total", "bytes", "Bytes sent."),
		f("transmit_packets_total", "", "Packets sent."),
		f("transmit_packets_dropped_total", "", "Packets dropped while sending."),
		f("transmit_errors_total", "", "Errors while sending."),
		states(groupTCP, "tcp", "tcp", "tcp_state", "IPv4 TCP sockets by state."),
		states(groupTCP, "tcp6", "tcp6", "tcp_state", "IPv6 TCP sockets by state."),
		states(groupUDP, "udp", "udp", "udp_state", "IPv4 UDP sockets, what they dropped and what is queued in bytes."),
		states(groupUDP, "udp6", "udp6", "udp_state", "IPv6 UDP sockets, what they dropped and what is queued in bytes."),
	}
}

func networkTable() table[proc.Interface] {
	s := func(name string, value func(*proc.Interface) uint64) elemSlot[proc.Interface] {
		return elemSlot[proc.Interface]{name: "container_network_" + name, div: 1, value: value}
	}
	return table[proc.Interface]{
		slots: []elemSlot[proc.Interface]{
			s("receive_bytes_total", func(i *proc.Interface) uint64 { return i.RxBytes }),
			s("receive_packets_total", func(i *proc.Interface) uint64 { return i.RxPackets }),
			s("receive_packets_dropped_total", func(i *proc.Interface) uint64 { return i.RxDropped }),
			s("receive_errors_total", func(i *proc.Interface) uint64 { return i.RxErrors }),
			s("transmit_bytes_total", func(i *proc.Interface) uint64 { return i.TxBytes }),
			s("transmit_packets_total", func(i *proc.Interface) uint64 { return i.TxPackets }),
			s("transmit_packets_dropped_total", func(i *proc.Interface) uint64 { return i.TxDropped }),
			s("transmit_errors_total", func(i *proc.Interface) uint64 { return i.TxErrors }),
		},
		key:    func(i *proc.Interface) rowKey { return rowKey{name: i.Name} },
		labels: func(i *proc.Interface) []string { return []string{"interface", i.Name} },
		limit:  256,
	}
}

// virtual tells whether an interface only carries what another one counts as well.
func virtual(i proc.Interface) bool {
	return i.Name == "lo" || strings.HasPrefix(i.Name, "veth") ||
		strings.HasPrefix(i.Name, "docker") || strings.HasPrefix(i.Name, "nerdctl")
}

// netDev reads the interfaces of one network namespace.
type netDev interface {
	Read([]proc.Interface) ([]proc.Interface, error)
	Close() error
}

// namespaces decides which container shows which network namespace, so that
// each is shown once. It is owned by the collector's goroutine.
type namespaces struct {
	files processes
	host  uint64
	// owner of a namespace by inode. Entries go with their owner.
	owner map[uint64]*container
}

func newNamespaces(files processes) (*namespaces, error) {
	host, err := files.HostNetNS()
	if err != nil {
		return nil, err
	}
	return &namespaces{files: files, host: host, owner: make(map[uint64]*container)}, nil
}

// attach opens the interfaces of the namespace of pid and gives them to owner,
// unless the namespace is the host's or is shown already.
func (n *namespaces) attach(pid int, owner *container) error {
	inode := n.host
	if !owner.isRoot() {
		var err error
		if inode, err = n.files.NetNS(pid); err != nil {
			return err
		}
		if inode == n.host {
			return nil
		}
	}
	if n.owner[inode] != nil || owner.net != nil {
		return nil
	}
	dev, err := n.files.OpenNetDev(pid)
	if err != nil {
		return err
	}
	owner.net, owner.netInode = dev, inode
	n.owner[inode] = owner
	return nil
}

// release closes what owner holds; others in the same namespace may take it over.
func (n *namespaces) release(owner *container) {
	if owner.net == nil {
		return
	}
	delete(n.owner, owner.netInode)
	_ = owner.net.Close() // a read-only descriptor of /proc: nothing can be lost
	owner.net = nil
}

// netOwner is the container that shows the network of ct: the pod's sandbox,
// or its pod's cgroup while the sandbox is not known, or ct itself without a pod.
func (c *Collector) netOwner(ct *container) *container {
	pod := c.pods[ct.id.PodUID]
	switch {
	case pod == nil:
		return ct
	case pod.sandbox != nil:
		return pod.sandbox
	case pod.group != nil:
		return pod.group
	}
	return ct
}

// moveNetwork takes the network of a pod from whoever showed it, so that the
// sandbox can take it over. The one who did may have a sample of this cycle
// already: the end comes after it.
func (c *Collector) moveNetwork(p *pod, b *batch) {
	end := batch{samples: b.samples, t: b.t + 1}
	give := func(ct *container) {
		if ct != nil && ct.net != nil {
			c.namespaces.release(ct)
			ct.vectors[vecNetwork].clear(&end)
		}
	}
	give(p.group)
	for _, m := range p.members {
		give(m)
		m.netDone = false
	}
	b.samples = end.samples
}

// attachNetwork finds the network of a container that has a process. It is
// called until it has succeeded once.
func (c *Collector) attachNetwork(ct *container, pid int) {
	if ct.netDone || pid == 0 {
		return
	}
	if !ct.isRoot() && ct.id.Kind != cgroup.KindContainer {
		ct.netDone = true
		return
	}
	err := c.namespaces.attach(pid, c.netOwner(ct))
	switch {
	case err == nil:
		ct.netDone = true
	case !errors.Is(err, proc.ErrGone): // the process may end at any time
		c.failed("network", err)
	}
}

// fillNetwork appends the interfaces of the namespace that ct shows.
func (c *Collector) fillNetwork(ct *container, b *batch) {
	if ct.net == nil {
		return
	}
	all, err := ct.net.Read(c.interfaces[:0])
	if err != nil {
		c.failed("network", err)
		return
	}
	kept := all[:0]
	for _, i := range all {
		if !virtual(i) {
			kept = append(kept, i)
		}
	}
	c.interfaces = all
	c.dropped(c.tables.network.fill(ct, b, &ct.vectors[vecNetwork], kept))
}

// reattach lets the others in the pod look for their network again when the
// container that showed it has gone.
func (c *Collector) reattach(gone *container) {
	if p := c.pods[gone.id.PodUID]; p != nil {
		for _, m := range p.members {
			m.netDone = false
		}
	}
}
