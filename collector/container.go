package collector

import (
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/storage"
)

// Group is what the collector needs of a cgroup. *cgroup.Group satisfies it.
type Group interface {
	// ID is the path of the cgroup as cAdvisor shows it.
	ID() string
	Identity() cgroup.Identity
	CreatedAt() time.Time
	// Read fills s with the wanted sets. It is safe for concurrent use.
	Read(s *cgroup.Stats, want cgroup.Set) error
	// Pids appends the processes of the cgroup itself to dst.
	Pids(dst []int) ([]int, error)
}

// Vectors of a container.
const (
	vecIO = iota
	vecBlkio
	vecHugetlb
	vecNetwork
	vecPerCPU
	vecNUMA
	vecDisk
	vecDiskStats
	vectors
)

// container is the state of one cgroup: its identity and its live series.
// All of it is owned by the collector's goroutine.
type container struct {
	group Group
	id    cgroup.Identity
	names Names
	// bundle is what the runtime's bundle says; it is looked for at once,
	// because it goes with the container.
	bundle Names
	// named is false as long as it is worth looking for better names.
	named   bool
	tries   int
	sandbox bool
	// firstPid is the first process of the last reading, 0 without any.
	firstPid  int
	createdMs uint64
	base      labels.Labels
	index     int // in Collector.containers

	cells   []cell
	vectors [vectors]vector

	// lastT is the time of the last sample.
	lastT int64
	// readAt is when a cycle read it last; later than lastT, which is the
	// time of the whole cycle.
	readAt time.Time
	// populated: it had a process at some time. final: its last reading is stored.
	populated, final bool
	// readings counts those by cycles.
	readings int
	// slowDone: the slow part has been collected at least once.
	slowDone bool

	oom     *oomCount
	oomSeen uint64

	net      netDev
	netInode uint64
	netDone  bool

	openFiles  processLimit
	layerTries int // how often its writable layer was looked for

	sched   schedTotals
	watched []watched
}

func (ct *container) isRoot() bool { return ct.id.Kind == cgroup.KindRoot }

// newSeries makes a series of the container. Labels are name, value pairs.
func (ct *container) newSeries(f *storage.Family, slotLabels, rowLabels []string) *storage.Series {
	return &storage.Series{Labels: seriesLabels(ct.base, f.Name, slotLabels, rowLabels), Family: f}
}

func seriesLabels(base labels.Labels, name string, a, b []string) labels.Labels {
	lb := labels.NewBuilder(base)
	lb.Set(model.MetricNameLabel, name)
	for _, pairs := range [][]string{a, b} {
		for i := 0; i+1 < len(pairs); i += 2 {
			lb.Set(pairs[i], pairs[i+1])
		}
	}
	return lb.Labels()
}

// clear ends all series of the container.
func (ct *container) clear(b *batch) {
	for i := range ct.cells {
		b.absent(&ct.cells[i])
	}
	for i := range ct.vectors {
		ct.vectors[i].clear(b)
	}
}

// each calls f for every live series of the container.
func (ct *container) each(f func(*cell)) {
	for i := range ct.cells {
		if ct.cells[i].series != nil {
			f(&ct.cells[i])
		}
	}
	for i := range ct.vectors {
		ct.vectors[i].each(f)
	}
}

// baseLabels are the labels of every series of a container: where it runs and
// who it is. Empty values are absent.
func baseLabels(node string, g Group, id cgroup.Identity, names Names) labels.Labels {
	lb := labels.NewBuilder(jobLabels("cadvisor", node))
	lb.Set("metrics_path", metricsPath)
	lb.Set("id", g.ID())
	lb.Set("name", id.ContainerID)
	lb.Set("namespace", names.Namespace)
	lb.Set("pod", names.Pod)
	lb.Set("container", names.Container)
	lb.Set("image", names.Image)
	return lb.Labels()
}

// metricsPath is the path of the kubelet that dashboards select container metrics by.
const metricsPath = "/metrics/cadvisor"

// jobLabels are the labels that a scrape of this node would add.
func jobLabels(job, node string) labels.Labels {
	return labels.FromStrings("instance", node, "job", job, "node", node)
}
