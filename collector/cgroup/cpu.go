package cgroup

// userHZ is the unit of cpuacct.stat: the kernel's USER_HZ, 100 on every
// architecture that runs containers.
const (
	userHZ    = 100
	nsPerTick = 1_000_000_000 / userHZ
	nsPerUsec = 1000
)

// cpuTables read the flat keyed files about CPU time.
type cpuTables struct {
	acct, statV1, statV2 *keyTable
}

func newCPUTables() cpuTables {
	return cpuTables{
		acct:   newKeyTable("user", "system"),
		statV1: newKeyTable("nr_periods", "nr_throttled", "throttled_time", "nr_bursts", "burst_time"),
		statV2: newKeyTable("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled",
			"throttled_usec", "nr_bursts", "burst_usec", "core_sched.force_idle_usec"),
	}
}

// scale multiplies a value that exists.
func scale(v, by uint64) uint64 {
	if v == None {
		return None
	}
	return v * by
}

// parseCPUUsage reads v1 cpuacct.usage: nanoseconds.
func parseCPUUsage(_ *parser, b []byte, s *Stats) bool { return number(b, &s.CPU.Usage) }

// parseCPUAcctStat reads v1 cpuacct.stat:
//
//	user 2934
//	system 1021
//
// The kernel scales these tick samples so that they add up to the measured
// run time, which cpuacct.usage_user and _sys are not.
func parseCPUAcctStat(p *parser, b []byte, s *Stats) bool {
	v := [2]uint64{None, None}
	ok := p.cpu.acct.parse(b, v[:])
	if ok {
		s.CPU.User, s.CPU.System = scale(v[0], nsPerTick), scale(v[1], nsPerTick)
	}
	return ok
}

// parseCPUStatV1 reads v1 cpu.stat: throttled_time and burst_time in nanoseconds.
func parseCPUStatV1(p *parser, b []byte, s *Stats) bool {
	v := [5]uint64{None, None, None, None, None}
	ok := p.cpu.statV1.parse(b, v[:])
	if ok {
		c := &s.CPU
		c.Periods, c.ThrottledPeriods, c.ThrottledTime = v[0], v[1], v[2]
		c.BurstPeriods, c.BurstTime = v[3], v[4]
	}
	return ok
}

// parseCPUStatV2 reads v2 cpu.stat, whose times are microseconds. The
// bandwidth lines exist only where the cpu controller is enabled; what the
// file does not have keeps its value, because on a hybrid host that may come
// from v1.
func parseCPUStatV2(p *parser, b []byte, s *Stats) bool {
	v := [9]uint64{None, None, None, None, None, None, None, None, None}
	ok := p.cpu.statV2.parse(b, v[:])
	if !ok {
		return false
	}
	c := &s.CPU
	keep(&c.Usage, scale(v[0], nsPerUsec))
	keep(&c.User, scale(v[1], nsPerUsec))
	keep(&c.System, scale(v[2], nsPerUsec))
	keep(&c.Periods, v[3])
	keep(&c.ThrottledPeriods, v[4])
	keep(&c.ThrottledTime, scale(v[5], nsPerUsec))
	keep(&c.BurstPeriods, v[6])
	keep(&c.BurstTime, scale(v[7], nsPerUsec))
	keep(&c.CoreSchedForceIdle, scale(v[8], nsPerUsec))
	return true
}

// keep stores a value unless it is None.
func keep(dst *uint64, v uint64) {
	if v != None {
		*dst = v
	}
}

// parsePerCPU reads v1 cpuacct.usage_percpu: "8123 9812 " in nanoseconds.
func parsePerCPU(_ *parser, b []byte, s *Stats) bool {
	s.PerCPU = s.PerCPU[:0]
	for {
		var f []byte
		f, b = nextField(b)
		if len(f) == 0 {
			return true
		}
		v, n := leadingUint(f)
		if n != len(f) {
			s.PerCPU = s.PerCPU[:0]
			return false
		}
		s.PerCPU = append(s.PerCPU, v)
	}
}
