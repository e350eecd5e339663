package cgroup

// Templates of "nothing is known", copied as a whole by Reset.
var (
	noCPU = CPU{
		Usage: None, User: None, System: None, Periods: None, ThrottledPeriods: None,
		ThrottledTime: None, BurstPeriods: None, BurstTime: None, CoreSchedForceIdle: None,
	}
	noMemory = Memory{
		Usage: None, Peak: None, FailCount: None, Swap: None, SwapPeak: None, Kernel: None,
		Cache: None, RSS: None, MappedFile: None, ActiveFile: None, InactiveFile: None,
		ActiveAnon: None, InactiveAnon: None, Unevictable: None, Shmem: None, AnonTHP: None,
		FileDirty: None, FileWriteback: None, Slab: None, Sock: None, KernelStack: None,
		PageFaults: None, MajorPageFaults: None, PgScan: None, PgSteal: None,
		RefaultFile: None, RefaultAnon: None, LocalFaults: None, LocalMajFaults: None,
		EventsLow: None, EventsHigh: None, EventsMax: None, EventsOOM: None,
		EventsOOMKill: None, EventsOOMGroupKill: None, UnderOOM: None,
	}
	noPids     = Pids{Current: None, Max: None, Peak: None, EventsMax: None}
	noPressure = Pressure{Some: None, Full: None}
	noPSI      = PSI{CPU: noPressure, Memory: noPressure, IO: noPressure, IRQ: noPressure}
	noSpec     = Spec{
		CPUShares: None, CPUPeriod: None, CPUQuota: None, MemoryLimit: None, MemorySwapLimit: None,
		MemoryReservation: None, MemoryMin: None, MemoryHigh: None,
	}
	noCpuset  = Cpuset{MemoryMigrate: None}
	noProcs   = Procs{Count: None}
	noHugetlb = Hugetlb{Usage: None, MaxUsage: None, FailCount: None}
	noDevice  = DeviceIO{
		ReadBytes: None, WriteBytes: None, Reads: None, Writes: None, DiscardBytes: None, Discards: None,
		SyncBytes: None, AsyncBytes: None, TotalBytes: None, SyncOps: None, AsyncOps: None, TotalOps: None,
		CostUsage: None, CostWait: None, CostIndebt: None, CostInDelay: None,
	}
	noNode = NUMANode{
		Total: None, File: None, Anon: None, Unevictable: None,
		HierTotal: None, HierFile: None, HierAnon: None, HierUnevictable: None,
	}
)

// Reset forgets every value: numbers become None, strings and slices empty.
// The slices keep their capacity.
func (s *Stats) Reset() {
	s.Read = 0
	s.CPU, s.Memory, s.Pids, s.PSI = noCPU, noMemory, noPids, noPSI
	s.Spec, s.Cpuset, s.Procs = noSpec, noCpuset, noProcs
	s.IO, s.Hugetlb = s.IO[:0], s.Hugetlb[:0]
	s.PerCPU, s.NUMA = s.PerCPU[:0], s.NUMA[:0]
}

// device returns the entry of a block device, made when it is not there yet.
// The pointer holds until the next call.
func (s *Stats) device(major, minor uint32) *DeviceIO {
	for i := range s.IO {
		if s.IO[i].Major == major && s.IO[i].Minor == minor {
			return &s.IO[i]
		}
	}
	d := noDevice
	d.Major, d.Minor = major, minor
	s.IO = append(s.IO, d)
	return &s.IO[len(s.IO)-1]
}

// node returns the entry of a NUMA node, made when it is not there yet. The
// pointer holds until the next call.
func (s *Stats) node(n int) *NUMANode {
	for i := range s.NUMA {
		if s.NUMA[i].Node == n {
			return &s.NUMA[i]
		}
	}
	d := noNode
	d.Node = n
	s.NUMA = append(s.NUMA, d)
	return &s.NUMA[len(s.NUMA)-1]
}
