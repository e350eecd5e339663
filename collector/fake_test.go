package collector

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
	"github.com/binnacle-obs/binnacle/collector/proc"
	"github.com/binnacle-obs/binnacle/storage"
)

// fakeGroup is a cgroup with settable statistics.
type fakeGroup struct {
	id       string
	identity cgroup.Identity
	created  time.Time
	pids     []int

	mu    sync.Mutex
	stats cgroup.Stats
	err   error
	panic bool
}

func (g *fakeGroup) ID() string                { return g.id }
func (g *fakeGroup) Identity() cgroup.Identity { return g.identity }
func (g *fakeGroup) CreatedAt() time.Time      { return g.created }

func (g *fakeGroup) Pids(dst []int) ([]int, error) { return append(dst, g.pids...), nil }

func (g *fakeGroup) Read(s *cgroup.Stats, want cgroup.Set) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.panic {
		panic("as asked")
	}
	s.Reset()
	io, huge, cpus, numa := s.IO[:0], s.Hugetlb[:0], s.PerCPU[:0], s.NUMA[:0]
	*s = g.stats
	s.IO, s.Hugetlb = append(io, g.stats.IO...), append(huge, g.stats.Hugetlb...)
	s.PerCPU, s.NUMA = append(cpus, g.stats.PerCPU...), append(numa, g.stats.NUMA...)
	s.Read &= want
	if want&cgroup.SetProcs == 0 {
		s.Procs = cgroup.Procs{Count: cgroup.None}
	}
	return g.err
}

// set changes the statistics under the lock.
func (g *fakeGroup) set(f func(*cgroup.Stats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.stats)
}

// emptyStats knows nothing, as a reading of no files does.
func emptyStats() cgroup.Stats {
	var s cgroup.Stats
	s.Reset()
	return s
}

const (
	podUID  = "6f0d7a3e-1c86-4b5b-a6ee-1f9f3f0f3a11"
	ctrID   = "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce"
	pauseID = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
)

var born = time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC)

func rootGroup() *fakeGroup {
	return &fakeGroup{id: "/", identity: cgroup.Identity{Kind: cgroup.KindRoot}, created: born.Add(-time.Hour), stats: emptyStats()}
}

func podGroup() *fakeGroup {
	return &fakeGroup{
		id: "/kubepods/burstable/pod" + podUID, created: born, stats: emptyStats(),
		identity: cgroup.Identity{Kind: cgroup.KindPod, PodUID: podUID, QoS: "burstable"},
	}
}

func containerGroup(id string, pid int) *fakeGroup {
	g := &fakeGroup{
		id: "/kubepods/burstable/pod" + podUID + "/" + id, created: born, stats: emptyStats(), pids: []int{pid},
		identity: cgroup.Identity{Kind: cgroup.KindContainer, Runtime: "containerd", PodUID: podUID, QoS: "burstable", ContainerID: id},
	}
	g.stats.Read = cgroup.SetCPU | cgroup.SetMemory | cgroup.SetProcs
	g.stats.Procs = cgroup.Procs{Count: 1, First: pid}
	g.stats.CPU.Usage = 1_500_000_000
	g.stats.Memory.Usage = 4096
	return g
}

// names is a fake of Identities.
type names map[string]Names

func (n names) Names(id cgroup.Identity) (Names, bool) {
	key := id.ContainerID
	if key == "" {
		key = id.PodUID
	}
	v, ok := n[key]
	return v, ok
}

func demoNames() names {
	demo := Names{Namespace: "shop", Pod: "web-0"}
	app, pause := demo, demo
	app.Container, app.Image = "app", "registry.local/app:1"
	pause.Sandbox, pause.Image = true, "registry.local/pause:3"
	return names{podUID: demo, ctrID: app, pauseID: pause}
}

// fakeProc is a fake of /proc.
type fakeProc struct {
	netns map[int]uint64
	devs  map[int]*fakeNetDev
	upper map[int]string
}

const hostNS = 1

func newFakeProc() *fakeProc {
	return &fakeProc{netns: map[int]uint64{1: hostNS}, devs: map[int]*fakeNetDev{}, upper: map[int]string{}}
}

type fakeNetDev struct {
	all    []proc.Interface
	closed bool
}

func (d *fakeNetDev) Read(dst []proc.Interface) ([]proc.Interface, error) {
	return append(dst, d.all...), nil
}
func (d *fakeNetDev) Close() error { d.closed = true; return nil }

func (p *fakeProc) OpenNetDev(pid int) (netDev, error) {
	if d := p.devs[pid]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("pid %d: %w", pid, proc.ErrGone)
}

func (p *fakeProc) NetNS(pid int) (uint64, error) {
	if ns, ok := p.netns[pid]; ok {
		return ns, nil
	}
	return 0, fmt.Errorf("pid %d: %w", pid, proc.ErrGone)
}
func (p *fakeProc) HostNetNS() (uint64, error)             { return hostNS, nil }
func (p *fakeProc) OpenFiles(int) (uint64, error)          { return 12, nil }
func (p *fakeProc) Sockets(int) (uint64, error)            { return 3, nil }
func (p *fakeProc) SoftLimitOpenFiles(int) (uint64, error) { return 1024, nil }
func (p *fakeProc) TCPStates(_ int, _ bool) (s proc.TCPStates, _ error) {
	s[proc.TCPListen] = 2
	return s, nil
}

