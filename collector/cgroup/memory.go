package cgroup

// memTables read the flat keyed files of the memory controller.
type memTables struct {
	statV1, statV2, oomV1, events *keyTable
}

// Indexes of the keys of v1 memory.stat.
const (
	m1Cache = iota
	m1RSS
	m1Huge
	m1Shmem
	m1Mapped
	m1Dirty
	m1Writeback
	m1RefaultAnon
	m1RefaultFile
	m1Swap
	m1Faults
	m1MajFaults
	m1InactiveAnon
	m1ActiveAnon
	m1InactiveFile
	m1ActiveFile
	m1Unevictable
	m1LocalFaults
	m1LocalMajFaults
	m1Keys
)

// Indexes of the keys of v2 memory.stat.
const (
	m2Anon = iota
	m2File
	m2Kernel
	m2KernelStack
	m2Sock
	m2Shmem
	m2Mapped
	m2Dirty
	m2Writeback
	m2THP
	m2InactiveAnon
	m2ActiveAnon
	m2InactiveFile
	m2ActiveFile
	m2Unevictable
	m2Slab
	m2RefaultAnon
	m2RefaultFile
	m2PgScan
	m2PgSteal
	m2Faults
	m2MajFaults
	m2Keys
)

// noneValues are what a parser starts from; as long as the longest key list.
var noneValues = func() (v [m2Keys]uint64) {
	for i := range v {
		v[i] = None
	}
	return v
}()

func newMemTables() memTables {
	return memTables{
		statV1: newKeyTable("total_cache", "total_rss", "total_rss_huge", "total_shmem", "total_mapped_file",
			"total_dirty", "total_writeback", "total_workingset_refault_anon", "total_workingset_refault_file",
			"total_swap", "total_pgfault", "total_pgmajfault", "total_inactive_anon", "total_active_anon",
			"total_inactive_file", "total_active_file", "total_unevictable", "pgfault", "pgmajfault"),
		statV2: newKeyTable("anon", "file", "kernel", "kernel_stack", "sock", "shmem", "file_mapped", "file_dirty",
			"file_writeback", "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file",
			"unevictable", "slab", "workingset_refault_anon", "workingset_refault_file", "pgscan", "pgsteal",
			"pgfault", "pgmajfault"),
		oomV1:  newKeyTable("under_oom", "oom_kill"),
		events: newKeyTable("low", "high", "max", "oom", "oom_kill", "oom_group_kill"),
	}
}

// parseMemoryStatV1 reads v1 memory.stat. The total_ lines cover the
// descendants as well; of page faults the local lines are kept beside them.
//
//	cache 90112
//	…
//	total_cache 90112
func parseMemoryStatV1(p *parser, b []byte, s *Stats) bool {
	v := noneValues
	if !p.mem.statV1.parse(b, v[:m1Keys]) {
		return false
	}
	m := &s.Memory
	m.Cache, m.RSS, m.AnonTHP, m.Shmem, m.MappedFile = v[m1Cache], v[m1RSS], v[m1Huge], v[m1Shmem], v[m1Mapped]
	m.FileDirty, m.FileWriteback, m.Swap = v[m1Dirty], v[m1Writeback], v[m1Swap]
	m.RefaultAnon, m.RefaultFile = v[m1RefaultAnon], v[m1RefaultFile]
	m.PageFaults, m.MajorPageFaults = v[m1Faults], v[m1MajFaults]
	m.InactiveAnon, m.ActiveAnon = v[m1InactiveAnon], v[m1ActiveAnon]
	m.InactiveFile, m.ActiveFile = v[m1InactiveFile], v[m1ActiveFile]
	m.Unevictable = v[m1Unevictable]
	m.LocalFaults, m.LocalMajFaults = v[m1LocalFaults], v[m1LocalMajFaults]
	return true
}

// parseMemoryStatV2 reads v2 memory.stat, hierarchical by itself.
func parseMemoryStatV2(p *parser, b []byte, s *Stats) bool {
	v := noneValues
	if !p.mem.statV2.parse(b, v[:m2Keys]) {
		return false
	}
	m := &s.Memory
	m.Cache, m.RSS, m.AnonTHP, m.Shmem, m.MappedFile = v[m2File], v[m2Anon], v[m2THP], v[m2Shmem], v[m2Mapped]
	m.FileDirty, m.FileWriteback = v[m2Dirty], v[m2Writeback]
	m.Kernel, m.KernelStack, m.Sock, m.Slab = v[m2Kernel], v[m2KernelStack], v[m2Sock], v[m2Slab]
	m.RefaultAnon, m.RefaultFile = v[m2RefaultAnon], v[m2RefaultFile]
	m.PageFaults, m.MajorPageFaults = v[m2Faults], v[m2MajFaults]
	m.InactiveAnon, m.ActiveAnon = v[m2InactiveAnon], v[m2ActiveAnon]
	m.InactiveFile, m.ActiveFile = v[m2InactiveFile], v[m2ActiveFile]
	m.Unevictable, m.PgScan, m.PgSteal = v[m2Unevictable], v[m2PgScan], v[m2PgSteal]
	return true
}

// parseOOMControl reads v1 memory.oom_control:
//
//	oom_kill_disable 0
//	under_oom 0
//	oom_kill 3
func parseOOMControl(p *parser, b []byte, s *Stats) bool {
	v := [2]uint64{None, None}
	ok := p.mem.oomV1.parse(b, v[:])
	if ok {
		s.Memory.UnderOOM, s.Memory.EventsOOMKill = v[0], v[1]
	}
	return ok
}

// parseMemoryEvents reads v2 memory.events.
func parseMemoryEvents(p *parser, b []byte, s *Stats) bool {
	v := [6]uint64{None, None, None, None, None, None}
	ok := p.mem.events.parse(b, v[:])
	if ok {
		m := &s.Memory
		m.EventsLow, m.EventsHigh, m.EventsMax = v[0], v[1], v[2]
		m.EventsOOM, m.EventsOOMKill, m.EventsOOMGroupKill = v[3], v[4], v[5]
	}
	return ok
}
