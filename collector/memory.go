package collector

import "github.com/binnacle-obs/binnacle/collector/cgroup"

func memoryFamilies() []Descriptor {
	const g = "memory"
	const absent = "better: absent on v1 instead of 0"
	m := func(name, help, v1, v2, versus string) Descriptor {
		return describe(g, "container_memory_"+name, gauge, "bytes", help, origin{v1, v2, versus})
	}
	n := func(name, help, v1, v2, versus string, labels ...string) Descriptor {
		return describe(g, "container_memory_"+name, counter, "", help, origin{v1, v2, versus}, labels...)
	}
	stat := func(key string) string { return "memory.stat " + key }
	return []Descriptor{
		m("usage_bytes", "Memory charged to the cgroup, of all kinds.", "memory.usage_in_bytes", "memory.current", "same"),
		m("working_set_bytes", "Memory in use minus inactive file pages: what the kubelet evicts by.",
			"memory.usage_in_bytes - total_inactive_file", "memory.current - inactive_file", "same"),
		m("max_usage_bytes", "Highest memory usage so far.", "memory.max_usage_in_bytes", "memory.peak", "better: absent where the kernel has no memory.peak, instead of 0"),
		m("rss", "Anonymous memory.", stat("total_rss"), stat("anon"), "same"),
		m("cache", "Page cache.", stat("total_cache"), stat("file"), "same"),
		m("swap", "Memory in swap.", stat("total_swap"), "memory.swap.current", "better: absent without swap accounting instead of 0"),
		m("mapped_file", "Mapped file pages.", stat("total_mapped_file"), stat("file_mapped"), "same"),
		m("kernel_usage", "Kernel memory.", "memory.kmem.usage_in_bytes", stat("kernel"), "better: the kernel's number on v2 instead of 0"),
		m("total_active_file_bytes", "File pages on the active list.", stat("total_active_file"), stat("active_file"), "same"),
		m("total_inactive_file_bytes", "File pages on the inactive list.", stat("total_inactive_file"), stat("inactive_file"), "same"),
		m("file_dirty_bytes", "Page cache changed and not written back yet.", stat("total_dirty"), stat("file_dirty"), "better: filled on v1 as well"),
		m("file_writeback_bytes", "Page cache being written back.", stat("total_writeback"), stat("file_writeback"), "better: filled on v1 as well"),
		n("failcnt", "Hits of the memory limit.", "memory.failcnt", "", "better: absent on v2 instead of 0; see container_memory_events_max_total"),
		n("failures_total", "Page faults, minor and major.",
			stat("pgfault, pgmajfault; total_ for scope=hierarchy"), stat("pgfault, pgmajfault"),
			"better: scope=hierarchy is the number of the hierarchy; scope=container is absent on v2, which only has the former", "failure_type", "scope"),
		n("events_low_total", "Reclaims below memory.low.", "", "memory.events low", "new"),
		n("events_high_total", "Throttlings at memory.high.", "", "memory.events high", absent),
		n("events_max_total", "Hits of memory.max.", "", "memory.events max", absent),
		n("events_oom_total", "Times the limit was reached and an allocation was about to fail.", "", "memory.events oom", "new"),
		n("events_oom_kill_total", "Processes killed for lack of memory, of this cgroup and below.", "memory.oom_control oom_kill", "memory.events oom_kill", "new"),
		n("events_oom_group_kill_total", "Times the whole group was killed for lack of memory.", "", "memory.events oom_group_kill", "new"),
		n("pgscan_total", "Pages scanned by reclaim.", "", stat("pgscan"), absent),
		n("pgsteal_total", "Pages reclaimed.", "", stat("pgsteal"), absent),
		n("workingset_refault_file_total", "Refaults of evicted file pages.", stat("total_workingset_refault_file"), stat("workingset_refault_file"), "better: on v1 the number of the hierarchy, not the local one"),
		n("workingset_refault_anon_total", "Refaults of evicted anonymous pages.", stat("total_workingset_refault_anon"), stat("workingset_refault_anon"), "better: on v1 the number of the hierarchy, not the local one"),
	}
}

func memorySection() section {
	m := func(name string, field func(*cgroup.Memory) uint64, labels ...string) slot {
		return slot{name: "container_memory_" + name, div: 1, labels: labels, value: func(r *reading) uint64 { return field(&r.Memory) }}
	}
	return section{name: "memory", set: cgroup.SetMemory, slots: []slot{
		m("usage_bytes", func(m *cgroup.Memory) uint64 { return m.Usage }),
		m("working_set_bytes", workingSet),
		m("max_usage_bytes", func(m *cgroup.Memory) uint64 { return m.Peak }),
		m("rss", func(m *cgroup.Memory) uint64 { return m.RSS }),
		m("cache", func(m *cgroup.Memory) uint64 { return m.Cache }),
		m("swap", func(m *cgroup.Memory) uint64 { return m.Swap }),
		m("mapped_file", func(m *cgroup.Memory) uint64 { return m.MappedFile }),
		m("kernel_usage", func(m *cgroup.Memory) uint64 { return m.Kernel }),
		m("total_active_file_bytes", func(m *cgroup.Memory) uint64 { return m.ActiveFile }),
		m("total_inactive_file_bytes", func(m *cgroup.Memory) uint64 { return m.InactiveFile }),
		m("file_dirty_bytes", func(m *cgroup.Memory) uint64 { return m.FileDirty }),
		m("file_writeback_bytes", func(m *cgroup.Memory) uint64 { return m.FileWriteback }),
		m("failcnt", func(m *cgroup.Memory) uint64 { return m.FailCount }),
		m("failures_total", func(m *cgroup.Memory) uint64 { return m.LocalFaults }, "failure_type", "pgfault", "scope", "container"),
		m("failures_total", func(m *cgroup.Memory) uint64 { return m.PageFaults }, "failure_type", "pgfault", "scope", "hierarchy"),
		m("failures_total", func(m *cgroup.Memory) uint64 { return m.LocalMajFaults }, "failure_type", "pgmajfault", "scope", "container"),
		m("failures_total", func(m *cgroup.Memory) uint64 { return m.MajorPageFaults }, "failure_type", "pgmajfault", "scope", "hierarchy"),
		m("events_low_total", func(m *cgroup.Memory) uint64 { return m.EventsLow }),
		m("events_high_total", func(m *cgroup.Memory) uint64 { return m.EventsHigh }),
		m("events_max_total", func(m *cgroup.Memory) uint64 { return m.EventsMax }),
		m("events_oom_total", func(m *cgroup.Memory) uint64 { return m.EventsOOM }),
		m("events_oom_kill_total", func(m *cgroup.Memory) uint64 { return m.EventsOOMKill }),
		m("events_oom_group_kill_total", func(m *cgroup.Memory) uint64 { return m.EventsOOMGroupKill }),
		m("pgscan_total", func(m *cgroup.Memory) uint64 { return m.PgScan }),
		m("pgsteal_total", func(m *cgroup.Memory) uint64 { return m.PgSteal }),
		m("workingset_refault_file_total", func(m *cgroup.Memory) uint64 { return m.RefaultFile }),
		m("workingset_refault_anon_total", func(m *cgroup.Memory) uint64 { return m.RefaultAnon }),
	}}
}

// workingSet is usage minus inactive file pages. Both are read at slightly
// different moments, so the difference can be negative: then it is 0.
func workingSet(m *cgroup.Memory) uint64 {
	if m.Usage == cgroup.None || m.InactiveFile == cgroup.None {
		return m.Usage
	}
	return m.Usage - min(m.Usage, m.InactiveFile)
}
