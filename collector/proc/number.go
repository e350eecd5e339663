package proc

// number takes a decimal number and the blanks before it off b. It fails if
// there is none, if it does not end at a blank or the end, or if it does not
// fit 64 bits.
func number(b []byte) (v uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	start := i
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		d := uint64(b[i] - '0')
		if v > (^uint64(0)-d)/10 {
			return 0, b, false
		}
		v = v*10 + d
	}
	if i == start || (i < len(b) && b[i] != ' ' && b[i] != '\t' && b[i] != '\n') {
		return 0, b, false
	}
	return v, b[i:], true
}

// numbers fills v with the first numbers of b, if there are as many.
func numbers(v []uint64, b []byte) bool {
	for i := range v {
		var ok bool
		if v[i], b, ok = number(b); !ok {
			return false
		}
	}
	return true
}
