package collector

// leftOutFamilies lists the families of cAdvisor that are not collected, and why.
func leftOutFamilies() []Descriptor {
	const (
		loadReader = "left out: 0 unless cAdvisor runs with -enable_load_reader, on cgroup v1 only; container_pressure_cpu_* tells more"
		perf       = "left out: needs a perf events configuration, privileges and libpfm4"
		resctrl    = "left out: needs resctrl monitoring groups, which the kubelet does not make"
		nvm        = "left out: needs libipmctl for hardware that is no longer made"
	)
	f := func(name, help, versus string) Descriptor {
		return describe("left out", name, gauge, "", help, origin{versus: versus})
	}
	return []Descriptor{
		f("container_health_state", "Result of Docker's health check.", "left out: only Docker's API knows it, -1 otherwise"),
		f("cadvisor_version_info", "Versions of cAdvisor, kernel and Docker.", "left out: there is no cAdvisor; node_uname_info and node_os_info have the rest"),
		f("container_cpu_load_average_10s", "Smoothed number of running tasks.", loadReader),
		f("container_cpu_load_d_average_10s", "Smoothed number of uninterruptible tasks.", loadReader),
		f("container_tasks_state", "Tasks by state.", loadReader),
		f("container_perf_events_total", "Hardware performance counters.", perf),
		f("container_perf_events_scaling_ratio", "Share of time that a counter was on.", perf),
		f("container_perf_uncore_events_total", "Uncore performance counters.", perf),
		f("container_perf_uncore_events_scaling_ratio", "Share of time that a counter was on.", perf),
		f("container_referenced_bytes", "Memory referenced lately.", "left out: to measure it disturbs it (clear_refs makes every page fault again)"),
		f("container_memory_bandwidth_bytes", "Memory traffic.", resctrl),
		f("container_memory_bandwidth_local_bytes", "Traffic of local memory.", resctrl),
		f("container_llc_occupancy_bytes", "Occupancy of the last level cache.", resctrl),
		f("container_network_advance_tcp_stats_total", "Kernel counters of TCP.", "left out: about 100 counters in one gauge; node_netstat_* has them for the machine"),
		f("machine_nvm_avg_power_budget_watts", "Power budget of persistent memory.", nvm),
		f("machine_nvm_capacity", "Capacity of persistent memory.", nvm),
	}
}
