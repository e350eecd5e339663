package collector

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryFacts reads /proc/meminfo.
func (m *machine) memoryFacts() ([]fact, error) {
	path := filepath.Join(m.procRoot, "meminfo")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read memory of the machine: %w", err)
	}
	total, ok := kilobytes(string(b), "MemTotal:")
	if !ok {
		return nil, fmt.Errorf("%s: want a line \"MemTotal: N kB\", there is none", path)
	}
	all := []fact{{name: "machine_memory_bytes", value: total}}
	if swap, ok := kilobytes(string(b), "SwapTotal:"); ok {
		all = append(all, fact{name: "machine_swap_bytes", value: swap})
	}
	return all, nil
}

// kilobytes finds "KEY N kB" anywhere in a line and returns bytes.
func kilobytes(text, key string) (float64, bool) {
	_, rest, ok := strings.Cut(text, key)
	if !ok {
		return 0, false
	}
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[0], 10, 53)
	return float64(n) * 1024, err == nil
}

// dimmFacts reads the memory modules that the kernel's error detection lists.
func (m *machine) dimmFacts() []fact {
	dirs, _ := filepath.Glob(filepath.Join(m.sysRoot, "devices/system/edac/mc/mc[0-9]*/dimm[0-9]*")) // well formed
	count, size := make(map[string]float64), make(map[string]float64)
	var types []string
	for _, dir := range dirs {
		typ, megabytes := firstLine(filepath.Join(dir, "dimm_mem_type")), number(dir, "size")
		if typ == "" || megabytes < 0 {
			continue
		}
		if count[typ] == 0 {
			types = append(types, typ)
		}
		count[typ]++
		size[typ] += float64(megabytes) * (1 << 20)
	}
	var all []fact
	for _, typ := range types {
		all = append(all,
			fact{name: "machine_dimm_count", labels: []string{"type", typ}, value: count[typ]},
			fact{name: "machine_dimm_capacity_bytes", labels: []string{"type", typ}, value: size[typ]})
	}
	return all
}

// topologyFacts describes threads, caches and NUMA nodes.
func (m *machine) topologyFacts(cpus []cpu) []fact {
	var all []fact
	siblings := make(map[[2]int]int)
	for _, c := range cpus {
		siblings[[2]int{c.socket, c.core}]++
	}
	seen := make(map[string]bool)
	for _, c := range cpus {
		ids := []string{"node_id", strconv.Itoa(c.node), "core_id", strconv.Itoa(c.core)}
		all = append(all, fact{
			name: "machine_thread_siblings_count", value: float64(siblings[[2]int{c.socket, c.core}]),
			labels: append(ids[:4:4], "thread_id", strconv.Itoa(c.number)),
		})
		for _, f := range cacheFacts(c, ids) {
			if key := strings.Join(f.labels, " "); !seen[key] {
				seen[key] = true
				all = append(all, f)
			}
		}
	}
	nodes, _ := filepath.Glob(filepath.Join(m.sysRoot, "devices/system/node/node[0-9]*")) // well formed
	for _, dir := range nodes {
		all = append(all, nodeFacts(dir)...)
	}
	return all
}

// cacheFacts describes the caches of one CPU; threads of one core have the same.
func cacheFacts(c cpu, ids []string) []fact {
	dirs, _ := filepath.Glob(filepath.Join(c.dir, "cache/index[0-9]*")) // well formed
	var all []fact
	for _, dir := range dirs {
		kb, err := strconv.ParseUint(strings.TrimSuffix(firstLine(filepath.Join(dir, "size")), "K"), 10, 40)
		if err != nil {
			continue
		}
		all = append(all, fact{
			name: "machine_cpu_cache_capacity_bytes", value: float64(kb) * 1024,
			labels: append(ids[:4:4], "type", firstLine(filepath.Join(dir, "type")), "level", firstLine(filepath.Join(dir, "level"))),
		})
	}
	return all
}

// nodeFacts describes one NUMA node.
func nodeFacts(dir string) []fact {
	id := []string{"node_id", strconv.Itoa(suffixNumber(dir, "node"))}
	var all []fact
	if b, err := os.ReadFile(filepath.Join(dir, "meminfo")); err == nil {
		if v, ok := kilobytes(string(b), "MemTotal:"); ok {
			all = append(all, fact{name: "machine_node_memory_capacity_bytes", labels: id, value: v})
		}
	}
	sizes, _ := filepath.Glob(filepath.Join(dir, "hugepages/hugepages-*kB")) // well formed
	for _, s := range sizes {
		if n := number(s, "nr_hugepages"); n >= 0 {
			size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(s), "hugepages-"), "kB")
			all = append(all, fact{name: "machine_node_hugepages_count", labels: append(id[:2:2], "page_size", size), value: float64(n)})
		}
	}
	for i, d := range strings.Fields(firstLine(filepath.Join(dir, "distance"))) {
		if v, err := strconv.ParseFloat(d, 64); err == nil {
			all = append(all, fact{name: "machine_node_distance", labels: append(id[:2:2], "target_node_id", strconv.Itoa(i)), value: v})
		}
	}
	return all
}
