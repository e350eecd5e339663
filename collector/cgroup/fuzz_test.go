package cgroup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzParser feeds a parser with anything; it must not panic, must leave the
// slices bounded by the input, and must say the same the second time, when
// line orders have been learned.
func fuzzParser(f *testing.F, parse func(*parser, []byte, *Stats) bool, names ...string) {
	for _, n := range names {
		if text, ok := v2Group[n]; ok {
			f.Add([]byte(text))
		}
		found, err := filepath.Glob("testdata/v1/*" + recordedID + "/" + n)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range found {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	f.Add([]byte("max\n"))
	f.Add([]byte("-1\n"))
	f.Add([]byte("18446744073709551616\n"))
	p := newParser()
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second Stats
		first.Reset()
		second.Reset()
		in := bytes.Clone(b)
		ok := parse(p, b, &first)
		if again := parse(p, b, &second); again != ok || first.CPU != second.CPU || first.Memory != second.Memory || first.PSI != second.PSI {
			t.Fatalf("%q: %v then %v", b, ok, again)
		}
		if !bytes.Equal(in, b) {
			t.Fatal("the input was changed")
		}
		if n := len(first.IO) + len(first.PerCPU) + len(first.NUMA); n > len(b) {
			t.Fatalf("%d entries of %d bytes", n, len(b))
		}
	})
}

func FuzzCPUAcctStat(f *testing.F)   { fuzzParser(f, parseCPUAcctStat, "cpuacct.stat") }
func FuzzCPUStatV1(f *testing.F)     { fuzzParser(f, parseCPUStatV1, "cpu.stat") }
func FuzzCPUStatV2(f *testing.F)     { fuzzParser(f, parseCPUStatV2, "cpu.stat") }
func FuzzPerCPU(f *testing.F)        { fuzzParser(f, parsePerCPU, "cpuacct.usage_percpu") }
func FuzzMemoryStatV1(f *testing.F)  { fuzzParser(f, parseMemoryStatV1, "memory.stat") }
func FuzzMemoryStatV2(f *testing.F)  { fuzzParser(f, parseMemoryStatV2, "memory.stat") }
func FuzzOOMControl(f *testing.F)    { fuzzParser(f, parseOOMControl, "memory.oom_control") }
func FuzzMemoryEvents(f *testing.F)  { fuzzParser(f, parseMemoryEvents, "memory.events") }
func FuzzPidsEvents(f *testing.F)    { fuzzParser(f, parsePidsEvents, "pids.events") }
func FuzzIOStat(f *testing.F)        { fuzzParser(f, parseIOStat, "io.stat") }
func FuzzThrottleBytes(f *testing.F) { fuzzParser(f, parseThrottleBytes, "blkio.throttle.io_service*") }

func FuzzThrottleOps(f *testing.F) { fuzzParser(f, parseThrottleOps, "blkio.throttle.io_serviced*") }
func FuzzNUMAV1(f *testing.F)      { fuzzParser(f, parseNUMAV1, "memory.numa_stat") }
func FuzzNUMAV2(f *testing.F)      { fuzzParser(f, parseNUMAV2, "memory.numa_stat") }
func FuzzCPUMax(f *testing.F)      { fuzzParser(f, parseCPUMax, "cpu.max") }
func FuzzCPUWeight(f *testing.F)   { fuzzParser(f, parseCPUWeight, "cpu.weight") }
func FuzzProcs(f *testing.F)       { fuzzParser(f, parseProcs, "cgroup.procs") }

func FuzzNumber(f *testing.F) {
	fuzzParser(f, func(_ *parser, b []byte, s *Stats) bool { return limit(b, &s.CPU.Usage) }, "memory.limit_in_bytes", "memory.max")
}

func FuzzPressure(f *testing.F) {
	fuzzParser(f, func(_ *parser, b []byte, s *Stats) bool { return parsePressure(b, &s.PSI.CPU) }, "*.pressure", "cpu.pressure", "irq.pressure")
}

func FuzzCpuset(f *testing.F) {
	fuzzParser(f, parseCpusetCPUs, "cpuset.cpus", "cpuset.cpus.effective")
}

func FuzzMounts(f *testing.F) {
	f.Add("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n")
	f.Add(`36 31 0:33 / /a\040b rw shared:1 - cgroup2 cgroup2 rw`)
	f.Fuzz(func(t *testing.T, text string) {
		if n := len(parseMounts(text)); n > strings.Count(text, "\n")+1 {
			t.Fatalf("%d mounts", n)
		}
	})
}

func FuzzHugeSources(f *testing.F) {
	f.Add("hugetlb.2MB.rsvd.usage_in_bytes", false)
	f.Add("hugetlb.1GB.current", true)
	f.Fuzz(func(t *testing.T, name string, v2 bool) {
		for _, h := range hugeSources([]string{name}, 0, v2) {
			if h.usage.name != name {
				t.Fatalf("%q is not %q", h.usage.name, name)
			}
		}
	})
}
