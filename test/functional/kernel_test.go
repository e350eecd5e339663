//go:build system

package functional

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// files are the contents of a cgroup's files at one time, by "controller:file".
type files map[string]string

// snapshot reads the files that the expectations name.
func snapshot(groups []*group) map[*group]files {
	all := make(map[*group]files, len(groups))
	for _, g := range groups {
		f := files{}
		for _, name := range expectedFiles() {
			controller, file, _ := strings.Cut(name, ":")
			if content, err := os.ReadFile(filepath.Join(g.dir(controller), file)); err == nil {
				f[name] = string(content)
			}
		}
		all[g] = f
	}
	return all
}

// source reads one value out of the files of a cgroup.
type source func(files) (float64, bool)

// number is the file's only number; div converts it to the unit of the family.
func number(name string, div float64) source {
	return func(f files) (float64, bool) { return parse(strings.TrimSpace(f[name]), div) }
}

// line is the number behind a key in a file of "key number" lines.
func line(name, key string, div float64) source {
	return func(f files) (float64, bool) {
		for l := range strings.Lines(f[name]) {
			if k, v, _ := strings.Cut(strings.TrimSpace(l), " "); k == key {
				return parse(v, div)
			}
		}
		return 0, false
	}
}

// stall is the total of a line of a pressure file, in seconds.
func stall(name, kind string) source {
	return func(f files) (float64, bool) {
		for l := range strings.Lines(f[name]) {
			if strings.HasPrefix(l, kind+" ") {
				_, total, _ := strings.Cut(strings.TrimSpace(l), "total=")
				return parse(total, 1e6)
			}
		}
		return 0, false
	}
}

// minus is a difference that does not go below 0.
func minus(a, b source) source {
	return func(f files) (float64, bool) {
		x, okX := a(f)
		y, okY := b(f)
		return max(x-y, 0), okX && okY
	}
}

// field is the n-th number of a file with one line.
func field(name string, n int) source {
	return func(f files) (float64, bool) {
		fields := strings.Fields(f[name])
		if n >= len(fields) {
			return 0, false
		}
		return parse(fields[n], 1)
	}
}

// deviceV1 is the number of an operation of the device in a blkio file.
func deviceV1(name, operation string) source {
	return func(f files) (float64, bool) {
		for l := range strings.Lines(f[name]) {
			if p := strings.Fields(l); len(p) == 3 && p[0] == diskNumber && p[1] == operation {
				return parse(p[2], 1)
			}
		}
		return 0, false
	}
}

// deviceV2 is a number of the device in io.stat.
func deviceV2(name, key string) source {
	return func(f files) (float64, bool) {
		for l := range strings.Lines(f[name]) {
			p := strings.Fields(l)
			if len(p) == 0 || p[0] != diskNumber {
				continue
			}
			for _, pair := range p[1:] {
				if v, ok := strings.CutPrefix(pair, key+"="); ok {
					return parse(v, 1)
				}
			}
		}
		return 0, false
	}
}

func parse(s string, div float64) (float64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return float64(n) / div, err == nil
}

// expectation says which file a family's value comes from.
type expectation struct {
	family string
	rest   string // the other labels of the series, as in key
	// counter values only grow; the others are compared while nothing moves.
	counter bool
	// kinds of containers that have the value; empty for all.
	kinds  string
	v1, v2 source
}

