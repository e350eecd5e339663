package cgroup

import "slices"

// parser holds what parsing remembers between files. Safe for concurrent use.
type parser struct {
	cpu      cpuTables
	mem      memTables
	maxEvent *keyTable
	events   *keyTable
}

func newParser() *parser {
	return &parser{
		cpu: newCPUTables(), mem: newMemTables(),
		maxEvent: newKeyTable("max"),
		events:   newKeyTable("populated", "frozen"),
	}
}

// sourceKind says when a source is read.
type sourceKind uint8

const (
	// eachTime: at every reading, through a kept descriptor.
	eachTime sourceKind = iota
	// seldom: configuration, which is read when it was written to or has not
	// been looked at for a while. No descriptor is kept.
	seldom
	// fresh: at every reading, but opened anew (see sourcesV1).
	fresh
	// ifNoIO: like eachTime, but only while the sources before it saw no
	// block device, and after that only while it is the one that does.
	ifNoIO
	// The others are like eachTime, but left out when they cannot have
	// changed; see superfluous.
	//
	// ifQuota: without a CPU quota the file is all zeros.
	ifQuota
	// ifLimited: without a memory limit nothing can fail because of it.
	ifLimited
	// ifRan: nothing has run since, the CPU time is still the same.
	ifRan
	// ifRose: nothing has run since and memory in use is below its peak.
	// Reset from outside, the peak is noticed with the configuration.
	ifRose
	// ifKilled: nothing has run since, so nobody waits for memory and nobody
	// was killed: dying takes CPU time too.
	ifKilled
	// ifIO: the source before it names no device.
	ifIO
)

// source is one kind of file to read.
type source struct {
	ctrl  controller
	name  string
	set   Set
	kind  sourceKind
	parse func(*parser, []byte, *Stats) bool
	// unless names a source that makes this one superfluous.
	unless string
	// settles: what it says changes while the group runs and shortly after (a
	// loop device's I/O, memory given back), or is so little that it can wait
	// for the next look at the configuration. On v1 nothing is written back on
	// behalf of a group. A stall may outlast the running by far, but it does
	// not begin without, and while it lasts the pressure changes: only pressure
	// that stands still has settled.
	settles bool

	// Filled in by the layout: where the controller is mounted and which
	// source unless means (-1: none).
	hier     int
	unlessAt int
}

