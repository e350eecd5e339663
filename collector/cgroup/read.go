package cgroup

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// reading is the state of one call of Group.Read.
type reading struct {
	s      *Stats
	want   Set
	seldom bool // look at configuration as well
	probe  bool // absent files are tried again
	got    Set
	failed Set
	gone   bool
	seen   bool // at least one file could be read

	bfqAsked, bfq bool // see useBFQ
}

// Read resets s and reads the wanted sets into it. s.Read says which of them
// were there and could be parsed; a file that cannot be parsed is counted and
// costs its set, nothing else.
//
// The error wraps ErrGone when the group vanished before or during the
// reading; what was read until then is in s.
func (g *Group) Read(s *Stats, want Set) error {
	if Set(g.tree.want.Load())&want != want {
		g.tree.want.Or(uint32(want))
	}
	if err := g.collect(s, want); err != nil {
		g.tree.counts.vanished.Add(1)
		return err
	}
	g.read.Add(1)
	return nil
}

// collect is Read, without being counted as one.
func (g *Group) collect(s *Stats, want Set) error {
	s.Reset()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return ErrGone
	}
	now := time.Now()
	young := now.Sub(g.found) < youngFor
	due := now.After(g.seldomAt)
	if due {
		g.seldomAt = now.Add(seldomEvery)
	}
	if g.stale.Swap(false) || young || due {
		g.seldom.have = 0
	}
	r := reading{s: s, want: want, seldom: want&^g.seldom.have != 0, probe: young || g.probes(now)}
	s.Spec, s.Cpuset, s.Pids.Max = g.seldom.spec, g.seldom.cpuset, g.seldom.pidsMax
	g.readSources(&r)
	if want&SetHugetlb != 0 {
		g.readHugetlb(&r)
	}
	g.keepSeldom(&r)
	s.Read = r.got &^ r.failed
	if r.gone || !r.seen && !g.hasDir() {
		return ErrGone
	}
	return nil
}

// hasDir tells whether the group exists in any hierarchy where groups are
// discovered.
func (g *Group) hasDir() bool {
	for _, h := range g.tree.layout.primary {
		if exists(g.tree.layout.hiers[h].path(g.id)) {
			return true
		}
	}
	return false
}

// probes tells whether it is time to try absent files again. g.mu is held.
func (g *Group) probes(now time.Time) bool {
	if now.Before(g.probeAt) {
		return false
	}
	g.probeAt = now.Add(probeEvery)
	return true
}

// readSources reads the files of the wanted sets. g.mu is held.
func (g *Group) readSources(r *reading) {
	procs := g.procsSource()
	for i := range g.tree.sources {
		src := &g.tree.sources[i]
		g.files[i].again, g.files[i].last = g.files[i].last, false
		if src.set&r.want == 0 || src.kind == seldom && !r.seldom {
			continue
		}
		if src.unlessAt >= 0 && g.files[src.unlessAt].state != fileAbsent {
			continue
		}
		if src.set == SetProcs && i != procs {
			continue
		}
		if src.settles && g.settled(r, src.set) || g.superfluous(r, src.kind) {
			continue
		}
		g.readSource(r, i)
	}
	if r.bfq {
		g.bfq = hasIO(r.s)
	}
	if r.want&SetCPU != 0 {
		g.keepSettled(r)
	}
}

// settled tells whether a source that settles need not be read now; then what
// it says is in the Stats. g.mu is held.
func (g *Group) settled(r *reading, set Set) bool {
	switch {
	case r.seldom:
		return false
	case set == SetMemory && g.kept.kernel.idle(r.s):
		r.s.Memory.Kernel = g.kept.kernel.value
		return true
	case set == SetIO && g.kept.ioAt.idle(r.s):
		if r.got&SetIO == 0 {
			r.got |= SetIO
			r.s.IO = append(r.s.IO[:0], g.kept.io...)
		}
		return true
	case set == SetPSI && g.kept.psiAt.idle(r.s):
		r.got |= SetPSI
		r.s.PSI = g.kept.psi
		return true
	}
	return false
}

