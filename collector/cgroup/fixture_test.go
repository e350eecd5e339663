package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recordedID is the group in testdata/v1, recorded on Linux 6.18: a shell
// that computed, wrote and read a file under a quota of half a CPU.
const recordedID = "/kubepods/burstable/podc8e8ba4d-1b35-4e0c-9f8e-3b6cf7a6a001/" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const everySet = SetDefault | SetPerCPU | SetCpuset | SetNUMA

func TestReadRecordedV1(t *testing.T) {
	tree := openTree(t, Options{Root: "testdata/v1"})
	require.Equal(t, V1, tree.Version())
	require.Equal(t, []string{"/", "/kubepods", "/kubepods/burstable", filepath.Dir(recordedID), recordedID}, ids(tree.Groups(nil)))
	var s Stats
	require.NoError(t, mustGet(t, tree, recordedID).Read(&s, everySet))
	require.Equal(t, everySet&^SetPSI&^SetHugetlb, s.Read)
	require.Equal(t, CPU{
		Usage: 1358083756, User: 1240000000, System: 110000000,
		Periods: 30, ThrottledPeriods: 25, ThrottledTime: 570520141, BurstPeriods: 0, BurstTime: 0, CoreSchedForceIdle: None,
	}, s.CPU)
	want := noMemory
	want.Usage, want.Peak, want.FailCount, want.Kernel = s.Memory.Usage, 51716096, 0, s.Memory.Kernel
	want.Cache, want.RSS, want.AnonTHP, want.Shmem, want.MappedFile, want.Swap = 475136, 139264, 0, 0, 0, 0
	want.FileDirty, want.FileWriteback, want.RefaultAnon, want.RefaultFile = 24576, 0, 0, 94
	want.InactiveAnon, want.ActiveAnon, want.InactiveFile, want.ActiveFile, want.Unevictable = 135168, 4096, 4096, 471040, 0
	want.PageFaults, want.MajorPageFaults, want.LocalFaults, want.LocalMajFaults = 13331, 1, 13331, 1
	want.EventsOOMKill, want.UnderOOM = 0, 0
	require.Equal(t, want, s.Memory)
	require.NotEqual(t, None, s.Memory.Usage)
	require.NotEqual(t, None, s.Memory.Kernel)
	require.Equal(t, Pids{Current: 2, Max: 64, Peak: s.Pids.Peak, EventsMax: 0}, s.Pids)
	require.Len(t, s.IO, 1)
	d := s.IO[0]
	require.Equal(t, []uint64{254, 0, 31924224, 31457280, 63381504, 0, 63381504, 0},
		[]uint64{uint64(d.Major), uint64(d.Minor), d.ReadBytes, d.WriteBytes, d.SyncBytes, d.AsyncBytes, d.TotalBytes, d.DiscardBytes})
	require.Equal(t, d.TotalOps, d.Reads+d.Writes)
	require.Equal(t, None, d.CostUsage)
	require.Equal(t, Spec{
		CPUShares: 1024, CPUPeriod: 100000, CPUQuota: 50000, MemoryLimit: 268435456, MemorySwapLimit: None,
		MemoryReservation: None, MemoryMin: None, MemoryHigh: None, CPUSetCPUs: "0-1",
	}, s.Spec)
	require.Equal(t, Cpuset{CPUs: "0-1", Mems: "0", MemoryMigrate: 0}, s.Cpuset)
	require.Equal(t, []NUMANode{{
		Node: 0, Total: 150, File: 116, Anon: 34, HierTotal: 150, HierFile: 116, HierAnon: 34,
	}}, s.NUMA)
	require.Len(t, s.PerCPU, 2)
	require.Equal(t, s.CPU.Usage, s.PerCPU[0]+s.PerCPU[1])
	require.Equal(t, Procs{Count: 2, First: 19780}, s.Procs)
}

