package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// topValue is one of the numbers of a row.
type topValue int

const (
	topCPU         topValue = iota // cores in use
	topMemory                      // bytes of the working set
	topCPULimit                    // cores to compare the use with
	topMemoryLimit                 // bytes to compare the use with
	topValues                      // their number
)

// topView is what one of the top commands shows.
type topView struct {
	what       string            // one thing, for messages
	keys       []model.LabelName // identity of a row
	name       int               // the key that an argument names
	namespaced bool
	exprs      [topValues]string // PromQL; WINDOW stands for --since
	// cpuBase and memoryBase name the ratios in JSON.
	cpuBase, memoryBase string
	columns             func([]*topRow) []topColumn
	// prune drops rows that are part of others; it may be nil.
	prune func([]*topRow) []*topRow
}

// topColumn is one column of the table.
type topColumn struct {
	header string
	cell   func(*topRow) string
}

func (v *topView) expr(value topValue, since time.Duration) string {
	return strings.ReplaceAll(v.exprs[value], "WINDOW", model.Duration(since).String())
}

// nodeView is metrics-server's view of nodes: use is that of the root cgroup.
// Where nobody reads cgroups, node_exporter's numbers take its place; they
// carry the node in the label instance.
func nodeView() *topView {
	named := func(expr string) string { return `label_replace(` + expr + `, "node", "$1", "instance", "(.+)")` }
	return &topView{
		what: "node",
		keys: []model.LabelName{"node"},
		exprs: [topValues]string{
			topCPU: `max by (node) (sum by (node, job) (rate(container_cpu_usage_seconds_total{id="/",node!=""}[WINDOW]))) or ` +
				`max by (node) (sum by (node, job) (` + named(`rate(node_cpu_seconds_total{mode!~"idle|iowait|steal"}[WINDOW])`) + `))`,
			topMemory: `max by (node) (container_memory_working_set_bytes{id="/",node!=""}) or ` +
				`max by (node) (` + named(`node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes`) + `)`,
			topCPULimit: `max by (node) (machine_cpu_cores{node!=""}) or ` +
				`max by (node) (` + named(`count by (instance, job) (node_cpu_seconds_total{mode="idle"})`) + `)`,
			topMemoryLimit: `max by (node) (machine_memory_bytes{node!=""}) or max by (node) (` + named(`node_memory_MemTotal_bytes`) + `)`,
		},
		cpuBase: "cpu", memoryBase: "memory",
		columns: func([]*topRow) []topColumn {
			return []topColumn{
				keyColumn("NAME", 0), cpuColumn, percentColumn("CPU(%)", topCPU, topCPULimit),
				memoryColumn, percentColumn("MEMORY(%)", topMemory, topMemoryLimit),
			}
		},
	}
}

// The selectors of containers: containerd and CRI-O leave container empty on
// the cgroups of pods and sandboxes, dockershim called sandboxes POD.
const podContainers = `container!="",container!="POD",pod!=""`

// perContainer wraps an expression so that every container counts once: a
// series that has gone is left out, and of several sources of the same
// container (an agent, and a kubelet that is scraped) the highest is taken.
func perContainer(expr string) string {
	return `max by (namespace, pod, container) (` + expr + `)`
}

// podSelector selects the containers that the flags ask for.
func podSelector(s *topSettings) string {
	if s.allNamespaces {
		return podContainers
	}
	return podContainers + `,namespace=` + strconv.Quote(s.namespace)
}

// podExprs are the use and the limits of each container of pods. Shares of 2
// are the kernel's least and stand for no request.
func podExprs(s *topSettings) [topValues]string {
	selector := podSelector(s)
	return [topValues]string{
		topCPU: perContainer(`sum without (cpu) (rate(container_cpu_usage_seconds_total{` + selector + `}[WINDOW]))` +
			` and on (node, id) container_memory_working_set_bytes{` + selector + `}`),
		topMemory:      perContainer(`container_memory_working_set_bytes{` + selector + `}`),
		topCPULimit:    perContainer(`(container_spec_cpu_shares{` + selector + `} > 2) / 1024`),
		topMemoryLimit: perContainer(`container_spec_memory_limit_bytes{` + selector + `} > 0`),
	}
}

func containerView(s *topSettings) *topView {
	return &topView{
		what:       "container",
		keys:       []model.LabelName{"namespace", "pod", "container"},
		name:       2,
		namespaced: true,
		exprs:      podExprs(s),
		cpuBase:    "cpu_request", memoryBase: "memory_limit",
		columns: func(rows []*topRow) []topColumn {
			columns := []topColumn{keyColumn("POD", 1), keyColumn("NAME", 2), cpuColumn, memoryColumn}
			return withLimits(s.withNamespace(columns), rows, "CPU/R")
		},
	}
}

// podView sums over the containers of a pod. A limit counts only when each
// of its containers has one.
func podView(s *topSettings) *topView {
	exprs := podExprs(s)
	const bySum = `sum by (namespace, pod) (%s)`
	all := ` and on (namespace, pod) (count by (namespace, pod) (%s) == count by (namespace, pod) (` + exprs[topMemory] + `))`
	for _, limit := range []topValue{topCPULimit, topMemoryLimit} {
		exprs[limit] = fmt.Sprintf(bySum, exprs[limit]) + fmt.Sprintf(all, exprs[limit])
	}
	for _, use := range []topValue{topCPU, topMemory} {
		exprs[use] = fmt.Sprintf(bySum, exprs[use])
	}
	return &topView{
		what:       "pod",
		keys:       []model.LabelName{"namespace", "pod"},
		name:       1,
		namespaced: true,
		exprs:      exprs,
		cpuBase:    "cpu_request", memoryBase: "memory_limit",
		columns: func(rows []*topRow) []topColumn {
			columns := []topColumn{keyColumn("NAME", 1), cpuColumn, memoryColumn}
			return withLimits(s.withNamespace(columns), rows, "CPU/R")
		},
	}
}