// keepSettled remembers what settled gives back. g.mu is held.
func (g *Group) keepSettled(r *reading) {
	quiet := valueAt{cpu: r.s.CPU.Usage}
	if g.kept.usage != r.s.CPU.Usage {
		quiet.cpu = None // it may still change
	}
	g.kept.usage = r.s.CPU.Usage
	good := r.got &^ r.failed
	if g.kept.kernel = quiet; good&SetMemory != 0 {
		g.kept.kernel.value = r.s.Memory.Kernel
	} else {
		g.kept.kernel.cpu = None
	}
	if g.kept.ioAt = quiet; good&SetIO != 0 {
		g.kept.io = append(g.kept.io[:0], r.s.IO...)
	} else {
		g.kept.ioAt.cpu = None
	}
	g.kept.psiAt = quiet
	if good&SetPSI == 0 || g.kept.psi != r.s.PSI {
		g.kept.psiAt.cpu = None // somebody is waiting
	}
	g.kept.psi = r.s.PSI
}

// useBFQ: the throttling layer counts nothing for a device that never had a
// limit, bfq counts only what it schedules. bfq's counters are looked at when
// the others are zero, each time once they have shown something. g.mu is held.
func (g *Group) useBFQ(r *reading) bool {
	if !r.bfqAsked {
		r.bfqAsked = true
		r.bfq = (g.bfq || r.seldom) && !hasIO(r.s)
	}
	return r.bfq
}

// superfluous tells whether a file need not be read now, because what it says
// is known; then that is in the Stats. g.mu is held.
func (g *Group) superfluous(r *reading, kind sourceKind) bool {
	switch kind {
	case ifNoIO:
		return !g.useBFQ(r)
	case ifIO:
		return r.got&^r.failed&SetIO != 0 && len(r.s.IO) == 0
	case ifQuota:
		return g.hasNoQuota()
	case ifLimited:
		if !g.hasNoMemoryLimit() || g.kept.failCount == None {
			return false
		}
		r.s.Memory.FailCount = g.kept.failCount
		return true
	case ifRan:
		if !g.kept.cpuKnown || g.kept.cpu.Usage != r.s.CPU.Usage {
			return false
		}
		r.s.CPU.User, r.s.CPU.System = g.kept.cpu.User, g.kept.cpu.System
		return true
	case ifRose:
		peak := g.kept.peak
		if r.seldom || !peak.idle(r.s) || r.s.Memory.Usage == None || r.s.Memory.Usage > peak.value {
			return false
		}
		r.s.Memory.Peak = peak.value
		return true
	case ifKilled:
		kills := g.kept.kills
		if r.seldom || !kills.idle(r.s) {
			return false
		}
		// Who waits for memory keeps waiting until something runs.
		r.s.Memory.UnderOOM, r.s.Memory.EventsOOMKill = g.kept.underOOM, kills.value
		return true
	}
	return false
}

// keep remembers what superfluous gives back. g.mu is held.
func (g *Group) keep(s *Stats, kind sourceKind) {
	switch kind {
	case ifLimited:
		g.kept.failCount = s.Memory.FailCount
	case ifRan:
		g.kept.cpu, g.kept.cpuKnown = s.CPU, s.CPU.Usage != None
	case ifRose:
		g.kept.peak = valueAt{cpu: s.CPU.Usage, value: s.Memory.Peak}
	case ifKilled:
		g.kept.kills = valueAt{cpu: s.CPU.Usage, value: s.Memory.EventsOOMKill}
		g.kept.underOOM = s.Memory.UnderOOM
	}
}

// hasNoMemoryLimit is hasNoQuota for memory.
func (g *Group) hasNoMemoryLimit() bool {
	return g.seldom.have&SetSpec != 0 && g.seldom.read&SetSpec != 0 && g.seldom.spec.MemoryLimit == None
}

// hasNoQuota tells whether the configuration has been read and says that CPU
// time is not limited. g.mu is held.
func (g *Group) hasNoQuota() bool {
	return g.seldom.have&SetSpec != 0 && g.seldom.read&SetSpec != 0 && g.seldom.spec.CPUQuota == None
}

func hasIO(s *Stats) bool {
	for i := range s.IO {
		if t := s.IO[i].TotalBytes; t != 0 && t != None {
			return true
		}
	}
	return false
}

// readSource reads and parses one file. g.mu is held.
func (g *Group) readSource(r *reading, i int) {
	src := &g.tree.sources[i]
	b, err := g.load(r, &g.files[i], src)
	if err == nil && !src.parse(g.tree.parser, b, r.s) {
		err = errParse
	}
	if err != nil {
		g.note(r, src, err)
		return
	}
	r.seen = true
	r.got |= src.set
	g.files[i].last = true
	g.keep(r.s, src.kind)
}