// v2Group has the files of a v2 group as the kernel's
// Documentation/admin-guide/cgroup-v2.rst tells them.
var v2Group = map[string]string{
	"cgroup.controllers":  "cpuset cpu io memory hugetlb pids\n",
	"cgroup.events":       "populated 1\nfrozen 0\n",
	"cgroup.procs":        "812\n77\n0\n",
	"cpu.stat":            "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\ncore_sched.force_idle_usec 4\nnr_periods 10\nnr_throttled 2\nthrottled_usec 700\nnr_bursts 1\nburst_usec 9\n",
	"cpu.max":             "50000 100000\n",
	"cpu.weight":          "100\n",
	"cpu.pressure":        "some avg10=0.00 avg60=1.00 avg300=0.00 total=11\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",
	"memory.pressure":     "some avg10=0.00 avg60=0.00 avg300=0.00 total=21\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=22\n",
	"io.pressure":         "some avg10=99.99 avg60=0.00 avg300=0.00 total=31\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=32\n",
	"irq.pressure":        "full avg10=0.00 avg60=0.00 avg300=0.00 total=42\n",
	"memory.current":      "1048576\n",
	"memory.peak":         "2097152\n",
	"memory.swap.current": "4096\n",
	"memory.swap.peak":    "8192\n",
	"memory.events":       "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
	"memory.stat": "anon 101\nfile 102\nkernel 103\nkernel_stack 104\npagetables 0\nsock 105\nshmem 106\nfile_mapped 107\nfile_dirty 108\n" +
		"file_writeback 109\nanon_thp 110\ninactive_anon 111\nactive_anon 112\ninactive_file 113\nactive_file 114\nunevictable 115\nslab_reclaimable 1\n" +
		"slab_unreclaimable 2\nslab 116\nworkingset_refault_anon 117\nworkingset_refault_file 118\npgscan 119\npgsteal 120\npgfault 121\npgmajfault 122\n",
	"memory.max":               "max\n",
	"memory.high":              "33554432\n",
	"memory.low":               "16777216\n",
	"memory.min":               "0\n",
	"memory.swap.max":          "0\n",
	"memory.numa_stat":         "anon N0=4096 N1=8192\nfile N0=0 N1=4096\nkernel_stack N0=1 N1=1\nunevictable N0=0 N1=0\n",
	"pids.current":             "3\n",
	"pids.max":                 "max\n",
	"pids.peak":                "7\n",
	"pids.events":              "max 2\n",
	"io.stat":                  "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=5 dios=6 cost.vrate=100.00 cost.usage=7\n8:0\n",
	"hugetlb.2MB.current":      "2097152\n",
	"hugetlb.2MB.events":       "max 3\n",
	"hugetlb.2MB.events.local": "max 3\n",
	"hugetlb.2MB.max":          "max\n",
	"hugetlb.2MB.rsvd.current": "0\n",
	"hugetlb.2MB.rsvd.max":     "max\n",
	"cpuset.cpus":              "\n",
	"cpuset.cpus.effective":    "0-3\n",
	"cpuset.mems.effective":    "0-1\n",
}

// v2Tree is a v2 hierarchy with a root, which has few files, and one group.
func v2Tree(t testing.TB, id string) string {
	files := map[string]string{
		"cgroup.controllers": v2Group["cgroup.controllers"], "cgroup.procs": "1\n",
		"cpu.stat": "usage_usec 9000\nuser_usec 8000\nsystem_usec 1000\nnice_usec 0\n",
	}
	for name, text := range v2Group {
		files[id[1:]+"/"+name] = text
	}
	return writeTree(t, files)
}

