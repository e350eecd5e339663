package collector

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/storage"
)

func oomFamilies() []Descriptor {
	return []Descriptor{
		describe("oom", "container_oom_events_total", counter, "",
			"Processes killed for lack of memory. For a container of a pod it has no id, image and name, and goes on when the container is made anew.",
			origin{
				"memory.oom_control oom_kill (of the cgroup alone)", "memory.events oom_kill (with the cgroups below)",
				"better: from the kernel's counter instead of its log, with the final reading; survives the container for 15 minutes and continues in its successor",
			}),
	}
}

const (
	// oomKept is for how long a count outlives its container: longer than the
	// kubelet's longest back-off (5 minutes) and a slow image pull.
	oomKept = 15 * time.Minute
	// maxOOMKept bounds the counts that outlive their containers.
	maxOOMKept = 1000
)

// oomCount is one series of OOM kills, of all containers that follow each
// other under one name.
type oomCount struct {
	key   string
	total uint64
	users int
	// gone is when the last user went, in Unix milliseconds.
	gone int64
	base labels.Labels
	cell cell
}

// oomCounts is owned by the collector's goroutine.
type oomCounts struct {
	family *storage.Family
	byKey  map[string]*oomCount
	// kept are the counts without a user.
	kept int
}

func newOOMCounts(c catalog) *oomCounts {
	return &oomCounts{family: c["container_oom_events_total"], byKey: make(map[string]*oomCount)}
}

// oomKey is what survives: the name in a pod, otherwise the cgroup.
func oomKey(ct *container) string {
	if ct.id.PodUID != "" && ct.names.Container != "" {
		return ct.id.PodUID + "/" + ct.names.Container
	}
	return ct.group.ID()
}

// observe counts the kills since the last reading of ct. If the first reading
// of a container that began after us (at since) has kills already, a 0 at its
// creation comes before them: without it no increase could be seen.
func (o *oomCounts) observe(ct *container, kills uint64, b *batch, since int64) {
	if kills == cgroup.None {
		return
	}
	if ct.oom == nil {
		o.attach(ct)
		born := int64(ct.createdMs)
		if n := ct.oom; n.cell.series == nil && kills > 0 && ct.createdMs != cgroup.None && born >= since && born < b.t {
			n.cell.series = o.newSeries(n)
			b.samples = append(b.samples, storage.Sample{Series: n.cell.series, T: born, V: 0})
		}
	}
	if kills < ct.oomSeen {
		ct.oomSeen = 0
	}
	ct.oom.total += kills - ct.oomSeen
	ct.oomSeen = kills
}

func (o *oomCounts) newSeries(n *oomCount) *storage.Series {
	return &storage.Series{Labels: seriesLabels(n.base, o.family.Name, nil, nil), Family: o.family}
}

func (o *oomCounts) attach(ct *container) {
	key := oomKey(ct)
	n := o.byKey[key]
	if n == nil {
		base := ct.base
		if key != ct.group.ID() {
			base = labels.NewBuilder(base).Del("id", "image", "name").Labels()
		}
		n = &oomCount{key: key, base: base}
		o.byKey[key] = n
	} else if n.users == 0 {
		o.kept--
	}
	n.users++
	ct.oom = n
}

// release detaches a container that went or got another name.
func (o *oomCounts) release(ct *container, now int64) {
	n := ct.oom
	if n == nil {
		return
	}
	ct.oom = nil
	if n.users--; n.users == 0 {
		n.gone = now
		o.kept++
	}
}

// rename moves the kills of a container whose name became known to that name.
func (o *oomCounts) rename(ct *container, b *batch) {
	old := ct.oom
	if old == nil || old.key == oomKey(ct) {
		return
	}
	o.release(ct, b.t)
	o.attach(ct)
	ct.oom.total += old.total
	if old.users == 0 {
		o.drop(old, b)
	}
}

// fill appends all counts and drops those that outlived their containers long
// enough. A count of 0 says nothing that its absence does not say.
func (o *oomCounts) fill(b *batch) (dropped int) {
	for _, n := range o.byKey {
		if n.users == 0 && (n.total == 0 || b.t-n.gone >= oomKept.Milliseconds()) {
			o.drop(n, b)
			continue
		}
		if n.users == 0 && o.kept > maxOOMKept {
			o.drop(n, b)
			dropped++
			continue
		}
		if n.cell.series == nil {
			n.cell.series = o.newSeries(n)
		}
		b.put(&n.cell, float64(n.total))
	}
	return dropped
}

func (o *oomCounts) drop(n *oomCount, b *batch) {
	b.absent(&n.cell)
	delete(o.byKey, n.key)
	o.kept--
}
