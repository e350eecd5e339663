package collector

import "github.com/binnacle-obs/binnacle/collector/cgroup"

func pressureFamilies() []Descriptor {
	const g = "pressure"
	var all []Descriptor
	for _, resource := range []string{"cpu", "memory", "io"} {
		o := origin{"the same files of the v2 hierarchy on hybrid hosts", resource + ".pressure", "better: absent without PSI instead of 0"}
		all = append(all,
			describe(g, "container_pressure_"+resource+"_waiting_seconds_total", counter, "seconds",
				"Time for which some task was stalled on "+resource+".", o),
			describe(g, "container_pressure_"+resource+"_stalled_seconds_total", counter, "seconds",
				"Time for which all tasks were stalled on "+resource+".", o))
	}
	return append(all, describe(g, "container_pressure_irq_stalled_seconds_total", counter, "seconds",
		"Time for which all tasks were stalled by interrupts.",
		origin{"the same file of the v2 hierarchy on hybrid hosts", "irq.pressure", "new"}))
}

func pressureSection() section {
	p := func(name string, field func(*cgroup.PSI) uint64) slot {
		return slot{name: "container_pressure_" + name + "_seconds_total", div: 1e9, value: func(r *reading) uint64 { return field(&r.PSI) }}
	}
	return section{name: "pressure", set: cgroup.SetPSI, slots: []slot{
		p("cpu_waiting", func(p *cgroup.PSI) uint64 { return p.CPU.Some }),
		p("cpu_stalled", func(p *cgroup.PSI) uint64 { return p.CPU.Full }),
		p("memory_waiting", func(p *cgroup.PSI) uint64 { return p.Memory.Some }),
		p("memory_stalled", func(p *cgroup.PSI) uint64 { return p.Memory.Full }),
		p("io_waiting", func(p *cgroup.PSI) uint64 { return p.IO.Some }),
		p("io_stalled", func(p *cgroup.PSI) uint64 { return p.IO.Full }),
		p("irq_stalled", func(p *cgroup.PSI) uint64 { return p.IRQ.Full }),
	}}
}
