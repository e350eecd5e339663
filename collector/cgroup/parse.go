package cgroup

import "bytes"

// leadingUint reads the decimal number at the start of b. n is the number of
// digits, 0 when there is none or it does not fit 64 bits.
func leadingUint(b []byte) (v uint64, n int) {
	for n < len(b) {
		d := b[n] - '0'
		if d > 9 {
			break
		}
		// 19 digits always fit; only the 20th can overflow.
		if n >= 19 && (v > (1<<64-1)/10 || v*10 > 1<<64-1-uint64(d)) {
			return 0, 0
		}
		v = v*10 + uint64(d)
		n++
	}
	return v, n
}

// parseNumber reads a file or field that is one number. "max" and negative
// numbers (cpu.cfs_quota_us is -1 without a quota) are None.
func parseNumber(b []byte) (uint64, bool) {
	b = trimSpace(b)
	v, n := leadingUint(b)
	if n > 0 && n == len(b) {
		return v, true
	}
	if string(b) == "max" {
		return None, true
	}
	if len(b) > 1 && b[0] == '-' {
		if _, n := leadingUint(b[1:]); n == len(b)-1 {
			return None, true
		}
	}
	return 0, false
}

// trimSpace cuts blanks and newlines. bytes.TrimSpace knows Unicode and is
// several times slower on the few bytes of these files.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// nextLine splits off the first line, without its newline.
func nextLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return line, rest
}

// nextField splits off the first word of a line.
func nextField(b []byte) (field, rest []byte) {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for i := range b {
		if isSpace(b[i]) {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// parseDevice reads "8:16".
func parseDevice(b []byte) (major, minor uint32, ok bool) {
	a, n := leadingUint(b)
	if n == 0 || n+1 >= len(b) || b[n] != ':' {
		return 0, 0, false
	}
	c, m := leadingUint(b[n+1:])
	if m == 0 || n+1+m != len(b) || a > 1<<32-1 || c > 1<<32-1 {
		return 0, 0, false
	}
	return uint32(a), uint32(c), true
}

// parseProcs reads cgroup.procs: one process per line, in any order. A 0
// stands for a process outside of this pid namespace; it counts, but is no
// pid that one could use.
func parseProcs(_ *parser, b []byte, s *Stats) bool {
	p := Procs{}
	for len(b) > 0 {
		v, n := leadingUint(b)
		if n == 0 || v > 1<<31-1 {
			return false
		}
		p.Count++
		if v > 0 && (p.First == 0 || int(v) < p.First) {
			p.First = int(v)
		}
		if n < len(b) && b[n] != '\n' {
			return false
		}
		b = b[min(n+1, len(b)):]
	}
	s.Procs = p
	return true
}

// appendPids appends the processes of cgroup.procs that have a pid here.
func appendPids(dst []int, b []byte) []int {
	for len(b) > 0 {
		var line []byte
		line, b = nextLine(b)
		if v, n := leadingUint(line); n > 0 && v > 0 && v < 1<<31 {
			dst = append(dst, int(v))
		}
	}
	return dst
}
