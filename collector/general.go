package collector

import "github.com/binnacle-obs/binnacle/collector/cgroup"

func generalFamilies() []Descriptor {
	const g = "general"
	same := origin{"clock", "clock", "same"}
	created := origin{"creation of the cgroup directory", "creation of the cgroup directory", "better: in milliseconds, not whole seconds"}
	return []Descriptor{
		describe(g, "container_last_seen", gauge, "seconds", "Unix time of the last reading of the cgroup.", same),
		describe(g, "container_creation_time_seconds", gauge, "seconds", "Unix time at which the cgroup was made.", created),
		describe(g, "container_start_time_seconds", gauge, "seconds", "Unix time at which the container started: the creation of its cgroup.", created),
		describe(g, "container_scrape_error", gauge, "", "1 if any cgroup could not be read in the last cycle, 0 otherwise.",
			origin{"own", "own", "same"}),
		describe("spec", "container_spec_cpu_period", gauge, "", "CFS period in microseconds.",
			origin{"cpu.cfs_period_us", "cpu.max", "same"}),
		describe("spec", "container_spec_cpu_quota", gauge, "", "CFS quota in microseconds per period; absent without a quota.",
			origin{"cpu.cfs_quota_us", "cpu.max", "same"}),
		describe("spec", "container_spec_cpu_shares", gauge, "", "CPU shares.",
			origin{"cpu.shares", "cpu.weight, converted to shares", "same"}),
		describe("spec", "container_spec_memory_limit_bytes", gauge, "bytes", "Memory limit, 0 when unlimited.",
			origin{"memory.limit_in_bytes", "memory.max", "same"}),
		describe("spec", "container_spec_memory_swap_limit_bytes", gauge, "bytes", "Limit of swap (v1: of memory and swap), 0 when unlimited.",
			origin{"memory.memsw.limit_in_bytes", "memory.swap.max", "better: absent where the kernel does not account swap"}),
		describe("spec", "container_spec_memory_reservation_limit_bytes", gauge, "bytes", "Memory reservation, 0 when there is none.",
			origin{"memory.soft_limit_in_bytes", "memory.min", "same"}),
	}
}

func generalSection() section {
	return section{name: "general", slots: []slot{
		{name: "container_last_seen", div: 1, value: func(r *reading) uint64 { return r.nowSec }},
		{name: "container_creation_time_seconds", div: 1e3, value: func(r *reading) uint64 { return r.createdMs }},
		{name: "container_start_time_seconds", div: 1e3, value: func(r *reading) uint64 { return r.createdMs }},
	}}
}

func specSection() section {
	return section{name: "spec", set: cgroup.SetSpec, slots: []slot{
		{name: "container_spec_cpu_period", div: 1, value: func(r *reading) uint64 { return r.Spec.CPUPeriod }},
		{name: "container_spec_cpu_quota", div: 1, value: func(r *reading) uint64 { return r.Spec.CPUQuota }},
		{name: "container_spec_cpu_shares", div: 1, value: func(r *reading) uint64 { return r.Spec.CPUShares }},
		{name: "container_spec_memory_limit_bytes", div: 1, value: func(r *reading) uint64 {
			return limitOrZero(r.Spec.MemoryLimit, r.Memory.Usage)
		}},
		{name: "container_spec_memory_swap_limit_bytes", div: 1, value: func(r *reading) uint64 {
			return limitOrZero(r.Spec.MemorySwapLimit, r.Memory.Swap)
		}},
		{name: "container_spec_memory_reservation_limit_bytes", div: 1, value: func(r *reading) uint64 {
			if r.version == cgroup.V2 {
				return limitOrZero(r.Spec.MemoryMin, r.Memory.Usage)
			}
			return limitOrZero(r.Spec.MemoryReservation, r.Memory.Usage)
		}},
	}}
}

// unlimited is where v1's "no limit" begins: the largest multiple of the page
// size in an int64, which differs between architectures.
const unlimited = 1 << 62

// limitOrZero is 0 when there is no limit, as cAdvisor has it; without an
// account there is nothing to limit.
func limitOrZero(limit, account uint64) uint64 {
	switch {
	case account == cgroup.None:
		return cgroup.None
	case limit >= unlimited:
		return 0
	}
	return limit
}
