package collector

import (
	"context"
	"sync"
	"time"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

// source finds cgroups.
type source interface {
	Version() cgroup.Version
	// Run reports cgroups to the watcher until ctx ends, from one goroutine.
	Run(ctx context.Context, w watcher) error
	Close() error
}

// watcher learns which cgroups there are.
type watcher interface {
	Added(Group)
	// Emptied is called when the last process has left, while the files of
	// the cgroup can still be read.
	Emptied(Group)
	Removed(Group)
}

// tree makes *cgroup.Tree a source.
type tree struct{ *cgroup.Tree }

func openTree(o Options) (tree, error) {
	t, err := cgroup.Open(cgroup.Options{
		Root: o.CgroupRoot, ProcRoot: o.ProcRoot, MaxDescriptors: o.MaxDescriptors, Logger: o.Logger.With("component", "cgroup"),
	})
	return tree{t}, err
}

func (t tree) Run(ctx context.Context, w watcher) error { return t.Tree.Run(ctx, treeHandler{w}) }

// treeHandler turns *cgroup.Group into Group.
type treeHandler struct{ w watcher }

func (h treeHandler) Added(g *cgroup.Group)   { h.w.Added(g) }
func (h treeHandler) Emptied(g *cgroup.Group) { h.w.Emptied(g) }
func (h treeHandler) Removed(g *cgroup.Group) { h.w.Removed(g) }

type eventKind uint8

const (
	added eventKind = iota
	emptied
	removed
)

// event is something that happened to a cgroup. stats and err are the last
// reading of an emptied one.
type event struct {
	kind  eventKind
	group Group
	at    time.Time
	stats *cgroup.Stats
	err   error
}

// maxEvents bounds the events that wait while a cycle runs. When it is
// reached the source waits.
const maxEvents = 1024

// events passes what happens to cgroups to the goroutine of the collector. An
// emptied cgroup is read at once, in the goroutine of the source, because the
// runtime removes it within milliseconds.
type events struct {
	ctx  context.Context
	ch   chan event
	want cgroup.Set
	// pool has the Stats of final readings.
	pool sync.Pool
}

func newEvents(ctx context.Context, want cgroup.Set) *events {
	return &events{
		ctx: ctx, ch: make(chan event, maxEvents), want: want,
		pool: sync.Pool{New: func() any { return new(cgroup.Stats) }},
	}
}

// Added implements watcher.
func (e *events) Added(g Group) { e.send(event{kind: added, group: g}) }

// Emptied implements watcher.
func (e *events) Emptied(g Group) {
	ev := event{kind: emptied, group: g, at: time.Now(), stats: e.pool.Get().(*cgroup.Stats)}
	ev.err = g.Read(ev.stats, e.want)
	e.send(ev)
}

// Removed implements watcher.
func (e *events) Removed(g Group) { e.send(event{kind: removed, group: g, at: time.Now()}) }

func (e *events) send(ev event) {
	select {
	case e.ch <- ev:
	case <-e.ctx.Done():
	}
}

// handle applies one event. Samples go to the batch.
func (c *Collector) handle(ev event, b *batch) {
	switch ev.kind {
	case added:
		c.add(ev.group)
	case emptied:
		if ct := c.byGroup[ev.group]; ct != nil {
			c.finish(ct, ev, b)
		}
	case removed:
		if ct := c.byGroup[ev.group]; ct != nil {
			c.remove(ct, ev.at, b)
		}
	}
}

// add enters a cgroup; its series come with its first reading.
func (c *Collector) add(g Group) {
	if c.byGroup[g] != nil {
		return
	}
	ct := &container{
		group: g, id: g.Identity(), createdMs: cgroup.None,
		cells: make([]cell, c.cells), index: len(c.containers),
	}
	if at := g.CreatedAt(); !at.IsZero() {
		ct.createdMs = uint64(at.UnixMilli())
	}
	if ct.id.Kind == cgroup.KindContainer {
		ct.bundle = c.bundles.names(ct.id.ContainerID)
	}
	c.byGroup[g] = ct
	c.containers = append(c.containers, ct)
	c.join(ct)
	c.podLogs.expire() // a new pod has a new folder
	c.metrics.containers.Set(float64(len(c.containers)))
}

// finish stores the last reading of a cgroup under its own time.
func (c *Collector) finish(ct *container, ev event, b *batch) {
	ct.populated = true
	if ev.stats.Read == 0 {
		return // counted as missed when the cgroup is removed
	}
	ct.final = true
	c.metrics.stored.Inc()
	if ct.readAt.After(ev.at) {
		return // a cycle has read it since
	}
	b.t = max(ev.at.UnixMilli(), ct.lastT+1)
	if !ct.named {
		c.guardedIdentify(ct, b)
	}
	c.fill(ct, b, ev.stats, c.unread(ev.stats, c.want, ev.err))
}

// remove ends the series of a cgroup.
func (c *Collector) remove(ct *container, at time.Time, b *batch) {
	if !ct.final && (ct.populated || ct.id.Kind == cgroup.KindContainer) {
		c.metrics.missed.Inc()
	}
	b.t = max(at.UnixMilli(), ct.lastT+1)
	ct.clear(b)
	c.oom.release(ct, b.t)
	c.namespaces.release(ct)
	c.unwatch(ct)
	c.leave(ct)
	c.reattach(ct)
	last := len(c.containers) - 1
	c.containers[ct.index] = c.containers[last]
	c.containers[ct.index].index = ct.index
	c.containers[last] = nil
	c.containers = c.containers[:last]
	delete(c.byGroup, ct.group)
	c.metrics.containers.Set(float64(len(c.containers)))
}
