package collector

import (
	"errors"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/proc"
)

func processFamilies() []Descriptor {
	const g = "process"
	f := func(name, help, from string) Descriptor {
		return describe(g, "container_"+name, gauge, "", help, origin{from, from, "same"})
	}
	return []Descriptor{
		f("processes", "Processes in the cgroup itself, not below it; at a slower interval.", "cgroup.procs"),
		f("threads", "Threads in the cgroup and below it.", "pids.current"),
		f("threads_max", "Limit of threads, 0 when unlimited.", "pids.max"),
		describe(g, "container_threads_peak", gauge, "", "Highest number of threads so far; at a slower interval.", origin{"pids.peak", "pids.peak", "new"}),
		describe(g, "container_threads_limit_hits_total", counter, "", "Forks refused because of the limit of threads; at a slower interval.",
			origin{"pids.events max", "pids.events max", "new"}),
		f("file_descriptors", "Open file descriptors of the processes; at a slower interval.", "/proc/PID/fd"),
		describe(groupSockets, "container_sockets", gauge, "", "Open sockets of the processes; at a slower interval.",
			origin{"/proc/PID/fd", "/proc/PID/fd", "same"}),
		describe(g, "container_ulimits_soft", gauge, "", "Soft limit of open files of the first process, -1 when unlimited; at a slower interval.",
			origin{"/proc/PID/limits", "/proc/PID/limits", "same"}, "ulimit"),
	}
}

func procsSection() section {
	return section{name: "process", set: cgroup.SetProcs, slots: []slot{
		{name: "container_processes", div: 1, value: func(r *reading) uint64 { return r.Procs.Count }},
	}}
}

func pidsSection() section {
	return section{name: "pids", set: cgroup.SetPids, slots: []slot{
		{name: "container_threads", div: 1, value: func(r *reading) uint64 { return r.Pids.Current }},
		{name: "container_threads_max", div: 1, value: func(r *reading) uint64 { return limitOrZero(r.Pids.Max, r.Pids.Current) }},
	}}
}

func pidsPeakSection() section {
	return section{name: "pids", set: cgroup.SetPidsPeak, slots: []slot{
		{name: "container_threads_peak", div: 1, value: func(r *reading) uint64 { return r.Pids.Peak }},
		{name: "container_threads_limit_hits_total", div: 1, value: func(r *reading) uint64 { return r.Pids.EventsMax }},
	}}
}

// Positions in filesSection.
const (
	slotDescriptors = iota
	slotSockets
	slotUlimit
)

// filesSection is filled by hand, because it looks at every process.
func filesSection() section {
	return section{name: "files", slots: []slot{
		{name: "container_file_descriptors"},
		{name: "container_sockets"},
		{name: "container_ulimits_soft", labels: []string{"ulimit", "max_open_files"}},
	}}
}

// schedSection is filled by hand: run, run queue, periods.
func schedSection() section {
	return section{name: groupSched, slots: []slot{
		{name: "container_cpu_schedstat_run_seconds_total"},
		{name: "container_cpu_schedstat_runqueue_seconds_total"},
		{name: "container_cpu_schedstat_run_periods_total"},
	}}
}

// maxPids bounds the processes of one cgroup that are looked at one by one.
const maxPids = 4096

// pidsOf lists the processes of a container, at most maxPids of them.
func (c *Collector) pidsOf(ct *container) ([]int, error) {
	pids, err := ct.group.Pids(c.pids[:0])
	if err != nil {
		return nil, err
	}
	c.pids = pids
	if len(pids) > maxPids {
		c.dropped(len(pids) - maxPids)
		pids = pids[:maxPids]
	}
	return pids, nil
}

// fillFiles appends what is open in the processes of a container.
func (c *Collector) fillFiles(ct *container, b *batch, pids []int) {
	var open, sockets uint64
	for _, pid := range pids {
		n, err := c.files.OpenFiles(pid)
		open += n
		if err == nil && c.optIn[groupSockets] {
			n, err = c.files.Sockets(pid)
			sockets += n
		}
		switch {
		case errors.Is(err, proc.ErrGone):
		case errors.Is(err, proc.ErrTooMany):
			c.dropped(1)
		case err != nil:
			c.failed("files", err)
			return // a sum that lacks a process is not a value
		}
	}
	s := &c.sections.files
	s.put(ct, b, slotDescriptors, float64(open))
	if c.optIn[groupSockets] {
		s.put(ct, b, slotSockets, float64(sockets))
	}
	if len(pids) == 0 {
		s.absent(ct, b, slotUlimit)
		return
	}
	if err := c.readLimit(&ct.openFiles, pids[0], b.t); err != nil {
		if !errors.Is(err, proc.ErrGone) {
			c.failed("files", err)
		}
		return
	}
	s.put(ct, b, slotUlimit, ct.openFiles.soft)
}

// limitEvery is how long a limit of a process is taken to hold, in
// milliseconds: the file has all limits as text and they hardly ever change.
const limitEvery = 5 * 60 * 1000

// processLimit is the soft limit of open files of a process, -1 without one.
type processLimit struct {
	soft   float64
	pid    int
	readAt int64
}

// readLimit brings the limit up to date at time t.
func (c *Collector) readLimit(l *processLimit, pid int, t int64) error {
	if l.pid == pid && t-l.readAt < limitEvery {
		return nil
	}
	limit, err := c.files.SoftLimitOpenFiles(pid)
	if err != nil {
		return err
	}
	*l = processLimit{soft: float64(limit), pid: pid, readAt: t}
	if limit == proc.Unlimited {
		l.soft = -1
	}
	return nil
}

// schedTotals keeps the sum of processes that ended.
type schedTotals struct {
	ended proc.SchedStat
	// live is the last reading of each process.
	live map[int]proc.SchedStat
}

// fillSched appends the scheduler's counters, those of ended processes included.
func (c *Collector) fillSched(ct *container, b *batch, pids []int) {
	next := make(map[int]proc.SchedStat, len(pids))
	for _, pid := range pids {
		now, err := c.files.SchedStat(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		if err != nil {
			c.failed(groupSched, err)
			return
		}
		next[pid] = now
	}
	t := &ct.sched
	for pid, last := range t.live {
		// A counter that went back belongs to a new process with the old number.
		if now, ok := next[pid]; !ok || now.Run < last.Run {
			t.ended = addSched(t.ended, last)
		}
	}
	t.live = next
	sum := t.ended
	for _, s := range next {
		sum = addSched(sum, s)
	}
	s := &c.sections.sched
	s.put(ct, b, 0, float64(sum.Run)/1e9)
	s.put(ct, b, 1, float64(sum.Wait)/1e9)
	s.put(ct, b, 2, float64(sum.Periods))
}

func addSched(a, b proc.SchedStat) proc.SchedStat {
	return proc.SchedStat{Run: a.Run + b.Run, Wait: a.Wait + b.Wait, Periods: a.Periods + b.Periods}
}
