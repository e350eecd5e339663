package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
	"github.com/binnacle-obs/binnacle/storage"
)

// Run collects until ctx ends and appends to app. It returns nil then, and an
// error if the cgroups cannot be watched any more. It can be called once.
func (c *Collector) Run(ctx context.Context, app storage.Appender) error {
	g, ctx := errgroup.WithContext(ctx)
	ev := newEvents(ctx, c.want)
	g.Go(func() error {
		if err := c.source.Run(ctx, ev); err != nil && ctx.Err() == nil {
			return fmt.Errorf("collector: watch cgroups: %w", err)
		}
		return nil
	})
	g.Go(func() error { c.runDisk(ctx); return nil })
	g.Go(func() error { c.runGatherers(ctx, app); return nil })
	g.Go(func() error { c.loop(ctx, app, ev); return nil })
	err := g.Wait()
	return errors.Join(err, c.close())
}

// close releases what the collector holds, after everything has stopped.
func (c *Collector) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ct := range c.containers {
		c.namespaces.release(ct)
	}
	return c.source.Close()
}

// loop runs cycles and handles events, one at a time.
func (c *Collector) loop(ctx context.Context, app storage.Appender, ev *events) {
	next := nextTick(time.Now(), c.opts.Interval)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-ev.ch:
			c.happened(ctx, app, ev, e)
		case <-timer.C:
			now := time.Now()
			c.cycle(ctx, app, cycleTime(now, next, c.opts.Interval))
			after := time.Now()
			due := next.Add(c.opts.Interval)
			next = nextTick(after, c.opts.Interval)
			if skipped := next.Sub(due) / c.opts.Interval; skipped > 0 {
				c.metrics.skipped.Add(float64(skipped))
			}
			timer.Reset(time.Until(next))
		}
	}
}

// nextTick is the next multiple of the interval on the wall clock.
func nextTick(now time.Time, interval time.Duration) time.Time {
	now = now.Round(0) // the wall clock, not the monotonic one
	return now.Truncate(interval).Add(interval)
}

// cycleTime is the tick itself when the timer was on time: even distances
// take less room in a store. Half a percent of the interval is the error made at most.
func cycleTime(now, tick time.Time, interval time.Duration) time.Time {
	if late := now.Sub(tick); late >= 0 && late <= interval/200 {
		return tick
	}
	return now
}

// happened handles an event and those that wait behind it, with one append.
func (c *Collector) happened(ctx context.Context, app storage.Appender, ev *events, first event) {
	c.mu.Lock()
	b := &c.batch
	b.samples = b.samples[:0]
	c.handle(first, b)
	ev.recycle(first)
	for n := len(ev.ch); n > 0; n-- {
		e := <-ev.ch
		c.handle(e, b)
		ev.recycle(e)
	}
	c.mu.Unlock()
	c.append(ctx, app, b.samples)
}

// recycle gives the Stats of a final reading back.
func (e *events) recycle(ev event) {
	if ev.stats != nil {
		e.pool.Put(ev.stats)
	}
}

// cycle reads everything once, with one timestamp.
func (c *Collector) cycle(ctx context.Context, app storage.Appender, now time.Time) {
	start := time.Now()
	c.mu.Lock()
	b := &c.batch
	b.samples, b.t = b.samples[:0], now.UnixMilli()
	c.collect(b, now)
	c.lastCycle = b.t
	c.mu.Unlock()
	filled := time.Now()
	c.metrics.durationCollect.Set(filled.Sub(start).Seconds())
	c.append(ctx, app, b.samples)
	c.metrics.durationAppend.Set(time.Since(filled).Seconds())
}

// collect fills the batch with everything the collector's goroutine owns.
func (c *Collector) collect(b *batch, now time.Time) {
	unnamed := 0
	slow := c.slow()
	for _, ct := range c.containers {
		c.collectContainer(ct, b, slow)
		if !ct.named {
			unnamed++
		}
	}
	c.metrics.unnamed.Set(float64(unnamed))
	if unnamed > 0 {
		c.podLogs.expire()
	}
	c.collectHost(b, now)
	failed := c.health.report(cycleNames)
	b.put(&c.up, 1)
	b.put(&c.scrapeErr, boolValue(failed))
}

// collectHost appends what belongs to no single container.
func (c *Collector) collectHost(b *batch, now time.Time) {
	defer c.recovered("machine")
	if n := c.oom.fill(b); n > 0 {
		c.metrics.droppedOOM.Add(float64(n))
	}
	if err := c.machine.fill(b, now); err != nil {
		c.failed("machine", err)
	}
}

// slowPart says which containers have their slow part in this cycle: those at
// positions first, first+step, ... so that the work is spread evenly.
type slowPart struct {
	first, step int
	filesystems []disk.Filesystem
}

func (c *Collector) slow() slowPart {
	step := max(1, int(c.opts.ProcessInterval/c.opts.Interval))
	c.slowTurn = (c.slowTurn + 1) % step
	return slowPart{first: c.slowTurn, step: step, filesystems: c.disks.Filesystems()}
}

func (s slowPart) due(ct *container) bool { return !ct.slowDone || ct.index%s.step == s.first }

// collectContainer reads one cgroup and appends its samples.
func (c *Collector) collectContainer(ct *container, b *batch, slow slowPart) {
	defer c.recovered("cgroup")
	readAt := time.Now()
	due := slow.due(ct)
	want := c.want
	if !due && !ct.isNew() {
		want &^= slowSets
	}
	err := ct.group.Read(&c.stats, want)
	if errors.Is(err, cgroup.ErrGone) {
		return // its end is reported by the source
	}
	ct.readAt = readAt
	ct.readings++
	if !ct.named && (ct.tries < eagerTries || due) {
		ct.note(&c.stats)
		c.guardedIdentify(ct, b)
	}
	c.fill(ct, b, &c.stats, c.unread(&c.stats, want, err)|c.want&^want)
	if due {
		c.fillSlow(ct, b, slow.filesystems)
	}
}

