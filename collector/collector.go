package collector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs/blockdevice"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
	"github.com/binnacle-obs/binnacle/collector/proc"
	"github.com/binnacle-obs/binnacle/storage"
)

// processes is what the collector needs of /proc.
type processes interface {
	OpenNetDev(pid int) (netDev, error)
	NetNS(pid int) (uint64, error)
	HostNetNS() (uint64, error)
	OpenFiles(pid int) (uint64, error)
	Sockets(pid int) (uint64, error)
	SoftLimitOpenFiles(pid int) (uint64, error)
	TCPStates(pid int, six bool) (proc.TCPStates, error)
	UDPStates(pid int, six bool) (proc.UDPStates, error)
	SchedStat(pid int) (proc.SchedStat, error)
	UpperDir(pid int) (string, error)
}

// procFiles makes *proc.FS return interfaces.
type procFiles struct{ *proc.FS }

func (p procFiles) OpenNetDev(pid int) (netDev, error) {
	dev, err := p.FS.OpenNetDev(pid)
	if err != nil {
		return nil, err // not dev: a nil *NetDev is not a nil netDev
	}
	return dev, nil
}

// sections are the collectors over one reading of a cgroup.
type sections struct {
	// read are filled at every reading, in this order.
	read []*section
	// The rest is filled by hand.
	files, sched, tcp, udp section
}

// tables make the series of variable numbers of elements.
type tables struct {
	io, blkio table[cgroup.DeviceIO]
	hugetlb   table[cgroup.Hugetlb]
	network   table[proc.Interface]
	perCPU    table[cpuTime]
	numa      table[cgroup.NUMANode]
	disk      table[diskUse]
	diskStats table[blockdevice.Diskstats]
}

// Collector turns cgroups and the machine into samples. Make it with New; it
// collects while Run runs.
type Collector struct {
	opts    Options
	optIn   map[string]bool
	source  source
	files   processes
	disks   disks
	runDisk func(context.Context)
	node    *nodeGatherer
	own     *converter
	metrics *metrics
	health  *health
	catalog catalog

	sections sections
	cells    int
	tables   tables
	want     cgroup.Set
	version  cgroup.Version
	started  int64

	// mu guards everything below for the Gatherers. The goroutine of Run is
	// the only one that writes; it holds mu while it does.
	mu         sync.Mutex
	containers []*container
	byGroup    map[Group]*container
	pods       map[string]*pod
	oom        *oomCounts
	namespaces *namespaces
	machine    *machine
	up         cell
	scrapeErr  cell
	lastCycle  int64
	// slowTurn is the part of the containers whose slow part is due; see slow.
	slowTurn int

	// Buffers that are used again and again.
	batch      batch
	stats      cgroup.Stats
	reading    reading
	interfaces []proc.Interface
	cpuTimes   []cpuTime
	pids       []int
	uses       []diskUse

	bundles bundles
	podLogs podLogs
}

// New opens the cgroup tree and /proc. It fails when one of them cannot be
// read; the error says which.
func New(o Options) (*Collector, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	files, err := proc.Open(o.ProcRoot)
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	tree, err := openTree(o)
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	walker := disk.New(disk.Options{ProcRoot: o.ProcRoot, Logger: o.Logger.With("component", "disk"), Registerer: o.Registerer})
	c, err := newCollector(o, tree, procFiles{files}, walker)
	if err == nil {
		err = o.Registerer.Register(treeMetrics{tree})
	}
	if err == nil {
		c.runDisk = walker.Run
		c.node, err = newNodeGatherer(o, c.metrics.droppedSeries)
	}
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	return c, nil
}

// newCollector makes a Collector of parts, which tests replace. Options must
// have their defaults.
func newCollector(o Options, src source, files processes, d disks) (*Collector, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	c := &Collector{
		opts: o, optIn: make(map[string]bool), source: src, files: files, disks: d, metrics: m,
		health: newHealth(o.Logger, m.success, collectorNames()), catalog: newCatalog(All()),
		byGroup: make(map[Group]*container), pods: make(map[string]*pod),
		version: src.Version(), started: time.Now().UnixMilli(),
		bundles: newBundles(o.RunRoot), podLogs: podLogs{root: o.PodLogsRoot},
		runDisk: func(ctx context.Context) { <-ctx.Done() },
	}
	for _, g := range o.OptIn {
		c.optIn[g] = true
	}
	if err := c.resolve(); err != nil {
		return nil, err
	}
	if c.namespaces, err = newNamespaces(files); err != nil {
		return nil, fmt.Errorf("collector: network namespace of the host: %w", err)
	}
	c.oom = newOOMCounts(c.catalog)
	c.machine = &machine{
		procRoot: o.ProcRoot, sysRoot: o.SysRoot, rootFS: o.RootFS,
		topology: c.optIn[groupTopology], catalog: c.catalog, base: c.hostLabels(),
	}
	c.up.series = &storage.Series{Labels: seriesLabels(c.hostLabels(), "up", nil, nil), Family: upFamily}
	f := c.catalog["container_scrape_error"]
	c.scrapeErr.series = &storage.Series{Labels: seriesLabels(c.hostLabels(), f.Name, nil, nil), Family: f}
	c.own = newConverter(jobLabels("binnacle", o.Node), m.droppedSeries)
	return c, nil
}

