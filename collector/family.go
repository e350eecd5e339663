package collector

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/binnacle-obs/binnacle/storage"
)

// Descriptor describes one metric family: what it means, where it comes from
// and how it compares to the family of the same name in cAdvisor.
type Descriptor struct {
	storage.Family
	// Labels are those beyond the labels that every series of the group has.
	Labels []string
	// Group is the collector that makes the family; groups other than the
	// default ones are switched on by Options.OptIn.
	Group string
	// Default tells whether the family is collected without being asked for.
	Default bool
	// V1 and V2 name the source on cgroup v1 and v2; "" means that there is
	// none and the series is absent.
	V1, V2 string
	// Versus says how the family compares to cAdvisor's: "same",
	// "better: why", "left out: why", or "new" when cAdvisor has none.
	Versus string
}

// leftOut tells whether the family is listed only to say why it is missing.
func (d *Descriptor) leftOut() bool { return strings.HasPrefix(d.Versus, "left out") }

const (
	counter = model.MetricTypeCounter
	gauge   = model.MetricTypeGauge
)

// Groups that Options.OptIn switches on.
const (
	groupPerCPU   = "percpu"
	groupCpuset   = "cpuset"
	groupNUMA     = "memory_numa"
	groupTCP      = "tcp"
	groupUDP      = "udp"
	groupSched    = "sched"
	groupSockets  = "sockets"
	groupTopology = "cpu_topology"
)

// OptInGroups lists the groups that Options.OptIn may name.
func OptInGroups() []string {
	return []string{groupPerCPU, groupCpuset, groupNUMA, groupTCP, groupUDP, groupSched, groupSockets, groupTopology}
}

// origin is where a family comes from on v1 and v2, and how it compares to cAdvisor's.
type origin struct{ v1, v2, versus string }

func describe(group, name string, typ model.MetricType, unit, help string, o origin, labels ...string) Descriptor {
	return Descriptor{
		Family:  storage.Family{Name: name, Help: help, Unit: unit, Type: typ},
		Labels:  labels,
		Group:   group,
		Default: !slices.Contains(OptInGroups(), group) && !strings.HasPrefix(o.versus, "left out"),
		V1:      o.v1, V2: o.v2, Versus: o.versus,
	}
}

// All lists every family of containers and of the machine, those of cAdvisor
// that are left out included. docs/metrics.md is generated from it.
func All() []Descriptor {
	var all []Descriptor
	for _, part := range [][]Descriptor{
		generalFamilies(), cpuFamilies(), memoryFamilies(), pressureFamilies(), ioFamilies(),
		networkFamilies(), processFamilies(), hugetlbFamilies(), numaFamilies(), diskFamilies(), diskStatsFamilies(),
		oomFamilies(), machineFamilies(), leftOutFamilies(),
	} {
		all = append(all, part...)
	}
	return all
}

// catalog finds families by name. It is filled once and then only read.
type catalog map[string]*storage.Family

func newCatalog(all []Descriptor) catalog {
	c := make(catalog, len(all))
	for i := range all {
		if !all[i].leftOut() {
			c[all[i].Name] = &all[i].Family
		}
	}
	return c
}
