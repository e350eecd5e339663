// Package cgroup finds the control groups of a host, follows their coming and
// going, and reads their files into typed Stats. It knows file formats and
// nothing of metrics, pods or Kubernetes.
//
// # Layouts
//
// A host has cgroup v1 (one hierarchy per controller or several controllers
// together, as in cpu,cpuacct), v2 (one hierarchy), or both: on a hybrid host
// the v1 controllers are mounted beside a cgroup2 hierarchy that has the
// processes, cgroup.events, native cpu.stat and pressure files, and the
// controllers that v1 does not use. Open tells them apart by what the
// directories below the root contain; mountinfo only helps where names do not
// say which controllers a directory is of, or where cgroup2 is mounted outside
// of the root.
//
// A Group is a path. On v1 and hybrid hosts it stands for that path in every
// hierarchy, and is there as long as it exists in one of the primary ones:
// CPU accounting, memory, cgroup2. For each kind of value there is one
// source, a file of one hierarchy: v1's where the controller is on v1. A group
// that has no CPU accounting on v1 is read from cgroup2's cpu.stat.
//
// # Lifecycle
//
// Open walks once and sets inotify watches, Run handles what happens and tells
// a Handler. A new directory is watched before it is listed, so that a child
// made in between is not lost. Lost events, refused watches and whatever else
// goes wrong are made good by walking everything, every 30 s or at once.
//
// When the last process of a group ends, its runtime removes the directory a
// few milliseconds later, and the values with it. What tells that it ended:
//
//   - cgroup2: cgroup.events in epoll, for the group and those below it.
//   - v1: a pidfd of one of its processes in the same epoll; when that process
//     ends, cgroup.procs is read again and either another one is watched or
//     the group is empty. That a process has joined is seen because writing to
//     cgroup.procs is an inotify event. A group above is empty when all below
//     it and itself are.
//   - both: a look at cgroup.procs of young groups and at every rescan.
//
// Handler.Emptied is then called in the goroutine of Run, at once: there a
// last reading still succeeds. What was too late is counted.
//
// # Reading
//
// Files that change are read with pread on kept descriptors, up to a bound;
// beyond it they are opened each time. Configuration is read when inotify says
// that something was written to the group, and else once a minute. A file that
// does not exist is tried again after five minutes. A group that is only seconds
// old may be under construction: there every reading does both. v1's cgroup.procs is opened anew each time: the
// kernel caches the list of a descriptor for a second after each reading of
// it, so that a kept one never changes when it is read every second.
//
// The line order of "flat keyed" files such as memory.stat is learned, so that
// parsing compares each line with the expected key. Reading allocates nothing
// once a Stats has been used: file contents go to a buffer in the Stats.
//
// # Locks
//
// In the order in which they may be taken: Tree.running (held by Run for as
// long as it runs, and by Close after that), Tree.mu (the list of groups),
// Group.mu (descriptors and what is remembered of the last reading). No lock
// but Tree.running is held while a Handler is called. State of discovery
// (loop, inotify, Group.watch) has no lock of its own; it belongs to the holder
// of Tree.running.
package cgroup