// sourcesV1 are the files of v1 controllers. cgroup.procs is opened anew each
// time because v1 keeps the list of a descriptor for another second after
// every reading of it: at an interval of 1 s it would never change again.
var sourcesV1 = []source{
	{ctrl: ctrlCPUAcct, name: "cpuacct.usage", set: SetCPU, parse: parseCPUUsage},
	{ctrl: ctrlCPUAcct, name: "cpuacct.stat", set: SetCPU, kind: ifRan, parse: parseCPUAcctStat},
	{ctrl: ctrlCPU, name: "cpu.stat", set: SetCPU, kind: ifQuota, parse: parseCPUStatV1},
	{ctrl: ctrlMemory, name: "memory.usage_in_bytes", set: SetMemory, parse: parseMemoryUsage},
	{ctrl: ctrlMemory, name: "memory.stat", set: SetMemory, parse: parseMemoryStatV1},
	{ctrl: ctrlMemory, name: "memory.max_usage_in_bytes", set: SetMemory, kind: ifRose, parse: parseMemoryPeak},
	{ctrl: ctrlMemory, name: "memory.failcnt", set: SetMemory, kind: ifLimited, parse: parseMemoryFailCount},
	{ctrl: ctrlMemory, name: "memory.kmem.usage_in_bytes", set: SetMemory, settles: true, parse: parseKernelMemory},
	{ctrl: ctrlMemory, name: "memory.oom_control", set: SetMemory, kind: ifKilled, parse: parseOOMControl},
	{ctrl: ctrlBlkio, name: "blkio.throttle.io_service_bytes_recursive", set: SetIO, settles: true, parse: parseThrottleBytes},
	{ctrl: ctrlBlkio, name: "blkio.throttle.io_serviced_recursive", set: SetIO, kind: ifIO, settles: true, parse: parseThrottleOps},
	{
		ctrl: ctrlBlkio, name: "blkio.throttle.io_service_bytes", set: SetIO, settles: true, parse: parseThrottleBytes,
		unless: "blkio.throttle.io_service_bytes_recursive",
	},
	{
		ctrl: ctrlBlkio, name: "blkio.throttle.io_serviced", set: SetIO, settles: true, parse: parseThrottleOps,
		unless: "blkio.throttle.io_serviced_recursive",
	},
	{ctrl: ctrlBlkio, name: "blkio.bfq.io_service_bytes_recursive", set: SetIO, kind: ifNoIO, settles: true, parse: parseThrottleBytes},
	{ctrl: ctrlBlkio, name: "blkio.bfq.io_serviced_recursive", set: SetIO, kind: ifNoIO, settles: true, parse: parseThrottleOps},
	{ctrl: ctrlCPUAcct, name: "cpuacct.usage_percpu", set: SetPerCPU, parse: parsePerCPU},
	{ctrl: ctrlMemory, name: "memory.numa_stat", set: SetNUMA, parse: parseNUMAV1},
	{ctrl: ctrlCPU, name: "cpu.shares", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.CPUShares)
	}},
	{ctrl: ctrlCPU, name: "cpu.cfs_period_us", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.CPUPeriod)
	}},
	{ctrl: ctrlCPU, name: "cpu.cfs_quota_us", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.CPUQuota)
	}},
	{ctrl: ctrlMemory, name: "memory.limit_in_bytes", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return limit(b, &s.Spec.MemoryLimit)
	}},
	{ctrl: ctrlMemory, name: "memory.memsw.limit_in_bytes", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return limit(b, &s.Spec.MemorySwapLimit)
	}},
	{ctrl: ctrlMemory, name: "memory.soft_limit_in_bytes", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return limit(b, &s.Spec.MemoryReservation)
	}},
	{ctrl: ctrlCpuset, name: "cpuset.effective_cpus", set: SetCpuset, kind: seldom, parse: parseCpusetCPUs},
	{ctrl: ctrlCpuset, name: "cpuset.effective_mems", set: SetCpuset, kind: seldom, parse: parseCpusetMems},
	{ctrl: ctrlCpuset, name: "cpuset.memory_migrate", set: SetCpuset, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Cpuset.MemoryMigrate)
	}},
}

// sourcesV2 are the files of v2 controllers. On a hybrid host only those of
// controllers that v1 does not have are read.
var sourcesV2 = []source{
	{ctrl: ctrlCPU, name: "cpu.stat", set: SetCPU, parse: parseCPUStatV2},
	{ctrl: ctrlMemory, name: "memory.current", set: SetMemory, parse: parseMemoryUsage},
	{ctrl: ctrlMemory, name: "memory.stat", set: SetMemory, parse: parseMemoryStatV2},
	{ctrl: ctrlMemory, name: "memory.peak", set: SetMemory, kind: ifRose, parse: parseMemoryPeak},
	{ctrl: ctrlMemory, name: "memory.events", set: SetMemory, parse: parseMemoryEvents},
	{ctrl: ctrlMemory, name: "memory.swap.current", set: SetMemory, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Memory.Swap)
	}},
	{ctrl: ctrlMemory, name: "memory.swap.peak", set: SetMemory, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Memory.SwapPeak)
	}},
	{ctrl: ctrlBlkio, name: "io.stat", set: SetIO, parse: parseIOStat},
	{ctrl: ctrlMemory, name: "memory.numa_stat", set: SetNUMA, parse: parseNUMAV2},
	{ctrl: ctrlCPU, name: "cpu.weight", set: SetSpec, kind: seldom, parse: parseCPUWeight},
	{ctrl: ctrlCPU, name: "cpu.max", set: SetSpec, kind: seldom, parse: parseCPUMax},
	{ctrl: ctrlMemory, name: "memory.max", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.MemoryLimit)
	}},
	{ctrl: ctrlMemory, name: "memory.swap.max", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.MemorySwapLimit)
	}},
	{ctrl: ctrlMemory, name: "memory.low", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.MemoryReservation)
	}},
	{ctrl: ctrlMemory, name: "memory.min", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.MemoryMin)
	}},
	{ctrl: ctrlMemory, name: "memory.high", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Spec.MemoryHigh)
	}},
	{ctrl: ctrlCpuset, name: "cpuset.cpus.effective", set: SetCpuset, kind: seldom, parse: parseCpusetCPUs},
	{ctrl: ctrlCpuset, name: "cpuset.mems.effective", set: SetCpuset, kind: seldom, parse: parseCpusetMems},
}

