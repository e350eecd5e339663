package collector

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

func machineFamilies() []Descriptor {
	const (
		g    = "machine"
		topo = "/sys/devices/system/cpu"
		node = "/sys/devices/system/node"
		edac = "/sys/devices/system/edac/mc"
		s390 = "better: absent on machines other than s390x instead of 0"
	)
	f := func(group, name, unit, help, from, versus string, labels ...string) Descriptor {
		return describe(group, "machine_"+name, gauge, unit, help, origin{from, from, versus}, labels...)
	}
	return []Descriptor{
		f(g, "cpu_cores", "", "Logical CPUs.", topo, "same"),
		f(g, "cpu_physical_cores", "", "Physical cores.", topo, "better: cores of different sockets with one number are told apart"),
		f(g, "cpu_sockets", "", "CPU sockets.", topo, "same"),
		f(g, "cpu_books", "", "CPU books.", topo, s390),
		f(g, "cpu_drawers", "", "CPU drawers.", topo, s390),
		f(g, "memory_bytes", "bytes", "Memory of the machine.", "/proc/meminfo MemTotal", "same"),
		f(g, "swap_bytes", "bytes", "Swap of the machine.", "/proc/meminfo SwapTotal", "same"),
		f(g, "dimm_count", "", "Memory modules by type; only where the kernel lists them.", edac, "same", "type"),
		f(g, "dimm_capacity_bytes", "bytes", "Size of the memory modules by type; only where the kernel lists them.", edac, "same", "type"),
		f(g, "scrape_error", "", "1 if the machine could not be read, 0 otherwise.", "own", "same"),
		f(groupTopology, "cpu_cache_capacity_bytes", "bytes", "Size of a CPU cache.", topo+"/cpu*/cache", "same", "node_id", "core_id", "type", "level"),
		f(groupTopology, "thread_siblings_count", "", "Threads in the core of a thread.", topo, "same", "node_id", "core_id", "thread_id"),
		f(groupTopology, "node_memory_capacity_bytes", "bytes", "Memory of a NUMA node.", node+"/node*/meminfo", "same", "node_id"),
		f(groupTopology, "node_hugepages_count", "", "Huge pages of a NUMA node.", node+"/node*/hugepages", "same", "node_id", "page_size"),
		f(groupTopology, "node_distance", "", "Distance between two NUMA nodes.", node+"/node*/distance", "same", "node_id", "target_node_id"),
	}
}

// fact is one value about the machine.
type fact struct {
	name   string
	labels []string
	value  float64
}

// machineEvery is how often the machine is looked at again: CPUs and memory
// can be added while it runs, but seldom are.
const machineEvery = 5 * time.Minute

// machine shows facts about the machine. It is owned by the collector's goroutine.
type machine struct {
	procRoot, sysRoot, rootFS string
	topology                  bool
	catalog                   catalog
	base                      labels.Labels
	read                      time.Time
	cells                     []cell
}

// fill appends the facts; it reads them anew every now and then.
func (m *machine) fill(b *batch, now time.Time) error {
	var err error
	if m.read.IsZero() || now.Sub(m.read) >= machineEvery {
		m.read = now
		err = m.refresh(b)
	}
	for i := range m.cells {
		b.put(&m.cells[i], m.cells[i].v)
	}
	return err
}

// refresh makes the series of the present facts and ends those that are gone.
// Facts that could not be read are left out.
func (m *machine) refresh(b *batch) error {
	facts, err := m.facts()
	facts = append(facts, fact{name: "machine_scrape_error", value: boolValue(err != nil)})
	base := labels.NewBuilder(m.base).
		Set("machine_id", m.id("etc/machine-id", "var/lib/dbus/machine-id")).
		Set("system_uuid", firstLine(filepath.Join(m.sysRoot, "class/dmi/id/product_uuid"))).
		Set("boot_id", firstLine(filepath.Join(m.procRoot, "sys/kernel/random/boot_id"))).Labels()
	old := m.cells
	m.cells = nil
	for _, f := range facts {
		own := base
		if f.name == "machine_scrape_error" {
			own = m.base
		}
		l := seriesLabels(own, f.name, f.labels, nil)
		m.cells = append(m.cells, cell{series: takeSeries(old, l, m.catalog[f.name]), v: f.value})
	}
	for i := range old {
		b.absent(&old[i])
	}
	return err
}

