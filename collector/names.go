package collector

import (
	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

// Names are what people call a container. Empty fields are not known.
type Names struct {
	Namespace, Pod, Container, Image string
	// Sandbox marks the container that holds a pod's namespaces. Its Container is "".
	Sandbox bool
}

// complete tells whether a container has all names that dashboards need; the
// image is not known from log folders.
func (n Names) complete() bool {
	return n.Namespace != "" && n.Pod != "" && (n.Sandbox || n.Container != "")
}

// Identities knows the names of cgroups of pods and containers. This is where
// a watch of this node's pods plugs in. It is called from one goroutine, again
// and again while the names are not complete, and must not block.
type Identities interface {
	// Names returns what is known of a container, or of a pod when the
	// identity has no container id; false when it is not known (yet).
	Names(id cgroup.Identity) (Names, bool)
}

// pod connects the cgroups of one pod.
type pod struct {
	// group is the pod's own cgroup, the parent of its containers; may be nil.
	group *container
	// sandbox is nil while it is not known.
	sandbox *container
	members []*container
}

// join enters a cgroup into its pod.
func (c *Collector) join(ct *container) {
	uid := ct.id.PodUID
	if uid == "" {
		ct.named = true
		return
	}
	p := c.pods[uid]
	if p == nil {
		p = &pod{}
		c.pods[uid] = p
	}
	switch ct.id.Kind {
	case cgroup.KindPod:
		p.group = ct
	case cgroup.KindContainer:
		p.members = append(p.members, ct)
	}
}

// leave is the opposite of join.
func (c *Collector) leave(ct *container) {
	p := c.pods[ct.id.PodUID]
	if p == nil {
		return
	}
	if p.group == ct {
		p.group = nil
	}
	if p.sandbox == ct {
		p.sandbox = nil
	}
	for i, m := range p.members {
		if m == ct {
			p.members = append(p.members[:i], p.members[i+1:]...)
			break
		}
	}
	if p.group == nil && len(p.members) == 0 {
		delete(c.pods, ct.id.PodUID)
	}
}

// eagerTries is how many cycles in a row a container without names is looked
// at; after that only as often as the slow collectors run.
const eagerTries = 20

// lookUp finds the names of a container as well as the files allow.
func (c *Collector) lookUp(ct *container) Names {
	var n Names
	if c.opts.Identities != nil {
		if known, ok := c.opts.Identities.Names(ct.id); ok {
			n = known
		}
	}
	if ct.id.Kind == cgroup.KindContainer {
		if ct.bundle == (Names{}) {
			ct.bundle = c.bundles.names(ct.id.ContainerID)
		}
		n = n.or(ct.bundle)
	}
	if n.Namespace == "" || n.Pod == "" {
		n = n.or(c.podLogs.pod(ct.id.PodUID))
	}
	p := c.pods[ct.id.PodUID]
	if ct.id.Kind != cgroup.KindContainer {
		n.Container, n.Image, n.Sandbox = "", "", false
		return n.orPod(p)
	}
	if n.Container == "" && !n.Sandbox {
		n.Sandbox = c.isPause(ct)
	}
	if n.Container == "" && !n.Sandbox {
		n.Container = c.podLogs.containerName(ct, p)
	}
	return n.orPod(p)
}

// or fills empty fields.
func (n Names) or(m Names) Names {
	setDefault(&n.Namespace, m.Namespace)
	setDefault(&n.Pod, m.Pod)
	setDefault(&n.Container, m.Container)
	setDefault(&n.Image, m.Image)
	n.Sandbox = n.Sandbox || m.Sandbox
	return n
}

// orPod fills namespace and pod from a member of the same pod, which may be nil.
func (n Names) orPod(p *pod) Names {
	if p == nil {
		return n
	}
	for _, m := range p.members {
		setDefault(&n.Namespace, m.names.Namespace)
		setDefault(&n.Pod, m.names.Pod)
	}
	return n
}

// identify looks for the names of a container and, when they have changed,
// ends its series: they go on under the new labels.
func (c *Collector) identify(ct *container, b *batch) {
	n := c.lookUp(ct)
	ct.tries++
	ct.named = n.complete() && (n.Image != "" || n.Sandbox || c.opts.Identities == nil)
	if ct.id.Kind != cgroup.KindContainer {
		ct.named = n.Pod != ""
	}
	if n == ct.names && ct.base.Len() > 0 {
		return
	}
	ct.clear(b)
	ct.names = n
	ct.base = baseLabels(c.opts.Node, ct.group, ct.id, n)
	if n.Sandbox && !ct.sandbox {
		c.becomeSandbox(ct, b)
	}
	c.oom.rename(ct, b)
}

// becomeSandbox makes ct the one that shows the network of its pod.
func (c *Collector) becomeSandbox(ct *container, b *batch) {
	ct.sandbox = true
	p := c.pods[ct.id.PodUID]
	c.moveNetwork(p, b)
	p.sandbox = ct
}
