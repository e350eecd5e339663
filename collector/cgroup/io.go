package cgroup

import "bytes"

// parseThrottleBytes reads v1 blkio.throttle.io_service_bytes[_recursive] and
// blkio.bfq.io_service_bytes[_recursive]:
//
//	8:0 Read 4096
//	8:0 Write 0
//	8:0 Sync 4096
//	8:0 Async 0
//	8:0 Discard 0
//	8:0 Total 4096
//	Total 4096
func parseThrottleBytes(_ *parser, b []byte, s *Stats) bool {
	return parseBlkio(b, s, func(d *DeviceIO) [6]*uint64 {
		return [6]*uint64{&d.ReadBytes, &d.WriteBytes, &d.SyncBytes, &d.AsyncBytes, &d.DiscardBytes, &d.TotalBytes}
	})
}

// parseThrottleOps reads the io_serviced files, of the same form.
func parseThrottleOps(_ *parser, b []byte, s *Stats) bool {
	return parseBlkio(b, s, func(d *DeviceIO) [6]*uint64 {
		return [6]*uint64{&d.Reads, &d.Writes, &d.SyncOps, &d.AsyncOps, &d.Discards, &d.TotalOps}
	})
}

// parseBlkio gives the values of each device to the fields that pick names:
// read, write, sync, async, discard, total.
func parseBlkio(b []byte, s *Stats, pick func(*DeviceIO) [6]*uint64) bool {
	for len(b) > 0 {
		var line, dev, op []byte
		line, b = nextLine(b)
		dev, line = nextField(line)
		if len(dev) == 0 || string(dev) == "Total" {
			continue
		}
		major, minor, ok := parseDevice(dev)
		if !ok {
			return false
		}
		op, line = nextField(line)
		v, ok := parseNumber(line)
		if !ok {
			return false
		}
		if i := blkioOp(op); i >= 0 {
			*pick(s.device(major, minor))[i] = v
		}
	}
	return true
}

func blkioOp(op []byte) int {
	switch string(op) {
	case "Read":
		return 0
	case "Write":
		return 1
	case "Sync":
		return 2
	case "Async":
		return 3
	case "Discard":
		return 4
	case "Total":
		return 5
	}
	return -1
}

// parseIOStat reads v2 io.stat; a device without I/O may have no values:
//
//	8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0 cost.usage=12
//	7:0
func parseIOStat(_ *parser, b []byte, s *Stats) bool {
	for len(b) > 0 {
		var line, f []byte
		line, b = nextLine(b)
		f, line = nextField(line)
		if len(f) == 0 {
			continue
		}
		major, minor, ok := parseDevice(f)
		if !ok {
			return false
		}
		for {
			if f, line = nextField(line); len(f) == 0 {
				break
			}
			if !parseIOField(f, s.device(major, minor)) {
				return false
			}
		}
	}
	return true
}

// parseIOField stores one key=value. Unknown keys may have any value.
func parseIOField(f []byte, d *DeviceIO) bool {
	i := bytes.IndexByte(f, '=')
	if i < 0 {
		return false
	}
	var dst *uint64
	unit := uint64(1)
	switch string(f[:i]) {
	case "rbytes":
		dst = &d.ReadBytes
	case "wbytes":
		dst = &d.WriteBytes
	case "rios":
		dst = &d.Reads
	case "wios":
		dst = &d.Writes
	case "dbytes":
		dst = &d.DiscardBytes
	case "dios":
		dst = &d.Discards
	case "cost.usage":
		dst, unit = &d.CostUsage, nsPerUsec
	case "cost.wait":
		dst, unit = &d.CostWait, nsPerUsec
	case "cost.indebt":
		dst, unit = &d.CostIndebt, nsPerUsec
	case "cost.indelay":
		dst, unit = &d.CostInDelay, nsPerUsec
	default:
		return true
	}
	v, n := leadingUint(f[i+1:])
	if n == 0 || n != len(f)-i-1 {
		return false
	}
	*dst = v * unit
	return true
}