// slowSets change rarely and cost much to read: cgroup.procs of v1 has to be
// opened anew each time.
const slowSets = cgroup.SetProcs | cgroup.SetPidsPeak

// newFor is how many readings of a container are complete ones, so that its
// first process is found soon.
const newFor = 10

// isNew tells whether everything is to be read in each cycle: soon after a
// container came, and when one that had emptied may have been filled again.
func (ct *container) isNew() bool { return ct.readings < newFor || ct.final }

// unread tells which of the wanted sets could not be read, and marks their
// collectors as failing.
func (c *Collector) unread(s *cgroup.Stats, want cgroup.Set, err error) cgroup.Set {
	if err == nil {
		return 0
	}
	failed := want &^ s.Read
	if errors.Is(err, cgroup.ErrGone) {
		return failed // to vanish is normal
	}
	for _, x := range sets {
		if failed&x.set != 0 {
			c.failed(x.name, err)
		}
	}
	return failed
}

// note remembers what later steps need of a reading.
func (ct *container) note(s *cgroup.Stats) {
	if s.Procs.Count == cgroup.None {
		return
	}
	ct.firstPid = s.Procs.First
	if s.Procs.Count > 0 {
		ct.populated, ct.final = true, false
	}
}

// fill appends everything that a reading of a cgroup tells, and its network.
func (c *Collector) fill(ct *container, b *batch, s *cgroup.Stats, failed cgroup.Set) {
	ct.note(s)
	if ct.base.IsEmpty() {
		ct.base = baseLabels(c.opts.Node, ct.group, ct.id, ct.names)
	}
	c.reading = reading{Stats: s, version: c.version, createdMs: ct.createdMs, nowSec: uint64(b.t / 1000)}
	for _, sec := range c.sections.read {
		c.fillSection(sec, ct, b, &c.reading, failed)
	}
	c.fillIO(ct, b, s, failed)
	c.fillHugetlb(ct, b, s, failed)
	c.fillPerCPU(ct, b, s, failed)
	c.fillOOM(ct, b, s)
	c.guardedNetwork(ct, b)
	ct.lastT = max(ct.lastT, b.t)
}

func (c *Collector) fillSection(sec *section, ct *container, b *batch, r *reading, failed cgroup.Set) {
	defer c.recovered(sec.name)
	sec.fill(ct, b, r, failed)
}

func (c *Collector) fillIO(ct *container, b *batch, s *cgroup.Stats, failed cgroup.Set) {
	defer c.recovered("io")
	if failed&cgroup.SetIO != 0 {
		return
	}
	c.dropped(c.tables.io.fill(ct, b, &ct.vectors[vecIO], s.IO))
	c.dropped(c.tables.blkio.fill(ct, b, &ct.vectors[vecBlkio], s.IO))
}

func (c *Collector) fillHugetlb(ct *container, b *batch, s *cgroup.Stats, failed cgroup.Set) {
	defer c.recovered("hugetlb")
	if failed&cgroup.SetHugetlb == 0 {
		c.dropped(c.tables.hugetlb.fill(ct, b, &ct.vectors[vecHugetlb], preferReserved(s.Hugetlb)))
	}
}

// fillPerCPU appends the opt-in readings by CPU and by NUMA node.
func (c *Collector) fillPerCPU(ct *container, b *batch, s *cgroup.Stats, failed cgroup.Set) {
	defer c.recovered(groupPerCPU)
	if c.optIn[groupPerCPU] && failed&cgroup.SetPerCPU == 0 {
		c.cpuTimes = c.cpuTimes[:0]
		for i, used := range s.PerCPU {
			c.cpuTimes = append(c.cpuTimes, cpuTime{cpu: i, used: used})
		}
		c.dropped(c.tables.perCPU.fill(ct, b, &ct.vectors[vecPerCPU], c.cpuTimes))
	}
	if c.optIn[groupNUMA] && failed&cgroup.SetNUMA == 0 {
		c.dropped(c.tables.numa.fill(ct, b, &ct.vectors[vecNUMA], s.NUMA))
	}
}

func (c *Collector) fillOOM(ct *container, b *batch, s *cgroup.Stats) {
	defer c.recovered("oom")
	if s.Read&cgroup.SetMemory != 0 {
		c.oom.observe(ct, s.Memory.EventsOOMKill, b, c.started)
	}
}

func (c *Collector) guardedNetwork(ct *container, b *batch) {
	defer c.recovered("network")
	c.attachNetwork(ct, ct.firstPid)
	c.fillNetwork(ct, b)
}

func (c *Collector) guardedIdentify(ct *container, b *batch) {
	defer c.recovered("identity")
	c.identify(ct, b)
}

// fillSlow appends what is too dear for every cycle.
func (c *Collector) fillSlow(ct *container, b *batch, filesystems []disk.Filesystem) {
	ct.slowDone = true
	c.guardedDisk(ct, b, filesystems)
	defer c.recovered("files")
	pids, err := c.pidsOf(ct)
	if err != nil {
		if !errors.Is(err, cgroup.ErrGone) {
			c.failed("files", err)
		}
		return
	}
	c.fillFiles(ct, b, pids)
	if c.optIn[groupSched] {
		c.fillSched(ct, b, pids)
	}
	c.fillSockets(ct, b, ct.firstPid)
}

func (c *Collector) guardedDisk(ct *container, b *batch, filesystems []disk.Filesystem) {
	defer c.recovered("disk")
	c.fillDisk(ct, b, filesystems)
	if ct.isRoot() {
		c.fillDiskStats(ct, b)
	}
}