func TestReadV2(t *testing.T) {
	tree := openTree(t, Options{Root: v2Tree(t, "/a.slice")})
	require.Equal(t, V2, tree.Version())
	var s Stats
	require.NoError(t, mustGet(t, tree, "/a.slice").Read(&s, everySet))
	require.Equal(t, everySet&^SetPerCPU, s.Read)
	require.Equal(t, CPU{
		Usage: 5000e3, User: 3000e3, System: 2000e3, Periods: 10, ThrottledPeriods: 2, ThrottledTime: 700e3,
		BurstPeriods: 1, BurstTime: 9e3, CoreSchedForceIdle: 4e3,
	}, s.CPU)
	require.Equal(t, Memory{
		Usage: 1048576, Peak: 2097152, FailCount: None, Swap: 4096, SwapPeak: 8192, Kernel: 103, Cache: 102, RSS: 101, MappedFile: 107,
		ActiveFile: 114, InactiveFile: 113, ActiveAnon: 112, InactiveAnon: 111, Unevictable: 115, Shmem: 106, AnonTHP: 110,
		FileDirty: 108, FileWriteback: 109, Slab: 116, Sock: 105, KernelStack: 104, PageFaults: 121, MajorPageFaults: 122,
		PgScan: 119, PgSteal: 120, RefaultFile: 118, RefaultAnon: 117, LocalFaults: None, LocalMajFaults: None,
		EventsLow: 1, EventsHigh: 2, EventsMax: 3, EventsOOM: 4, EventsOOMKill: 5, EventsOOMGroupKill: 6, UnderOOM: None,
	}, s.Memory)
	require.Equal(t, Pids{Current: 3, Max: None, Peak: 7, EventsMax: 2}, s.Pids)
	first := noDevice
	first.Major, first.Minor, first.ReadBytes, first.WriteBytes, first.Reads, first.Writes = 8, 16, 1459200, 314773504, 192, 353
	first.DiscardBytes, first.Discards, first.CostUsage = 5, 6, 7e3
	require.Equal(t, []DeviceIO{first}, s.IO)
	require.Equal(t, PSI{
		CPU: Pressure{11e3, 12e3}, Memory: Pressure{21e3, 22e3}, IO: Pressure{31e3, 32e3}, IRQ: Pressure{None, 42e3},
	}, s.PSI)
	require.Equal(t, []Hugetlb{
		{PageSize: "2MB", Usage: 2097152, MaxUsage: None, FailCount: 3},
		{PageSize: "2MB", Reserved: true, Usage: 0, MaxUsage: None, FailCount: None},
	}, s.Hugetlb)
	require.Equal(t, Spec{
		CPUShares: 2 + 99*262142/9999, CPUPeriod: 100000, CPUQuota: 50000, MemoryLimit: None, MemorySwapLimit: 0,
		MemoryReservation: 16777216, MemoryMin: 0, MemoryHigh: 33554432,
	}, s.Spec)
	require.Equal(t, Cpuset{CPUs: "0-3", Mems: "0-1", MemoryMigrate: None}, s.Cpuset)
	page := uint64(os.Getpagesize())
	require.Equal(t, 4096/page, s.NUMA[0].HierAnon)
	require.Equal(t, 4096/page, s.NUMA[1].HierFile)
	require.Equal(t, None, s.NUMA[1].Anon)
	require.Equal(t, Procs{Count: 3, First: 77}, s.Procs)
}

// The root of v2 has cpu.stat and little else: absent, not zero.
func TestReadV2Root(t *testing.T) {
	tree := openTree(t, Options{Root: v2Tree(t, "/a")})
	var s Stats
	g := tree.Groups(nil)[0]
	require.Equal(t, KindRoot, g.Identity().Kind)
	require.NoError(t, g.Read(&s, SetDefault))
	require.Equal(t, SetCPU|SetProcs, s.Read)
	require.Equal(t, uint64(9000e3), s.CPU.Usage)
	require.Equal(t, None, s.CPU.Periods)
	require.Equal(t, noMemory, s.Memory)
	require.Equal(t, noPSI, s.PSI)
}

func TestReset(t *testing.T) {
	tree := openTree(t, Options{Root: v2Tree(t, "/a")})
	var used, fresh Stats
	require.NoError(t, mustGet(t, tree, "/a").Read(&used, everySet))
	used.Reset()
	fresh.Reset()
	require.Empty(t, used.IO)
	require.Empty(t, used.NUMA)
	require.Equal(t, fresh.CPU, used.CPU)
	require.Equal(t, fresh.Memory, used.Memory)
	require.Equal(t, fresh.Spec, used.Spec)
	require.Equal(t, fresh.Cpuset, used.Cpuset)
	require.Equal(t, fresh.Pids, used.Pids)
}

