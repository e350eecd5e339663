package collector

import (
	"strconv"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

func numaFamilies() []Descriptor {
	return []Descriptor{
		describe(groupNUMA, "container_memory_numa_pages", gauge, "", "Pages by NUMA node.",
			origin{"memory.numa_stat", "memory.numa_stat, converted from bytes", "better: filled on v2 as well; the label of the NUMA node is numa_node, because node is the machine"},
			"type", "scope", "numa_node"),
	}
}

func numaTable() table[cgroup.NUMANode] {
	s := func(typ, scope string, value func(*cgroup.NUMANode) uint64) elemSlot[cgroup.NUMANode] {
		return elemSlot[cgroup.NUMANode]{name: "container_memory_numa_pages", div: 1, labels: []string{"type", typ, "scope", scope}, value: value}
	}
	return table[cgroup.NUMANode]{
		slots: []elemSlot[cgroup.NUMANode]{
			s("file", "container", func(n *cgroup.NUMANode) uint64 { return n.File }),
			s("anon", "container", func(n *cgroup.NUMANode) uint64 { return n.Anon }),
			s("unevictable", "container", func(n *cgroup.NUMANode) uint64 { return n.Unevictable }),
			s("file", "hierarchy", func(n *cgroup.NUMANode) uint64 { return n.HierFile }),
			s("anon", "hierarchy", func(n *cgroup.NUMANode) uint64 { return n.HierAnon }),
			s("unevictable", "hierarchy", func(n *cgroup.NUMANode) uint64 { return n.HierUnevictable }),
		},
		key:    func(n *cgroup.NUMANode) rowKey { return rowKey{major: uint32(n.Node)} },
		labels: func(n *cgroup.NUMANode) []string { return []string{"numa_node", strconv.Itoa(n.Node)} },
		limit:  1024,
	}
}
