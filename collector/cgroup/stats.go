package cgroup

// None stands for a value that does not exist: the kernel has no such file,
// the file has no such line, or the limit says "max". The zero value of a
// field is a real 0, so every reader starts from Stats.Reset.
const None = ^uint64(0)

// Set names groups of statistics that cost one or more file reads each. A caller asks
// for the ones it wants and learns which could be read.
type Set uint32

// The sets. Default is what a collector reads unless told otherwise.
const (
	SetCPU      Set = 1 << iota // cpuacct.usage, cpuacct.stat, cpu.stat
	SetMemory                   // memory.stat, usage, peak, failcnt, events, swap, kmem
	SetPids                     // pids.current, pids.max
	SetIO                       // blkio.throttle.*, io.stat
	SetPSI                      // {cpu,memory,io,irq}.pressure
	SetHugetlb                  // hugetlb.<size>.*
	SetSpec                     // limits, shares, requests
	SetPerCPU                   // cpuacct.usage_percpu (opt-in)
	SetCpuset                   // cpuset.* (opt-in)
	SetNUMA                     // memory.numa_stat (opt-in)
	SetProcs                    // cgroup.procs: number of processes and the first pid
	SetPidsPeak                 // pids.peak, pids.events

	SetDefault = SetCPU | SetMemory | SetPids | SetIO | SetPSI | SetHugetlb | SetSpec | SetProcs | SetPidsPeak
)

// Stats is one reading of one cgroup. Counters are cumulative since the
// cgroup was made and cover its descendants as well. It is meant to be reused:
// slices keep their capacity between readings and belong to the Stats.
type Stats struct {
	// Read holds the sets whose files were there and parsed.
	Read Set

	CPU     CPU
	Memory  Memory
	Pids    Pids
	IO      []DeviceIO
	PSI     PSI
	Hugetlb []Hugetlb
	Spec    Spec
	PerCPU  []uint64 // nanoseconds by CPU number
	Cpuset  Cpuset
	NUMA    []NUMANode
	Procs   Procs

	// buf receives file contents, path the name of a file to open. They are
	// here so that concurrent readings of different groups share nothing.
	buf, path []byte
}

// CPU time and CFS bandwidth. Times in nanoseconds.
type CPU struct {
	Usage, User, System uint64
	// None without bandwidth control in this kernel; 0 without a quota.
	Periods, ThrottledPeriods, ThrottledTime uint64
	BurstPeriods, BurstTime                  uint64
	// CoreSchedForceIdle is v2 core_sched.force_idle_usec, in nanoseconds.
	CoreSchedForceIdle uint64
}

// Memory in bytes and counts of events, hierarchical on both versions
// (v1: the total_ lines of memory.stat) unless it says local.
type Memory struct {
	Usage, Peak, FailCount      uint64 // FailCount: v1 only
	Swap, SwapPeak              uint64
	Kernel                      uint64 // v1 memory.kmem.usage_in_bytes, v2 memory.stat kernel
	Cache, RSS, MappedFile      uint64
	ActiveFile, InactiveFile    uint64
	ActiveAnon, InactiveAnon    uint64
	Unevictable, Shmem, AnonTHP uint64
	FileDirty, FileWriteback    uint64
	Slab, Sock, KernelStack     uint64
	PageFaults, MajorPageFaults uint64
	PgScan, PgSteal             uint64
	RefaultFile, RefaultAnon    uint64
	LocalFaults, LocalMajFaults uint64 // v1 memory.stat pgfault/pgmajfault without total_
	EventsLow, EventsHigh       uint64 // v2 memory.events
	EventsMax, EventsOOM        uint64
	EventsOOMKill               uint64 // v2 memory.events oom_kill; v1 memory.oom_control oom_kill
	EventsOOMGroupKill          uint64
	UnderOOM                    uint64 // v1 memory.oom_control under_oom
}

// Pids of the pids controller. Max is None when unlimited.
type Pids struct {
	Current, Max, Peak uint64
	// EventsMax counts forks refused because of the limit.
	EventsMax uint64
}

// DeviceIO is the block I/O of one device. cost.* exists on v2 only, and
// discards on kernels since 4.19. Times in nanoseconds.
type DeviceIO struct {
	Major, Minor                                 uint32
	ReadBytes, WriteBytes, Reads, Writes         uint64
	DiscardBytes, Discards                       uint64
	SyncBytes, AsyncBytes, TotalBytes            uint64 // v1 only
	SyncOps, AsyncOps, TotalOps                  uint64 // v1 only
	CostUsage, CostWait, CostIndebt, CostInDelay uint64
}

// Pressure is one line pair of a PSI file: total stall time in nanoseconds.
// Full of cpu is None on kernels before 5.13.
type Pressure struct{ Some, Full uint64 }

// PSI of the cgroup, see the kernel's Documentation/accounting/psi.rst.
type PSI struct{ CPU, Memory, IO, IRQ Pressure }

// Hugetlb usage of one page size. MaxUsage is v1 only; FailCount is
// failcnt on v1 and events max on v2. Reserved tells the .rsvd files.
type Hugetlb struct {
	PageSize                   string // as in the file name: "2MB", "1GB"
	Reserved                   bool
	Usage, MaxUsage, FailCount uint64
}

// Spec is what was configured. Unlimited is None.
type Spec struct {
	CPUShares         uint64 // v2: converted from cpu.weight as the kubelet does
	CPUPeriod         uint64 // microseconds
	CPUQuota          uint64 // microseconds per period
	MemoryLimit       uint64
	MemorySwapLimit   uint64 // v1: memory+swap; v2: swap alone, as the file says
	MemoryReservation uint64 // v1 soft limit, v2 memory.low
	MemoryMin         uint64 // v2 memory.min
	MemoryHigh        uint64 // v2 memory.high
	CPUSetCPUs        string
}

// Cpuset of the cpuset controller.
type Cpuset struct {
	CPUs, Mems    string
	MemoryMigrate uint64 // v1 only
}

// NUMANode is one node's part of memory.numa_stat. The counts are pages on
// v1; on v2, where the kernel gives bytes, they are converted to pages.
type NUMANode struct {
	Node                                int
	Total, File, Anon, Unevictable      uint64
	HierFile, HierAnon, HierUnevictable uint64
	HierTotal                           uint64
}

// Procs of cgroup.procs: processes in this very cgroup, not below it.
type Procs struct {
	Count uint64
	// First is the lowest pid, 0 without any.
	First int
}
