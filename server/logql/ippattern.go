package logql

import (
	"fmt"
	"net/netip"
	"strings"
)

// ipPattern is a set of addresses: from first to last.
type ipPattern struct {
	first, last netip.Addr
}

// parseIPPattern reads an address, a range (10.0.0.1-10.0.0.9) or a network
// (10.0.0.0/8), of IPv4 or IPv6.
func parseIPPattern(s string) (ipPattern, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return ipPattern{prefix.Masked().Addr(), lastOf(prefix)}, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	first, err := netip.ParseAddr(from)
	last := first
	if err == nil && isRange {
		last, err = netip.ParseAddr(to)
	}
	if err != nil || last.Less(first) || first.Is4() != last.Is4() {
		return ipPattern{}, fmt.Errorf("ip: %q is no address, range (10.0.0.1-10.0.0.9) or network (10.0.0.0/8)", s)
	}
	return ipPattern{first, last}, nil
}

func lastOf(prefix netip.Prefix) netip.Addr {
	b := prefix.Masked().Addr().AsSlice()
	for i := prefix.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (p ipPattern) contains(a netip.Addr) bool {
	a = a.Unmap()
	return a.Is4() == p.first.Is4() && !a.Less(p.first) && !p.last.Less(a)
}

// matchValue tells whether a label's value is one of the addresses.
func (p ipPattern) matchValue(s string) bool {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	return err == nil && p.contains(a)
}

// matchLine tells whether an address of the set stands in a line.
func (p ipPattern) matchLine(line []byte) bool {
	for i := 0; i < len(line); {
		if !isAddrByte(line[i]) {
			i++
			continue
		}
		start := i
		for i < len(line) && isAddrByte(line[i]) {
			i++
		}
		if p.matchRun(line[start:i]) {
			return true
		}
	}
	return false
}

// maxAddrBytes is longer than any address with a port.
const maxAddrBytes = 64

// matchRun looks for an address in a run of the characters of addresses, which
// may have a port or punctuation around it.
func (p ipPattern) matchRun(run []byte) bool {
	if len(run) < 2 || len(run) > maxAddrBytes {
		return false
	}
	s := strings.Trim(unsafeString(run), ".")
	if a, err := netip.ParseAddr(s); err == nil {
		return p.contains(a)
	}
	s = strings.TrimRight(s, ":")
	if a, err := netip.ParseAddr(s); err == nil {
		return p.contains(a)
	}
	if host, _, ok := strings.Cut(s, ":"); ok {
		a, err := netip.ParseAddr(host)
		return err == nil && p.contains(a)
	}
	return false
}

func isAddrByte(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' || c == '.' || c == ':'
}
