package cgroup

import "bytes"

// parsePressure reads a PSI file; the totals are microseconds.
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=1234
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=123
func parsePressure(b []byte, p *Pressure) bool {
	out := noPressure
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		i := bytes.LastIndexByte(line, '=')
		if i < 6 || string(line[i-6:i]) != " total" {
			return false
		}
		v, n := leadingUint(line[i+1:])
		if n == 0 || n != len(line)-i-1 {
			return false
		}
		switch string(line[:5]) {
		case "some ":
			out.Some = v * nsPerUsec
		case "full ":
			out.Full = v * nsPerUsec
		}
	}
	*p = out
	return true
}