// put one bad file into a group: its set is unread and counted, the rest is
// as before.
func TestParseErrorCostsOneSet(t *testing.T) {
	root := v2Tree(t, "/a")
	put(t, root+"/a/memory.events", "low one\n")
	tree := openTree(t, Options{Root: root})
	var s Stats
	require.NoError(t, mustGet(t, tree, "/a").Read(&s, SetDefault))
	require.Equal(t, SetDefault&^SetMemory, s.Read)
	require.Equal(t, uint64(1048576), s.Memory.Usage)
	require.Equal(t, None, s.Memory.EventsLow)
	require.Equal(t, map[string]uint64{"memory.events": 1}, tree.Counters().ParseErrors)
}

// v1 with cpu and cpuacct in one hierarchy, reached by three names, and
// cgroup2 beside it.
func TestReadHybridComounted(t *testing.T) {
	root := writeTree(t, map[string]string{
		"cpu,cpuacct/cgroup.procs":                        "1\n",
		"cpu,cpuacct/a/cpuacct.usage":                     "77\n",
		"cpu,cpuacct/a/cpuacct.stat":                      "user 1\nsystem 2\n",
		"cpu,cpuacct/a/cpu.stat":                          "nr_periods 3\nnr_throttled 4\nthrottled_time 5\n",
		"cpu,cpuacct/a/cgroup.procs":                      "9\n",
		"memory/cgroup.procs":                             "1\n",
		"memory/a/memory.stat":                            "cache 1\ntotal_cache 2\n",
		"blkio/cgroup.procs":                              "1\n",
		"blkio/a/blkio.throttle.io_service_bytes":         "Total 0\n",
		"blkio/a/blkio.bfq.io_service_bytes_recursive":    "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
		"blkio/a/blkio.bfq.io_serviced_recursive":         "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
		"hugetlb/tasks":                                   "",
		"hugetlb/hugetlb.1GB.usage_in_bytes":              "0\n",
		"hugetlb/a/hugetlb.1GB.usage_in_bytes":            "0\n",
		"hugetlb/a/hugetlb.1GB.max_usage_in_bytes":        "1073741824\n",
		"hugetlb/a/hugetlb.1GB.failcnt":                   "2\n",
		"systemd/cgroup.procs":                            "1\n",
		"notes/readme":                                    "not a hierarchy\n",
		"unified/cgroup.controllers":                      "\n",
		"unified/cgroup.procs":                            "1\n",
		"unified/a/cpu.stat":                              "usage_usec 1\nuser_usec 1\nsystem_usec 0\n",
		"unified/a/cpu.pressure":                          "some avg10=0.00 avg60=0.00 avg300=0.00 total=6\n",
		"unified/a/cgroup.events":                         "populated 1\nfrozen 0\n",
		"unified/native.service/cpu.stat":                 "usage_usec 8\nuser_usec 8\nsystem_usec 0\n",
		"unified/native.service/cgroup.events":            "populated 0\nfrozen 0\n",
		"unified/native.service/init.scope/cgroup.events": "populated 0\nfrozen 0\n",
	})
	require.NoError(t, os.Symlink("cpu,cpuacct", root+"/cpu"))
	require.NoError(t, os.Symlink("cpu,cpuacct", root+"/cpuacct"))
	tree := openTree(t, Options{Root: root})
	require.Equal(t, Hybrid, tree.Version())
	require.Equal(t, []string{"/", "/a", "/native.service", "/native.service/init.scope"}, ids(tree.Groups(nil)))
	var s Stats
	g := mustGet(t, tree, "/a")
	for range 2 {
		require.NoError(t, g.Read(&s, SetDefault))
		require.Equal(t, uint64(77), s.CPU.Usage, "v1 where it is there")
		require.Equal(t, uint64(4), s.CPU.ThrottledPeriods)
		require.Equal(t, None, s.CPU.BurstTime)
		require.Equal(t, uint64(2), s.Memory.Cache)
		require.Equal(t, Pressure{6e3, None}, s.PSI.CPU)
		require.NotEmpty(t, s.IO)
		require.Equal(t, []uint64{5, 6, 1, 2}, []uint64{s.IO[0].ReadBytes, s.IO[0].WriteBytes, s.IO[0].Reads, s.IO[0].Writes})
		require.Equal(t, []Hugetlb{{PageSize: "1GB", Usage: 0, MaxUsage: 1 << 30, FailCount: 2}}, s.Hugetlb)
		require.Equal(t, uint64(1), s.Procs.Count)
	}
	// A unit without CPU accounting on v1 has native cpu.stat all the same.
	require.NoError(t, mustGet(t, tree, "/native.service").Read(&s, SetDefault))
	require.Equal(t, uint64(8e3), s.CPU.Usage)
	require.Equal(t, SetCPU, s.Read)
}

