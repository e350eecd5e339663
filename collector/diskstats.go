package collector

import (
	"errors"
	"io/fs"

	"github.com/prometheus/procfs/blockdevice"
)

// Families of /proc/diskstats, for the root cgroup. The v1 files that had them
// for containers (blkio.*_recursive of the CFQ scheduler) left the kernel with 5.0.
func diskStatsFamilies() []Descriptor {
	f := func(name string, unit, help string) Descriptor {
		typ := counter
		if name == "io_current" {
			typ = gauge
		}
		const from = "/proc/diskstats, for / only"
		return describe("diskstats", "container_fs_"+name, typ, unit, help,
			origin{from, from, "better: absent for containers, where no kernel since 5.0 has it, instead of 0; at a slower interval"}, "device")
	}
	return []Descriptor{
		f("sector_reads_total", "", "Sectors of 512 bytes read."),
		f("reads_merged_total", "", "Reads merged."),
		f("read_seconds_total", "seconds", "Time spent on reads."),
		f("sector_writes_total", "", "Sectors of 512 bytes written."),
		f("writes_merged_total", "", "Writes merged."),
		f("write_seconds_total", "seconds", "Time spent on writes."),
		f("io_current", "", "I/Os in flight."),
		f("io_time_seconds_total", "seconds", "Time for which the device was busy."),
		f("io_time_weighted_seconds_total", "seconds", "Time spent on I/Os, weighted by how many were in flight."),
	}
}

func diskStatsTable() table[blockdevice.Diskstats] {
	type d = blockdevice.Diskstats
	s := func(name string, div float64, value func(*d) uint64) elemSlot[d] {
		return elemSlot[d]{name: "container_fs_" + name, div: div, value: value}
	}
	return table[d]{
		slots: []elemSlot[d]{
			s("sector_reads_total", 1, func(x *d) uint64 { return x.ReadSectors }),
			s("reads_merged_total", 1, func(x *d) uint64 { return x.ReadMerges }),
			s("read_seconds_total", 1e3, func(x *d) uint64 { return x.ReadTicks }),
			s("sector_writes_total", 1, func(x *d) uint64 { return x.WriteSectors }),
			s("writes_merged_total", 1, func(x *d) uint64 { return x.WriteMerges }),
			s("write_seconds_total", 1e3, func(x *d) uint64 { return x.WriteTicks }),
			s("io_current", 1, func(x *d) uint64 { return x.IOsInProgress }),
			s("io_time_seconds_total", 1e3, func(x *d) uint64 { return x.IOsTotalTicks }),
			s("io_time_weighted_seconds_total", 1e3, func(x *d) uint64 { return x.WeightedIOTicks }),
		},
		key:    func(x *d) rowKey { return rowKey{major: x.MajorNumber, minor: x.MinorNumber} },
		labels: func(x *d) []string { return []string{"device", "/dev/" + x.DeviceName} },
		limit:  1024,
	}
}

// fillDiskStats appends the machine's disks to the root cgroup. Devices
// without any I/O (unused loop devices) are left out.
func (c *Collector) fillDiskStats(root *container, b *batch) {
	fsys, err := blockdevice.NewFS(c.opts.ProcRoot, c.opts.SysRoot)
	if err != nil {
		c.failed("diskstats", err)
		return
	}
	all, err := fsys.ProcDiskstats()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.failed("diskstats", err)
		}
		return
	}
	used := all[:0]
	for _, d := range all {
		if d.ReadIOs+d.WriteIOs > 0 {
			used = append(used, d)
		}
	}
	c.dropped(c.tables.diskStats.fill(root, b, &root.vectors[vecDiskStats], used))
}
