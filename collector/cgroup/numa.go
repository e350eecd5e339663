package cgroup

import (
	"bytes"
	"os"
)

// parseNUMAV1 reads v1 memory.numa_stat, in pages:
//
//	total=12 N0=8 N1=4
//	file=…
//	hierarchical_total=…
func parseNUMAV1(_ *parser, b []byte, s *Stats) bool {
	return parseNUMA(b, s, '=', 1)
}

// parseNUMAV2 reads v2 memory.numa_stat, in bytes and hierarchical, so that
// it fills the Hier fields: the kernel does not tell the local numbers.
//
//	anon N0=4096 N1=0
func parseNUMAV2(_ *parser, b []byte, s *Stats) bool {
	return parseNUMA(b, s, ' ', uint64(os.Getpagesize()))
}

// parseNUMA reads lines of a key, which ends at sep, and fields N<node>=<v>.
func parseNUMA(b []byte, s *Stats, sep byte, unit uint64) bool {
	for len(b) > 0 {
		var line, f []byte
		line, b = nextLine(b)
		i := bytes.IndexByte(line, sep)
		if i < 0 {
			return false
		}
		key, rest := line[:i], line[i+1:]
		var probe NUMANode
		if numaField(key, sep == ' ', &probe) == nil {
			continue
		}
		if sep == '=' { // the sum over the nodes comes first
			_, rest = nextField(rest)
		}
		for {
			if f, rest = nextField(rest); len(f) == 0 {
				break
			}
			node, v, ok := parseNodeValue(f)
			if !ok {
				return false
			}
			*numaField(key, sep == ' ', s.node(node)) = v / unit
		}
	}
	return true
}

// parseNodeValue reads "N0=12".
func parseNodeValue(f []byte) (node int, v uint64, ok bool) {
	if len(f) < 4 || f[0] != 'N' {
		return 0, 0, false
	}
	a, n := leadingUint(f[1:])
	// 1<<10 nodes is the kernel's own limit (MAX_NUMNODES).
	if n == 0 || a >= 1<<10 || n+2 >= len(f) || f[n+1] != '=' {
		return 0, 0, false
	}
	v, m := leadingUint(f[n+2:])
	return int(a), v, m > 0 && n+2+m == len(f)
}

// numaField finds where a line's values go, nil for lines of no interest.
func numaField(key []byte, v2 bool, n *NUMANode) *uint64 {
	if v2 {
		switch string(key) {
		case "anon":
			return &n.HierAnon
		case "file":
			return &n.HierFile
		case "unevictable":
			return &n.HierUnevictable
		}
		return nil
	}
	switch string(key) {
	case "total":
		return &n.Total
	case "file":
		return &n.File
	case "anon":
		return &n.Anon
	case "unevictable":
		return &n.Unevictable
	case "hierarchical_total":
		return &n.HierTotal
	case "hierarchical_file":
		return &n.HierFile
	case "hierarchical_anon":
		return &n.HierAnon
	case "hierarchical_unevictable":
		return &n.HierUnevictable
	}
	return nil
}
