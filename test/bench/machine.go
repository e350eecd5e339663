package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the v1 controllers, or "" for the one of v2.
func hierarchies() []string {
	if _, err := os.Stat(cgroupRoot + "/cgroup.controllers"); err == nil {
		return []string{""}
	}
	var all []string
	for _, c := range []string{"cpu", "cpuacct", "memory", "pids", "blkio", "unified"} {
		if _, err := os.Stat(filepath.Join(cgroupRoot, c)); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// fleet is a number of cgroups, named as containers of pods, with one idle
// process each.
type fleet struct {
	ids       []string
	processes []*exec.Cmd
}

// benchRoot is the cgroup above those of a fleet.
const benchRoot = "/kubepods"

// newFleet makes n containers.
func newFleet(n int) (*fleet, error) {
	f := &fleet{}
	for i := range n {
		id := fmt.Sprintf("%s/pod%08x-0000-4000-8000-000000000000/%064x", benchRoot, i, i+1)
		var dirs []string
		for _, h := range hierarchies() {
			dir := filepath.Join(cgroupRoot, h) + id
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return f, err
			}
			dirs = append(dirs, dir)
		}
		f.ids = append(f.ids, id)
		cmd := exec.Command("build/worker", "idle")
		cmd.Env = []string{"BINNACLE_TEST_JOIN=" + strings.Join(dirs, " "), "GOMAXPROCS=1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return f, err
		}
		f.processes = append(f.processes, cmd)
	}
	return f, nil
}

// close ends the processes and removes the cgroups.
func (f *fleet) close() error {
	for _, p := range f.processes {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	var last error
	for range 100 {
		last = nil
		for _, id := range slices.Backward(f.ids) {
			for _, h := range hierarchies() {
				dir := filepath.Join(cgroupRoot, h) + id
				if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
					last = err
				}
				_ = os.Remove(filepath.Dir(dir))
				_ = os.Remove(filepath.Dir(filepath.Dir(dir)))
			}
		}
		if last == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return last
}

// threadCPU is the CPU time of the calling thread, which must be locked. Unlike
// getrusage, whose figures move with the tick, this clock is exact.
func threadCPU() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// program is a process that is measured.
type program struct {
	cmd *exec.Cmd
	log *os.File
}

// launch starts a program and waits until url answers.
func launch(url, name string, args ...string) (*program, error) {
	log, err := os.CreateTemp("", "binnacle-bench-*.log")
	if err != nil {
		return nil, err
	}
	p := &program{cmd: exec.Command(name, args...), log: log}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				return p, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	p.close()
	return nil, fmt.Errorf("%s does not answer at %s:\n%s", name, url, text)
}

func (p *program) close() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.log.Close()
	os.Remove(p.log.Name())
}

// cpu is the CPU time used so far, in seconds, by all threads: the sum of
// /proc/PID/task/*/schedstat is in nanoseconds but forgets threads that ended,
// so it is /proc/PID/stat in ticks of 10 ms.
func (p *program) cpu() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// memory is a line of /proc/PID/status in bytes: VmRSS, VmHWM.
func (p *program) memory(line string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, line+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kib * 1024
		}
	}
	return 0
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
