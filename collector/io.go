package collector

import (
	"strconv"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

func ioFamilies() []Descriptor {
	const g = "io"
	f := func(name, unit, help, v1, v2, versus string) Descriptor {
		return describe(g, "container_fs_"+name, counter, unit, help, origin{v1, v2, versus}, "device")
	}
	const (
		bytes = "blkio.throttle.io_service_bytes"
		ops   = "blkio.throttle.io_serviced"
		cost  = "better: absent without the iocost controller instead of 0"
	)
	return []Descriptor{
		f("reads_bytes_total", "bytes", "Bytes read from the device.", bytes, "io.stat rbytes", "same"),
		f("writes_bytes_total", "bytes", "Bytes written to the device.", bytes, "io.stat wbytes", "same"),
		f("reads_total", "", "Reads completed.", ops, "io.stat rios", "same"),
		f("writes_total", "", "Writes completed.", ops, "io.stat wios", "same"),
		f("discards_bytes_total", "bytes", "Bytes discarded on the device.", "", "io.stat dbytes", "new"),
		f("discards_total", "", "Discards completed.", "", "io.stat dios", "new"),
		f("io_cost_usage_seconds_total", "seconds", "Device time used, by the iocost controller.", "", "io.stat cost.usage", cost),
		f("io_cost_wait_seconds_total", "seconds", "Time waited, by the iocost controller.", "", "io.stat cost.wait", cost),
		f("io_cost_indebt_seconds_total", "seconds", "Time in debt, by the iocost controller.", "", "io.stat cost.indebt", cost),
		f("io_cost_indelay_seconds_total", "seconds", "Time delayed, by the iocost controller.", "", "io.stat cost.indelay", cost),
		describe(g, "container_blkio_device_usage_total", counter, "bytes", "Bytes by device and operation.",
			origin{bytes, "io.stat", "same"}, "device", "major", "minor", "operation"),
	}
}

func deviceKey(d *cgroup.DeviceIO) rowKey { return rowKey{major: d.Major, minor: d.Minor} }

// maxDevices bounds the block devices of one container.
const maxDevices = 64

func ioTable(devices *deviceNames) table[cgroup.DeviceIO] {
	s := func(name string, div float64, value func(*cgroup.DeviceIO) uint64) elemSlot[cgroup.DeviceIO] {
		return elemSlot[cgroup.DeviceIO]{name: "container_fs_" + name, div: div, value: value}
	}
	return table[cgroup.DeviceIO]{
		slots: []elemSlot[cgroup.DeviceIO]{
			s("reads_bytes_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.ReadBytes }),
			s("writes_bytes_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.WriteBytes }),
			s("reads_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.Reads }),
			s("writes_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.Writes }),
			s("discards_bytes_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.DiscardBytes }),
			s("discards_total", 1, func(d *cgroup.DeviceIO) uint64 { return d.Discards }),
			s("io_cost_usage_seconds_total", 1e9, func(d *cgroup.DeviceIO) uint64 { return d.CostUsage }),
			s("io_cost_wait_seconds_total", 1e9, func(d *cgroup.DeviceIO) uint64 { return d.CostWait }),
			s("io_cost_indebt_seconds_total", 1e9, func(d *cgroup.DeviceIO) uint64 { return d.CostIndebt }),
			s("io_cost_indelay_seconds_total", 1e9, func(d *cgroup.DeviceIO) uint64 { return d.CostInDelay }),
		},
		key:    deviceKey,
		labels: func(d *cgroup.DeviceIO) []string { return []string{"device", devices.name(d.Major, d.Minor)} },
		limit:  maxDevices,
	}
}

func blkioTable(devices *deviceNames) table[cgroup.DeviceIO] {
	s := func(operation string, value func(*cgroup.DeviceIO) uint64) elemSlot[cgroup.DeviceIO] {
		return elemSlot[cgroup.DeviceIO]{
			name: "container_blkio_device_usage_total", div: 1, labels: []string{"operation", operation}, value: value,
		}
	}
	return table[cgroup.DeviceIO]{
		slots: []elemSlot[cgroup.DeviceIO]{
			s("Read", func(d *cgroup.DeviceIO) uint64 { return d.ReadBytes }),
			s("Write", func(d *cgroup.DeviceIO) uint64 { return d.WriteBytes }),
			s("Discard", func(d *cgroup.DeviceIO) uint64 { return d.DiscardBytes }),
			s("Sync", func(d *cgroup.DeviceIO) uint64 { return d.SyncBytes }),
			s("Async", func(d *cgroup.DeviceIO) uint64 { return d.AsyncBytes }),
			s("Total", func(d *cgroup.DeviceIO) uint64 { return d.TotalBytes }),
		},
		key: deviceKey,
		labels: func(d *cgroup.DeviceIO) []string {
			return []string{
				"device", devices.name(d.Major, d.Minor),
				"major", strconv.FormatUint(uint64(d.Major), 10), "minor", strconv.FormatUint(uint64(d.Minor), 10),
			}
		},
		limit: maxDevices,
	}
}