// note records why a file gave no value.
func (g *Group) note(r *reading, src *source, err error) {
	switch {
	case errors.Is(err, errAbsent):
	case errors.Is(err, ErrGone):
		r.gone = true
	case errors.Is(err, errNoFile):
		r.failed |= src.set
		g.tree.counts.noDescriptor.Add(1)
	default: // does not parse, or longer than anything the kernel writes
		r.seen = true
		r.failed |= src.set
		g.tree.counts.parseError(src.name)
	}
}

// load reads one file through its descriptor, opening it when need be. g.mu
// is held.
func (g *Group) load(r *reading, f *file, src *source) ([]byte, error) {
	if f.state == fileAbsent {
		if !r.probe {
			return nil, errAbsent
		}
		f.state = fileUnknown
	}
	list := src.set == SetProcs
	if f.state == fileKept {
		b, err := readAll(int(f.fd), r.s, list)
		if err == nil {
			return b, nil
		}
		err = classify(err, false)
		g.drop(f)
		if errors.Is(err, errAbsent) {
			f.state = fileAbsent
		}
		return nil, err
	}
	fd, err := openPath(r.s, g.tree.layout.hiers[src.hier].dir, g.id, src.name)
	if err != nil {
		return nil, g.openFailed(f, err)
	}
	b, err := readAll(fd, r.s, list)
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, g.openFailed(f, err)
	}
	// What is often left out deserves a descriptor when it was not, twice.
	again := f.again && !r.seldom && src.kind != seldom && src.kind != fresh
	g.settle(f, fd, again || src.kind == eachTime || src.kind == ifNoIO && g.bfq)
	return b, nil
}

// openFailed remembers a file that is not there or cannot be read. A file
// that was there before and is not any more is a group being removed.
func (g *Group) openFailed(f *file, err error) error {
	err = classify(err, true)
	if errors.Is(err, errAbsent) {
		if f.state == fileLoose {
			err = ErrGone
		}
		f.state = fileAbsent
	}
	return err
}

// settle keeps the descriptor of a file that was just read, or closes it.
func (g *Group) settle(f *file, fd int, keep bool) {
	if keep {
		if g.tree.budget.take(true) {
			f.fd, f.state = int32(fd), fileKept
			return
		}
		g.tree.counts.unkept.Add(1)
	}
	_ = unix.Close(fd) // nothing was written
	f.state = fileLoose
}

// keepSeldom stores configuration that was looked at, and says of what was
// not looked at whether it could be read last time. g.mu is held.
func (g *Group) keepSeldom(r *reading) {
	k := &g.seldom
	if !r.seldom {
		r.got |= k.read & r.want
		return
	}
	k.have |= r.want
	only := SetSpec | SetCpuset
	k.read = k.read&^(r.want&only) | r.got&only&^r.failed
	k.spec, k.cpuset, k.pidsMax = r.s.Spec, r.s.Cpuset, r.s.Pids.Max
}

// procsSource is the source of cgroup.procs to read: where processes were
// seen, else the first that is not absent. g.mu is held.
func (g *Group) procsSource() int {
	first := -1
	for i := len(g.tree.sources) - len(g.tree.layout.primary); i < len(g.tree.sources); i++ {
		if int32(g.tree.sources[i].hier) == g.procsHier.Load() {
			return i
		}
		if first < 0 && g.files[i].state != fileAbsent {
			first = i
		}
	}
	return first
}

// Files lists the files that a reading of the wanted sets reads every time
// as things are now, in order: what a measurement of the cost has to compare
// with. On v1 cgroup.procs has to be opened anew at each reading.
func (g *Group) Files(want Set) []string {
	var s Stats
	for range 2 { // finds out what exists and what stays as it is
		_ = g.collect(&s, want) // a group that is gone has no files
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for i := range g.tree.sources {
		src := &g.tree.sources[i]
		if g.files[i].last && src.kind != seldom {
			out = append(out, g.tree.layout.hiers[src.hier].path(g.id)+"/"+src.name)
		}
	}
	for i := range g.huge {
		h := &g.tree.hugeSources()[i]
		if want&SetHugetlb != 0 && g.huge[i].usage.state != fileAbsent {
			out = append(out, g.tree.layout.hiers[h.usage.hier].path(g.id)+"/"+h.usage.name)
		}
	}
	return out
}
