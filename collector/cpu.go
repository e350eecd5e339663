package collector

import (
	"fmt"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

func cpuFamilies() []Descriptor {
	const g = "cpu"
	stat := func(v1, v2 string) origin { return origin{v1, v2, "same"} }
	sched := origin{"/proc/PID/schedstat", "/proc/PID/schedstat", "same"}
	return []Descriptor{
		describe(g, "container_cpu_usage_seconds_total", counter, "seconds", "CPU time used.",
			origin{"cpuacct.usage", "cpu.stat usage_usec", "better: a container that has used nothing says 0 instead of nothing; with the group percpu one series per CPU (v1)"}, "cpu"),
		describe(g, "container_cpu_user_seconds_total", counter, "seconds", "CPU time used in user mode.",
			stat("cpuacct.stat user", "cpu.stat user_usec")),
		describe(g, "container_cpu_system_seconds_total", counter, "seconds", "CPU time used in kernel mode.",
			stat("cpuacct.stat system", "cpu.stat system_usec")),
		describe(g, "container_cpu_cfs_periods_total", counter, "", "Elapsed CFS periods; only with a CPU quota.",
			stat("cpu.stat nr_periods", "cpu.stat nr_periods")),
		describe(g, "container_cpu_cfs_throttled_periods_total", counter, "", "CFS periods in which the cgroup was throttled; only with a CPU quota.",
			stat("cpu.stat nr_throttled", "cpu.stat nr_throttled")),
		describe(g, "container_cpu_cfs_throttled_seconds_total", counter, "seconds", "Time for which the cgroup was throttled; only with a CPU quota.",
			stat("cpu.stat throttled_time", "cpu.stat throttled_usec")),
		describe(g, "container_cpu_cfs_burst_periods_total", counter, "", "CFS periods in which burst was used; only with a CPU quota.",
			stat("cpu.stat nr_bursts", "cpu.stat nr_bursts")),
		describe(g, "container_cpu_cfs_burst_seconds_total", counter, "seconds", "CPU time used beyond the quota in bursts; only with a CPU quota.",
			stat("cpu.stat burst_time", "cpu.stat burst_usec")),
		describe(g, "container_cpu_core_sched_force_idle_seconds_total", counter, "seconds", "Time for which core scheduling forced a sibling CPU to idle.",
			origin{"", "cpu.stat core_sched.force_idle_usec", "new"}),
		describe(groupSched, "container_cpu_schedstat_run_seconds_total", counter, "seconds", "Time that the processes have run, including processes that ended.", sched),
		describe(groupSched, "container_cpu_schedstat_runqueue_seconds_total", counter, "seconds", "Time that the processes have waited on a run queue, including processes that ended.", sched),
		describe(groupSched, "container_cpu_schedstat_run_periods_total", counter, "", "Time slices run, including those of processes that ended.", sched),
		describe(groupCpuset, "container_memory_migrate", gauge, "", "1 when memory follows the tasks to the nodes of a changed cpuset.",
			origin{"cpuset.memory_migrate", "", "same"}),
	}
}

// cpuSection leaves out the total of CPU usage where it is split by CPU.
func cpuSection(perCPU bool) section {
	quota := func(field func(*cgroup.CPU) uint64) func(*reading) uint64 {
		return func(r *reading) uint64 {
			if r.Spec.CPUQuota == cgroup.None {
				return cgroup.None
			}
			return field(&r.CPU)
		}
	}
	return section{name: "cpu", set: cgroup.SetCPU, slots: []slot{
		{name: "container_cpu_usage_seconds_total", div: 1e9, labels: []string{"cpu", "total"}, value: func(r *reading) uint64 {
			if perCPU && len(r.PerCPU) > 0 {
				return cgroup.None
			}
			return r.CPU.Usage
		}},
		{name: "container_cpu_user_seconds_total", div: 1e9, value: func(r *reading) uint64 { return r.CPU.User }},
		{name: "container_cpu_system_seconds_total", div: 1e9, value: func(r *reading) uint64 { return r.CPU.System }},
		{name: "container_cpu_cfs_periods_total", div: 1, value: quota(func(c *cgroup.CPU) uint64 { return c.Periods })},
		{name: "container_cpu_cfs_throttled_periods_total", div: 1, value: quota(func(c *cgroup.CPU) uint64 { return c.ThrottledPeriods })},
		{name: "container_cpu_cfs_throttled_seconds_total", div: 1e9, value: quota(func(c *cgroup.CPU) uint64 { return c.ThrottledTime })},
		{name: "container_cpu_cfs_burst_periods_total", div: 1, value: quota(func(c *cgroup.CPU) uint64 { return c.BurstPeriods })},
		{name: "container_cpu_cfs_burst_seconds_total", div: 1e9, value: quota(func(c *cgroup.CPU) uint64 { return c.BurstTime })},
		{name: "container_cpu_core_sched_force_idle_seconds_total", div: 1e9, value: func(r *reading) uint64 { return r.CPU.CoreSchedForceIdle }},
	}}
}

func cpusetSection() section {
	return section{name: groupCpuset, set: cgroup.SetCpuset, slots: []slot{
		{name: "container_memory_migrate", div: 1, value: func(r *reading) uint64 { return r.Cpuset.MemoryMigrate }},
	}}
}

// cpuTime is the CPU time that a cgroup used on one CPU.
type cpuTime struct {
	cpu  int
	used uint64
}

func perCPUTable() table[cpuTime] {
	return table[cpuTime]{
		slots: []elemSlot[cpuTime]{
			{name: "container_cpu_usage_seconds_total", div: 1e9, value: func(c *cpuTime) uint64 { return c.used }},
		},
		key:    func(c *cpuTime) rowKey { return rowKey{major: uint32(c.cpu)} },
		labels: func(c *cpuTime) []string { return []string{"cpu", fmt.Sprintf("cpu%02d", c.cpu)} },
		limit:  4096,
	}
}