// sourcesBoth are the same on v1 and v2.
var sourcesBoth = []source{
	{ctrl: ctrlPids, name: "pids.current", set: SetPids, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Pids.Current)
	}},
	{ctrl: ctrlPids, name: "pids.peak", set: SetPidsPeak, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Pids.Peak)
	}},
	{ctrl: ctrlPids, name: "pids.events", set: SetPidsPeak, parse: parsePidsEvents},
	{ctrl: ctrlPids, name: "pids.max", set: SetPids, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return number(b, &s.Pids.Max)
	}},
	{ctrl: ctrlCpuset, name: "cpuset.cpus", set: SetSpec, kind: seldom, parse: func(_ *parser, b []byte, s *Stats) bool {
		return text(b, &s.Spec.CPUSetCPUs)
	}},
}

// sourcesNative are files of the cgroup2 hierarchy that need no controller
// there, so that hybrid hosts have them as well.
var sourcesNative = []source{
	{ctrl: ctrlUnified, name: "cpu.stat", set: SetCPU, parse: parseCPUStatV2, unless: "cpuacct.usage"},
	{ctrl: ctrlUnified, name: "cpu.pressure", set: SetPSI, settles: true, parse: func(_ *parser, b []byte, s *Stats) bool {
		return parsePressure(b, &s.PSI.CPU)
	}},
	{ctrl: ctrlUnified, name: "memory.pressure", set: SetPSI, settles: true, parse: func(_ *parser, b []byte, s *Stats) bool {
		return parsePressure(b, &s.PSI.Memory)
	}},
	{ctrl: ctrlUnified, name: "io.pressure", set: SetPSI, settles: true, parse: func(_ *parser, b []byte, s *Stats) bool {
		return parsePressure(b, &s.PSI.IO)
	}},
	{ctrl: ctrlUnified, name: "irq.pressure", set: SetPSI, settles: true, parse: func(_ *parser, b []byte, s *Stats) bool {
		return parsePressure(b, &s.PSI.IRQ)
	}},
}

// buildSources lists what there is to read in a layout.
func buildSources(l *layout) []source {
	var out []source
	add := func(table []source, v2 bool) {
		for _, s := range table {
			h := l.find(s.ctrl)
			if h < 0 || s.ctrl != ctrlUnified && l.hiers[h].v2 != v2 {
				continue
			}
			// Pure v2 has cpu.stat from the cpu controller's line already.
			if s.ctrl == ctrlUnified && s.unless != "" && l.hiers[h].ctrls&ctrlCPU != 0 {
				continue
			}
			s.hier, s.unlessAt = h, -1
			if s.unless != "" {
				s.unlessAt = slices.IndexFunc(out, func(o source) bool { return o.name == s.unless })
			}
			out = append(out, s)
		}
	}
	add(sourcesV1, false)
	add(sourcesV2, true)
	add(sourcesBoth, false)
	add(sourcesBoth, true)
	add(sourcesNative, true)
	return append(out, procsSources(l)...)
}

// procsSources lists cgroup.procs of every hierarchy that may have it, the
// likeliest first: a group need not exist in all of them.
func procsSources(l *layout) []source {
	var out []source
	for _, h := range l.primary {
		kind := fresh
		if l.hiers[h].v2 {
			kind = eachTime
		}
		out = append(out, source{
			ctrl: l.hiers[h].ctrls, name: procsFile, set: SetProcs, kind: kind, parse: parseProcs,
			hier: h, unlessAt: -1,
		})
	}
	return out
}

func parseMemoryUsage(_ *parser, b []byte, s *Stats) bool     { return number(b, &s.Memory.Usage) }
func parseMemoryPeak(_ *parser, b []byte, s *Stats) bool      { return number(b, &s.Memory.Peak) }
func parseMemoryFailCount(_ *parser, b []byte, s *Stats) bool { return number(b, &s.Memory.FailCount) }
func parseKernelMemory(_ *parser, b []byte, s *Stats) bool    { return number(b, &s.Memory.Kernel) }
func parseCpusetCPUs(_ *parser, b []byte, s *Stats) bool      { return text(b, &s.Cpuset.CPUs) }
func parseCpusetMems(_ *parser, b []byte, s *Stats) bool      { return text(b, &s.Cpuset.Mems) }