func (p *fakeProc) UDPStates(int, bool) (proc.UDPStates, error) {
	return proc.UDPStates{Listen: 1}, nil
}

func (p *fakeProc) SchedStat(pid int) (proc.SchedStat, error) {
	return proc.SchedStat{Run: uint64(pid) * 1e9, Wait: 5e8, Periods: 7}, nil
}

func (p *fakeProc) UpperDir(pid int) (string, error) {
	if d, ok := p.upper[pid]; ok {
		return d, nil
	}
	return "", proc.ErrNoUpperDir
}

// fakeDisks is a fake of the disk walker.
type fakeDisks struct {
	watched map[string]string
	used    uint64
	all     []disk.Filesystem
}

func (d *fakeDisks) Watch(key, path string) { d.watched[key] = path }
func (d *fakeDisks) Unwatch(key string)     { delete(d.watched, key) }
func (d *fakeDisks) Usage(key string) (disk.Usage, bool) {
	_, ok := d.watched[key]
	return disk.Usage{Bytes: d.used}, ok && d.used > 0
}
func (d *fakeDisks) Filesystems() []disk.Filesystem { return d.all }

// fakeSource is a source that tests speak through.
type fakeSource struct {
	version cgroup.Version
	watcher chan watcher
	closed  bool
}

func (s *fakeSource) Version() cgroup.Version { return s.version }
func (s *fakeSource) Close() error            { s.closed = true; return nil }
func (s *fakeSource) Run(ctx context.Context, w watcher) error {
	s.watcher <- w
	<-ctx.Done()
	return ctx.Err()
}

// recorder is an Appender that remembers.
type recorder struct {
	mu      sync.Mutex
	samples []storage.Sample
	err     error
}

func (r *recorder) Append(_ context.Context, batch []storage.Sample) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, batch...)
	return r.err
}

func (r *recorder) take() []storage.Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.samples
	r.samples = nil
	return s
}

// rig is a collector with fakes around it.
type rig struct {
	*Collector
	t     *testing.T
	procs *fakeProc
	disks *fakeDisks
	src   *fakeSource
	rec   *recorder
	now   time.Time
}

func newRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		Node: "node-1", ProcRoot: dir, SysRoot: dir, RootFS: dir, Identities: demoNames(),
	}
	if change != nil {
		change(&o)
	}
	o, err := o.withDefaults()
	require.NoError(t, err)
	r := &rig{
		t: t, procs: newFakeProc(), disks: &fakeDisks{watched: map[string]string{}},
		src: &fakeSource{version: cgroup.V2, watcher: make(chan watcher, 1)}, rec: &recorder{}, now: born.Add(time.Minute),
	}
	r.Collector, err = newCollector(o, r.src, r.procs, r.disks)
	require.NoError(t, err)
	r.started = born.Add(-time.Minute).UnixMilli()
	return r
}

// tick runs one cycle, an interval after the one before, and returns its samples.
func (r *rig) tick() series {
	r.now = r.now.Add(r.opts.Interval)
	r.cycle(r.t.Context(), r.rec, r.now)
	for _, ct := range r.containers {
		ct.readAt = r.now // the clock of the test
	}
	return toSeries(r.rec.take())
}

func (r *rig) event(e event) series {
	ev := newEvents(r.t.Context(), r.want)
	r.happened(r.t.Context(), r.rec, ev, e)
	return toSeries(r.rec.take())
}

func (r *rig) empty(g Group, at time.Time) series {
	s := new(cgroup.Stats)
	err := g.Read(s, r.want)
	return r.event(event{kind: emptied, group: g, at: at, stats: s, err: err})
}

// series maps labels to samples, in order.
type series map[string][]storage.Sample

func toSeries(all []storage.Sample) series {
	s := series{}
	for _, x := range all {
		key := x.Series.Labels.String()
		s[key] = append(s[key], x)
	}
	return s
}

// find returns the samples of the only series with this name and these labels.
func (s series) find(t *testing.T, name string, pairs ...string) []storage.Sample {
	t.Helper()
	var found []storage.Sample
	n := 0
	for _, samples := range s {
		if matches(samples[0].Series.Labels, name, pairs) {
			found = samples
			n++
		}
	}
	require.LessOrEqual(t, n, 1, "%s %v is ambiguous", name, pairs)
	return found
}

func matches(l labels.Labels, name string, pairs []string) bool {
	if l.Get(model.MetricNameLabel) != name {
		return false
	}
	for i := 0; i < len(pairs); i += 2 {
		if l.Get(pairs[i]) != pairs[i+1] {
			return false
		}
	}
	return true
}

// value returns the one value of a series.
func (s series) value(t *testing.T, name string, pairs ...string) float64 {
	t.Helper()
	found := s.find(t, name, pairs...)
	require.Len(t, found, 1, "%s %v", name, pairs)
	return found[0].V
}

func isStale(v float64) bool { return math.Float64bits(v) == value.StaleNaN }