// expectations cover every family that is one value of one file.
func expectations() []expectation {
	const ms = "memory:memory.stat"
	const stat2 = ":memory.stat"
	const bytes1, ops1 = "blkio:blkio.throttle.io_service_bytes_recursive", "blkio:blkio.throttle.io_serviced_recursive"
	disk := "device=" + diskPath
	blkio := func(operation string) string {
		major, minor, _ := strings.Cut(diskNumber, ":")
		return disk + ",major=" + major + ",minor=" + minor + ",operation=" + operation
	}
	all := []expectation{
		{"container_cpu_usage_seconds_total", "cpu=total", true, "", number("cpuacct:cpuacct.usage", 1e9), line(":cpu.stat", "usage_usec", 1e6)},
		{"container_cpu_user_seconds_total", "", true, "", line("cpuacct:cpuacct.stat", "user", 100), line(":cpu.stat", "user_usec", 1e6)},
		{"container_cpu_system_seconds_total", "", true, "", line("cpuacct:cpuacct.stat", "system", 100), line(":cpu.stat", "system_usec", 1e6)},
		{"container_cpu_cfs_periods_total", "", true, "quota", line("cpu:cpu.stat", "nr_periods", 1), line(":cpu.stat", "nr_periods", 1)},
		{"container_cpu_cfs_throttled_periods_total", "", true, "quota", line("cpu:cpu.stat", "nr_throttled", 1), line(":cpu.stat", "nr_throttled", 1)},
		{"container_cpu_cfs_throttled_seconds_total", "", true, "quota", line("cpu:cpu.stat", "throttled_time", 1e9), line(":cpu.stat", "throttled_usec", 1e6)},
		{"container_spec_cpu_period", "", false, "", number("cpu:cpu.cfs_period_us", 1), field(":cpu.max", 1)},
		{"container_spec_cpu_quota", "", false, "quota", number("cpu:cpu.cfs_quota_us", 1), field(":cpu.max", 0)},

		{"container_memory_usage_bytes", "", false, "", number("memory:memory.usage_in_bytes", 1), number(":memory.current", 1)},
		{"container_memory_max_usage_bytes", "", true, "", number("memory:memory.max_usage_in_bytes", 1), number(":memory.peak", 1)},
		{
			"container_memory_working_set_bytes", "", false, "",
			minus(number("memory:memory.usage_in_bytes", 1), line(ms, "total_inactive_file", 1)),
			minus(number(":memory.current", 1), line(stat2, "inactive_file", 1)),
		},
		{"container_memory_rss", "", false, "", line(ms, "total_rss", 1), line(stat2, "anon", 1)},
		{"container_memory_cache", "", false, "", line(ms, "total_cache", 1), line(stat2, "file", 1)},
		{"container_memory_mapped_file", "", false, "", line(ms, "total_mapped_file", 1), line(stat2, "file_mapped", 1)},
		{"container_memory_total_active_file_bytes", "", false, "", line(ms, "total_active_file", 1), line(stat2, "active_file", 1)},
		{"container_memory_total_inactive_file_bytes", "", false, "", line(ms, "total_inactive_file", 1), line(stat2, "inactive_file", 1)},
		{"container_memory_failcnt", "", true, "", number("memory:memory.failcnt", 1), nil},
		{"container_memory_failures_total", "failure_type=pgfault,scope=hierarchy", true, "", line(ms, "total_pgfault", 1), line(stat2, "pgfault", 1)},
		{"container_memory_failures_total", "failure_type=pgmajfault,scope=hierarchy", true, "", line(ms, "total_pgmajfault", 1), line(stat2, "pgmajfault", 1)},
		{"container_memory_failures_total", "failure_type=pgfault,scope=container", true, "", line(ms, "pgfault", 1), nil},
		{"container_memory_failures_total", "failure_type=pgmajfault,scope=container", true, "", line(ms, "pgmajfault", 1), nil},
		{"container_memory_events_max_total", "", true, "", nil, line(":memory.events", "max", 1)},
		{"container_memory_events_high_total", "", true, "", nil, line(":memory.events", "high", 1)},
		{"container_memory_events_oom_kill_total", "", true, "", line("memory:memory.oom_control", "oom_kill", 1), line(":memory.events", "oom_kill", 1)},
		{"container_memory_kernel_usage", "", false, "", number("memory:memory.kmem.usage_in_bytes", 1), line(stat2, "kernel", 1)},
		{"container_memory_file_dirty_bytes", "", false, "", line(ms, "total_dirty", 1), line(stat2, "file_dirty", 1)},
		{"container_spec_memory_limit_bytes", "", false, "limit oom", number("memory:memory.limit_in_bytes", 1), number(":memory.max", 1)},

		{"container_threads", "", false, "", number("pids:pids.current", 1), number(":pids.current", 1)},
		{"container_threads_max", "", false, "pids", number("pids:pids.max", 1), number(":pids.max", 1)},

		{"container_fs_writes_bytes_total", disk, true, "io", deviceV1(bytes1, "Write"), deviceV2(":io.stat", "wbytes")},
		{"container_fs_writes_total", disk, true, "io", deviceV1(ops1, "Write"), deviceV2(":io.stat", "wios")},
		{"container_fs_reads_bytes_total", disk, true, "io", deviceV1(bytes1, "Read"), deviceV2(":io.stat", "rbytes")},
		{"container_blkio_device_usage_total", blkio("Write"), true, "io", deviceV1(bytes1, "Write"), deviceV2(":io.stat", "wbytes")},
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		for word, kind := range map[string]string{"waiting": "some", "stalled": "full"} {
			all = append(all, expectation{
				"container_pressure_" + resource + "_" + word + "_seconds_total", "", true, "",
				stall("unified:"+resource+".pressure", kind), stall(":"+resource+".pressure", kind),
			})
		}
	}
	return all
}

// of is the source for the kernel that runs, nil when it has none.
func (e expectation) of() source {
	if unified() {
		return e.v2
	}
	return e.v1
}

// applies tells whether containers of that kind have the value.
func (e expectation) applies(kind string) bool {
	return e.of() != nil && (e.kinds == "" || strings.Contains(" "+e.kinds+" ", " "+kind+" "))
}

// expectedFiles are the files that the expectations read.
func expectedFiles() []string {
	if unified() {
		return []string{
			":cpu.stat", ":cpu.max", ":memory.current", ":memory.peak", ":memory.stat", ":memory.events", ":memory.max",
			":pids.current", ":pids.max", ":io.stat", ":cpu.pressure", ":memory.pressure", ":io.pressure",
		}
	}
	return []string{
		"cpuacct:cpuacct.usage", "cpuacct:cpuacct.stat", "cpu:cpu.stat", "cpu:cpu.cfs_period_us", "cpu:cpu.cfs_quota_us",
		"memory:memory.usage_in_bytes", "memory:memory.max_usage_in_bytes", "memory:memory.stat", "memory:memory.failcnt",
		"memory:memory.oom_control", "memory:memory.kmem.usage_in_bytes", "memory:memory.limit_in_bytes",
		"pids:pids.current", "pids:pids.max",
		"blkio:blkio.throttle.io_service_bytes_recursive", "blkio:blkio.throttle.io_serviced_recursive",
		"unified:cpu.pressure", "unified:memory.pressure", "unified:io.pressure",
	}
}