// Files that cannot have changed are not read, their values are still there,
// and they are read again once they may have.
func TestSuperfluousFiles(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, os.DirFS("testdata/v1")))
	write := func(ctrl, name, text string) {
		require.NoError(t, os.WriteFile(root+"/"+ctrl+recordedID+"/"+name, []byte(text+"\n"), 0o644))
	}
	write("cpu", "cpu.cfs_quota_us", "-1")
	write("memory", "memory.limit_in_bytes", "9223372036854771712")
	write("memory", "memory.failcnt", "7")
	write("blkio", "blkio.throttle.io_service_bytes_recursive", "Total 0")
	g := mustGet(t, openTree(t, Options{Root: root}), recordedID)
	g.found = g.found.Add(-time.Hour) // young groups are read in full
	var first, s Stats
	require.NoError(t, g.Read(&first, SetDefault))

	names := func() (names []string) {
		for _, f := range g.Files(SetDefault) {
			names = append(names, filepath.Base(f))
		}
		return names
	}
	require.NoError(t, g.Read(&first, SetDefault)) // one reading with the configuration known
	superfluous := []string{"cpuacct.stat", "memory.max_usage_in_bytes", "memory.oom_control", "cpu.stat", "memory.failcnt", "blkio.throttle.io_serviced_recursive"}
	for _, name := range superfluous {
		require.NotContains(t, names(), name)
	}
	require.NoError(t, g.Read(&s, SetDefault))
	require.Equal(t, first.Read, s.Read)
	require.Equal(t, []uint64{first.CPU.User, first.CPU.System, 7}, []uint64{s.CPU.User, s.CPU.System, s.Memory.FailCount})

	write("cpuacct", "cpuacct.usage", "1358083757")
	write("cpuacct", "cpuacct.stat", "user 200\nsystem 100")
	write("memory", "memory.limit_in_bytes", "52428800")
	write("memory", "memory.failcnt", "8")
	write("cpu", "cpu.cfs_quota_us", "50000")
	write("blkio", "blkio.throttle.io_service_bytes_recursive", "8:0 Read 512\n8:0 Total 512\nTotal 512")
	write("blkio", "blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Total 1\nTotal 1")
	g.stale.Store(true) // the watch says so of a real group
	require.NoError(t, g.Read(&s, SetDefault))
	require.Equal(t, []uint64{2e9, 1e9, 8, 30, 1}, []uint64{s.CPU.User, s.CPU.System, s.Memory.FailCount, s.CPU.Periods, s.IO[0].Reads})
	for range 2 {
		require.NoError(t, g.Read(&s, SetDefault))
		require.Equal(t, []uint64{8, 30, 1}, []uint64{s.Memory.FailCount, s.CPU.Periods, s.IO[0].Reads})
	}
	require.Subset(t, names(), superfluous[3:5])
}