// takeSeries removes the series with these labels from old, or makes it.
func takeSeries(old []cell, l labels.Labels, f *storage.Family) *storage.Series {
	for i := range old {
		if s := old[i].series; s != nil && labels.Equal(s.Labels, l) {
			old[i].series = nil
			return s
		}
	}
	return &storage.Series{Labels: l, Family: f}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *machine) id(files ...string) string {
	for _, f := range files {
		if id := firstLine(filepath.Join(m.rootFS, f)); id != "" {
			return id
		}
	}
	return ""
}

// firstLine returns the only line of a small file, "" when there is none.
func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "" // an optional file
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// facts reads everything that is known about the machine.
func (m *machine) facts() ([]fact, error) {
	memory, err := m.memoryFacts()
	cpus := m.cpus()
	all := append(cpuFacts(cpus), memory...)
	all = append(all, m.dimmFacts()...)
	if m.topology {
		all = append(all, m.topologyFacts(cpus)...)
	}
	return all, err
}

// cpu is one logical CPU; numbers that the kernel does not tell are -1.
type cpu struct {
	number, core, socket, book, drawer, node int
	dir                                      string
}

// cpus lists the online CPUs.
func (m *machine) cpus() []cpu {
	dirs, _ := filepath.Glob(filepath.Join(m.sysRoot, "devices/system/cpu/cpu[0-9]*")) // the pattern is well formed
	var all []cpu
	for _, dir := range dirs {
		if firstLine(filepath.Join(dir, "online")) == "0" {
			continue
		}
		c := cpu{
			number: suffixNumber(dir, "cpu"), dir: dir, node: 0,
			core: number(dir, "topology/core_id"), socket: number(dir, "topology/physical_package_id"),
			book: number(dir, "topology/book_id"), drawer: number(dir, "topology/drawer_id"),
		}
		if nodes, _ := filepath.Glob(filepath.Join(dir, "node[0-9]*")); len(nodes) > 0 {
			c.node = suffixNumber(nodes[0], "node")
		}
		all = append(all, c)
	}
	return all
}

func suffixNumber(path, prefix string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), prefix))
	if err != nil {
		return -1
	}
	return n
}

func number(dir, name string) int {
	n, err := strconv.Atoi(firstLine(filepath.Join(dir, name)))
	if err != nil {
		return -1
	}
	return n
}

func cpuFacts(cpus []cpu) []fact {
	distinct := func(key func(cpu) [2]int, known func(cpu) bool) float64 {
		seen := make(map[[2]int]bool)
		for _, c := range cpus {
			if known(c) {
				seen[key(c)] = true
			}
		}
		return float64(len(seen))
	}
	all := []fact{{name: "machine_cpu_cores", value: float64(len(cpus))}}
	for _, f := range []fact{
		{name: "machine_cpu_physical_cores", value: distinct(
			func(c cpu) [2]int { return [2]int{c.socket, c.core} }, func(c cpu) bool { return c.core >= 0 })},
		{name: "machine_cpu_sockets", value: distinct(
			func(c cpu) [2]int { return [2]int{c.socket} }, func(c cpu) bool { return c.socket >= 0 })},
		{name: "machine_cpu_books", value: distinct(
			func(c cpu) [2]int { return [2]int{c.book} }, func(c cpu) bool { return c.book >= 0 })},
		{name: "machine_cpu_drawers", value: distinct(
			func(c cpu) [2]int { return [2]int{c.drawer} }, func(c cpu) bool { return c.drawer >= 0 })},
	} {
		if f.value > 0 {
			all = append(all, f)
		}
	}
	return all
}