// hostLabels are the labels of cAdvisor's families that belong to no container.
func (c *Collector) hostLabels() labels.Labels {
	return labels.NewBuilder(jobLabels("cadvisor", c.opts.Node)).Set("metrics_path", metricsPath).Labels()
}

var upFamily = &storage.Family{Name: "up", Help: "1 if the job's metrics could be collected, 0 otherwise.", Type: gauge}

// collectorNames lists the values of the label collector.
func collectorNames() []string { return append(cycleCollectors(), "node", "binnacle") }

// cycleNames is cycleCollectors, made once.
var cycleNames = cycleCollectors()

// cycleCollectors are those that the cycle runs.
func cycleCollectors() []string {
	return []string{
		"cgroup", "general", "spec", "cpu", "memory", "pressure", "process", "pids", "io", "hugetlb", "oom", groupCpuset, groupPerCPU, groupNUMA,
		"network", "files", groupSched, groupTCP, groupUDP, "disk", "diskstats", "machine", "identity",
	}
}

// sets lists which collector fails when a set cannot be read.
var sets = []struct {
	set  cgroup.Set
	name string
}{
	{cgroup.SetCPU, "cpu"},
	{cgroup.SetMemory, "memory"},
	{cgroup.SetPids, "pids"},
	{cgroup.SetPidsPeak, "pids"},
	{cgroup.SetIO, "io"},
	{cgroup.SetPSI, "pressure"},
	{cgroup.SetHugetlb, "hugetlb"},
	{cgroup.SetSpec, "spec"},
	{cgroup.SetProcs, "process"},
	{cgroup.SetPerCPU, groupPerCPU},
	{cgroup.SetCpuset, groupCpuset},
	{cgroup.SetNUMA, groupNUMA},
}

// resolve connects all slots with the families of All and says what to read.
func (c *Collector) resolve() error {
	c.want = cgroup.SetDefault
	read := []section{generalSection(), specSection(), cpuSection(c.optIn[groupPerCPU]), memorySection(), pressureSection(), procsSection(), pidsSection(), pidsPeakSection()}
	if c.optIn[groupCpuset] {
		read = append(read, cpusetSection())
		c.want |= cgroup.SetCpuset
	}
	if c.optIn[groupPerCPU] {
		c.want |= cgroup.SetPerCPU
	}
	if c.optIn[groupNUMA] {
		c.want |= cgroup.SetNUMA
	}
	for i := range read {
		c.sections.read = append(c.sections.read, &read[i])
	}
	c.sections.files, c.sections.sched, c.sections.tcp, c.sections.udp = filesSection(), schedSection(), tcpSection(), udpSection()
	all := append([]*section(nil), c.sections.read...)
	all = append(all, &c.sections.files)
	for group, s := range map[string]*section{groupSched: &c.sections.sched, groupTCP: &c.sections.tcp, groupUDP: &c.sections.udp} {
		if c.optIn[group] {
			all = append(all, s)
		}
	}
	for _, s := range all {
		if err := s.resolve(c.catalog, c.cells); err != nil {
			return err
		}
		c.cells += len(s.slots)
	}
	devices := &deviceNames{sysRoot: c.opts.SysRoot}
	c.tables = tables{
		io: ioTable(devices), blkio: blkioTable(devices), hugetlb: hugetlbTable(), network: networkTable(),
		perCPU: perCPUTable(), numa: numaTable(), disk: diskTable(), diskStats: diskStatsTable(),
	}
	return errors.Join(
		c.tables.io.resolve(c.catalog), c.tables.blkio.resolve(c.catalog), c.tables.hugetlb.resolve(c.catalog),
		c.tables.network.resolve(c.catalog), c.tables.perCPU.resolve(c.catalog), c.tables.numa.resolve(c.catalog),
		c.tables.disk.resolve(c.catalog), c.tables.diskStats.resolve(c.catalog))
}

// Cadvisor returns what cAdvisor would expose: container_* and machine_* of
// the last cycle, with its time, without the labels that a scrape adds.
func (c *Collector) Cadvisor() prometheus.Gatherer { return prometheus.GathererFunc(c.exposeCadvisor) }

// Node returns the node_* metrics as last gathered.
func (c *Collector) Node() prometheus.Gatherer { return prometheus.GathererFunc(c.exposeNode) }