// I/O and kernel memory are read until the group has not run between two
// readings, and again with the configuration.
func TestSettles(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, os.DirFS("testdata/v1")))
	write := func(ctrl, name, text string) {
		require.NoError(t, os.WriteFile(root+"/"+ctrl+recordedID+"/"+name, []byte(text+"\n"), 0o644))
	}
	set := func(kernel, bytes string) {
		write("memory", "memory.kmem.usage_in_bytes", kernel)
		write("blkio", "blkio.throttle.io_service_bytes_recursive", "8:0 Read "+bytes+"\n8:0 Total "+bytes+"\nTotal "+bytes)
	}
	set("1", "512")
	g := mustGet(t, openTree(t, Options{Root: root}), recordedID)
	g.found = g.found.Add(-time.Hour)
	g.seldomAt = time.Now().Add(time.Hour)
	read := func() []uint64 {
		var s Stats
		require.NoError(t, g.Read(&s, SetDefault))
		require.NotEmpty(t, s.IO)
		require.Equal(t, SetIO, s.Read&SetIO)
		return []uint64{s.Memory.Kernel, s.IO[0].ReadBytes}
	}
	require.Equal(t, []uint64{1, 512}, read())
	set("2", "1024")
	require.Equal(t, []uint64{2, 1024}, read(), "it ran before the last reading")
	set("3", "2048")
	require.Equal(t, []uint64{2, 1024}, read(), "settled")
	write("cpuacct", "cpuacct.usage", "1358083758")
	require.Equal(t, []uint64{3, 2048}, read(), "it ran")
	set("4", "4096")
	require.Equal(t, []uint64{4, 4096}, read(), "it ran before the last reading")
	set("5", "8192")
	require.Equal(t, []uint64{4, 4096}, read(), "settled again")
	g.stale.Store(true)
	require.Equal(t, []uint64{5, 8192}, read(), "read with the configuration")
}

// Pressure is read as long as it changes: a stall outlasts the running.
func TestPressureSettles(t *testing.T) {
	root := writeTree(t, map[string]string{
		"cgroup.controllers": "cpu\n", "cgroup.procs": "1\n",
		"a/cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\n", "a/cgroup.procs": "2\n",
	})
	g := mustGet(t, openTree(t, Options{Root: root}), "/a")
	g.found = g.found.Add(-time.Hour)
	g.seldomAt = time.Now().Add(time.Hour)
	read := func(total string) uint64 {
		line := " avg10=0.00 avg60=0.00 avg300=0.00 total=" + total + "\n"
		require.NoError(t, os.WriteFile(root+"/a/io.pressure", []byte("some"+line+"full"+line), 0o644))
		var s Stats
		require.NoError(t, g.Read(&s, SetDefault))
		require.Equal(t, SetPSI, s.Read&SetPSI)
		return s.PSI.IO.Some / 1000
	}
	require.EqualValues(t, 1, read("1"))
	require.EqualValues(t, 2, read("2"), "it ran before the last reading")
	require.EqualValues(t, 3, read("3"), "the stall goes on")
	require.EqualValues(t, 3, read("3"))
	require.EqualValues(t, 3, read("4"), "nothing ran, no stall was going on")
	g.stale.Store(true)
	require.EqualValues(t, 5, read("5"), "read with the configuration")
}

// The memory peak and the OOM kills are read again when something ran, the
// peak also when more memory than it is in use.
func TestIdleMemory(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, os.DirFS("testdata/v1")))
	write := func(ctrl, name, text string) {
		require.NoError(t, os.WriteFile(root+"/"+ctrl+recordedID+"/"+name, []byte(text+"\n"), 0o644))
	}
	write("memory", "memory.usage_in_bytes", "1000")
	write("memory", "memory.max_usage_in_bytes", "2000")
	g := mustGet(t, openTree(t, Options{Root: root}), recordedID)
	g.found = g.found.Add(-time.Hour)
	g.seldomAt = time.Now().Add(time.Hour)
	read := func() []uint64 {
		var s Stats
		require.NoError(t, g.Read(&s, SetDefault))
		return []uint64{s.Memory.Peak, s.Memory.EventsOOMKill, s.Memory.UnderOOM}
	}
	require.Equal(t, []uint64{2000, 0, 0}, read())
	write("memory", "memory.max_usage_in_bytes", "3000")
	write("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 2")
	require.Equal(t, []uint64{2000, 0, 0}, read(), "nothing ran")
	write("memory", "memory.usage_in_bytes", "2500")
	require.Equal(t, []uint64{3000, 0, 0}, read(), "more in use than the known peak")
	write("cpuacct", "cpuacct.usage", "1358083758")
	write("memory", "memory.max_usage_in_bytes", "4000")
	require.Equal(t, []uint64{4000, 2, 1}, read(), "something ran")
	write("memory", "memory.max_usage_in_bytes", "2600")
	g.stale.Store(true)
	require.Equal(t, []uint64{2600, 2, 1}, read(), "read with the configuration")
}