// cgroupView lists the cgroups of machines without pods.
func cgroupView() *topView {
	const selector = `id!="/"`
	once := func(expr string) string { return `max by (node, id) (` + expr + `)` }
	return &topView{
		what: "container",
		keys: []model.LabelName{"id", "node"},
		exprs: [topValues]string{
			topCPU:         once(`sum without (cpu) (rate(container_cpu_usage_seconds_total{` + selector + `}[WINDOW]))`),
			topMemory:      once(`container_memory_working_set_bytes{` + selector + `}`),
			topCPULimit:    once(`container_spec_cpu_quota{` + selector + `} / container_spec_cpu_period{` + selector + `}`),
			topMemoryLimit: once(`container_spec_memory_limit_bytes{` + selector + `} > 0`),
		},
		cpuBase: "cpu_limit", memoryBase: "memory_limit",
		columns: func(rows []*topRow) []topColumn {
			columns := []topColumn{keyColumn("ID", 0), cpuColumn, memoryColumn}
			if severalNodes(rows) {
				columns = append([]topColumn{keyColumn("NODE", 1)}, columns...)
			}
			return withLimits(columns, rows, "CPU/L")
		},
		prune: pruneCgroups,
	}
}

func severalNodes(rows []*topRow) bool {
	for _, r := range rows {
		if r.key[1] != rows[0].key[1] {
			return true
		}
	}
	return false
}

// pruneCgroups keeps of each branch of the tree the cgroup that people know:
// the service, scope or container, without what is below and above it. In
// branches without those it keeps the leaves.
func pruneCgroups(rows []*topRow) []*topRow {
	units, parents := map[string]bool{}, map[string]bool{}
	at := func(node, id string) string { return node + "\xff" + id }
	for _, r := range rows {
		if isUnit(r.key[0]) {
			units[at(r.key[1], r.key[0])] = true
		}
		for _, ancestor := range ancestors(r.key[0]) {
			parents[at(r.key[1], ancestor)] = true
		}
	}
	var kept []*topRow
	for _, r := range rows {
		inside := false
		for _, ancestor := range ancestors(r.key[0]) {
			inside = inside || units[at(r.key[1], ancestor)]
		}
		self := at(r.key[1], r.key[0])
		if !inside && (units[self] || !parents[self]) {
			kept = append(kept, r)
		}
	}
	return kept
}

// isUnit says whether a cgroup is a systemd service or scope, or named after
// a container's id of 64 hexadecimal digits.
func isUnit(id string) bool {
	name := id[strings.LastIndexByte(id, '/')+1:]
	if strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope") {
		return true
	}
	const digits = 64
	return len(name) >= digits && strings.Trim(name[len(name)-digits:], "0123456789abcdef") == ""
}

// ancestors returns the ids above id, without the root.
func ancestors(id string) []string {
	var above []string
	for i := strings.LastIndexByte(id, '/'); i > 0; i = strings.LastIndexByte(id, '/') {
		id = id[:i]
		above = append(above, id)
	}
	return above
}

// withNamespace puts the namespace first with -A.
func (s *topSettings) withNamespace(columns []topColumn) []topColumn {
	if !s.allNamespaces {
		return columns
	}
	return append([]topColumn{keyColumn("NAMESPACE", 0)}, columns...)
}

// withLimits adds the columns of relative use that at least one row has.
func withLimits(columns []topColumn, rows []*topRow, cpuHeader string) []topColumn {
	cpu, memory := false, false
	for _, r := range rows {
		cpu = cpu || !math.IsNaN(r.values[topCPULimit])
		memory = memory || !math.IsNaN(r.values[topMemoryLimit])
	}
	if cpu {
		columns = append(columns, percentColumn(cpuHeader, topCPU, topCPULimit))
	}
	if memory {
		columns = append(columns, percentColumn("MEM/L", topMemory, topMemoryLimit))
	}
	return columns
}

// rounding keeps what floating point makes of 50 % from being 49 % or 51 %.
const rounding = 1e-9

// unknown is what kubectl prints for numbers that it does not have.
const unknown = "<unknown>"

func keyColumn(header string, index int) topColumn {
	return topColumn{header, func(r *topRow) string { return r.key[index] }}
}

// cpuColumn writes millicores, rounded up as kubectl does.
var cpuColumn = topColumn{"CPU(cores)", func(r *topRow) string {
	if math.IsNaN(r.values[topCPU]) {
		return unknown
	}
	return strconv.FormatInt(int64(math.Ceil(r.values[topCPU]*1000-rounding)), 10) + "m"
}}

// memoryColumn writes mebibytes, rounded down as kubectl does.
var memoryColumn = topColumn{"MEMORY(bytes)", func(r *topRow) string {
	if math.IsNaN(r.values[topMemory]) {
		return unknown
	}
	return strconv.FormatInt(int64(r.values[topMemory])>>20, 10) + "Mi"
}}

// percentColumn writes use relative to limit, rounded down as kubectl does.
func percentColumn(header string, use, limit topValue) topColumn {
	return topColumn{header, func(r *topRow) string {
		ratio := r.values[use] / r.values[limit]
		if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
			return unknown
		}
		return strconv.FormatInt(int64(ratio*100+rounding), 10) + "%"
	}}
}
