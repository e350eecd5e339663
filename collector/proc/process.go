package proc

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// Unlimited is the value of a limit that is not set.
const Unlimited uint64 = math.MaxUint64

// SchedStat is what the scheduler counted for the main thread of a process
// (the kernel does not add up the threads in this file).
type SchedStat struct {
	Run     uint64 // nanoseconds on a CPU
	Wait    uint64 // nanoseconds waiting on a run queue
	Periods uint64 // time slices run
}

// NetNS returns the inode of the network namespace of a process. Processes
// with the same inode share their interfaces.
func (f *FS) NetNS(pid int) (uint64, error) { return f.netNS(strconv.Itoa(pid), pid) }

// HostNetNS returns the inode of the network namespace of process 1, or of
// ourselves where process 1 may not be looked at.
func (f *FS) HostNetNS() (uint64, error) {
	ino, err := f.NetNS(1)
	if err == nil {
		return ino, nil
	}
	own, ownErr := f.netNS("self", os.Getpid())
	if ownErr != nil {
		return 0, errors.Join(err, ownErr)
	}
	return own, nil
}

func (f *FS) netNS(dir string, pid int) (uint64, error) {
	path := f.root + "/" + dir + "/ns/net"
	link, err := os.Readlink(path)
	if err != nil {
		return 0, f.fail(pid, f.path(pid, "ns/net"), err)
	}
	ino, err := parseNS(link)
	if err != nil {
		return 0, fmt.Errorf("parse link %s: %w", path, err)
	}
	return ino, nil
}

// parseNS reads "net:[4026531840]".
func parseNS(link string) (uint64, error) {
	s, ok := strings.CutPrefix(link, "net:[")
	s, end := strings.CutSuffix(s, "]")
	if !ok || !end {
		return 0, fmt.Errorf("want net:[inode], have %q", link)
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want net:[inode], have %q: %w", link, err)
	}
	return v, nil
}

// SchedStat reads /proc/PID/schedstat. It fails with fs.ErrNotExist where the
// kernel does not count (CONFIG_SCHED_INFO).
func (f *FS) SchedStat(pid int) (SchedStat, error) {
	var s SchedStat
	err := f.firstLine(pid, "schedstat", func(line []byte) (err error) {
		s, err = parseSchedStat(line)
		return err
	})
	return s, err
}

// parseSchedStat reads "95521 62994 2".
func parseSchedStat(line []byte) (SchedStat, error) {
	var v [3]uint64
	if !numbers(v[:], line) {
		return SchedStat{}, fmt.Errorf("want three numbers, have %q", line)
	}
	return SchedStat{Run: v[0], Wait: v[1], Periods: v[2]}, nil
}

// Threads returns the number of threads of a process, from /proc/PID/stat.
func (f *FS) Threads(pid int) (uint64, error) {
	b, err := os.ReadFile(f.path(pid, "stat"))
	if err != nil {
		return 0, f.fail(pid, f.path(pid, "stat"), err)
	}
	n, err := parseThreads(b)
	return n, f.fail(pid, f.path(pid, "stat"), err)
}

// parseThreads finds num_threads, the 20th field of stat. The command (field
// 2) may hold anything, so counting starts after it, at the state (field 3).
func parseThreads(b []byte) (uint64, error) {
	_, rest, ok := cutStat(b)
	if !ok {
		return 0, fmt.Errorf("no command in parentheses in %q", b)
	}
	for range 17 {
		_, after, found := bytes.Cut(rest, []byte(" "))
		if !found {
			return 0, fmt.Errorf("less than 20 fields in %q", b)
		}
		rest = after
	}
	n, _, ok := number(rest)
	if !ok {
		return 0, fmt.Errorf("field 20 is not a number in %q", b)
	}
	return n, nil
}

// SoftLimitOpenFiles returns the soft limit of open files of a process, from
// /proc/PID/limits; Unlimited where none is set.
func (f *FS) SoftLimitOpenFiles(pid int) (uint64, error) {
	var limit uint64
	found := false
	err := f.eachLine(pid, "limits", func(line []byte) (err error) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files ")); ok {
			limit, err = parseSoftLimit(rest)
			found = true
		}
		return err
	})
	if err == nil && !found {
		// A process that ends while the file is read leaves it empty.
		if f.ended(pid) {
			return 0, fmt.Errorf("%w: %s is empty", ErrGone, f.path(pid, "limits"))
		}
		return 0, fmt.Errorf("%s: no line \"Max open files\"", f.path(pid, "limits"))
	}
	return limit, err
}

// parseSoftLimit reads what follows the name of a limit:
//
//	Max open files            1024                 524288               files
func parseSoftLimit(rest []byte) (uint64, error) {
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("no soft limit of open files")
	}
	if string(fields[0]) == "unlimited" {
		return Unlimited, nil
	}
	v, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("soft limit of open files: %w", err)
	}
	return v, nil
}

// firstLine is eachLine for files of one line. An empty file is an error.
func (f *FS) firstLine(pid int, name string, parse func([]byte) error) error {
	seen := false
	err := f.eachLine(pid, name, func(line []byte) error {
		if seen {
			return nil
		}
		seen = true
		return parse(line)
	})
	if err == nil && !seen {
		return fmt.Errorf("%s is empty", f.path(pid, name))
	}
	return err
}
