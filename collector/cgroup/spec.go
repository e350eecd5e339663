package cgroup

// unlimitedV1 and above is how v1 writes "no limit": the largest multiple of
// the page size that fits 63 bits, whatever the page size.
const unlimitedV1 = 1 << 62

// number stores a file of one number.
func number(b []byte, dst *uint64) bool {
	v, ok := parseNumber(b)
	if ok {
		*dst = v
	}
	return ok
}

// limit stores a v1 limit, huge numbers being None.
func limit(b []byte, dst *uint64) bool {
	v, ok := parseNumber(b)
	if ok && v >= unlimitedV1 {
		v = None
	}
	if ok {
		*dst = v
	}
	return ok
}

// parseCPUMax reads v2 cpu.max: "max 100000" or "50000 100000".
func parseCPUMax(_ *parser, b []byte, s *Stats) bool {
	quota, rest := nextField(b)
	q, ok := parseNumber(quota)
	p, okPeriod := parseNumber(rest)
	if !ok || !okPeriod {
		return false
	}
	s.Spec.CPUQuota, s.Spec.CPUPeriod = q, p
	return true
}

// parseCPUWeight reads v2 cpu.weight (1..10000) and turns it into shares
// (2..262144) by the inverse of the kubelet's linear conversion, as cAdvisor
// shows them. Newer runtimes convert shares to weights by a curve through
// 1024 ↔ 100; a weight alone does not tell which one was used.
func parseCPUWeight(_ *parser, b []byte, s *Stats) bool {
	w, ok := parseNumber(b)
	if !ok || w == None {
		return false
	}
	// 0 is what an idle group (cpu.idle) shows.
	s.Spec.CPUShares = 2
	if w > 0 {
		s.Spec.CPUShares = 2 + (min(w, 10000)-1)*262142/9999
	}
	return true
}

// text stores a file of one line and allocates only when it has changed.
func text(b []byte, dst *string) bool {
	b = trimSpace(b)
	if string(b) != *dst {
		*dst = string(b)
	}
	return true
}
