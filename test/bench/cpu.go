package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// threadCPU is the CPU time of the calling thread in seconds. The caller has
// locked its goroutine to the thread.
func threadCPU() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err) // not on any Linux since 2.6.26
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// onThread returns the CPU seconds that f takes.
func onThread(f func() error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadCPU()
	err := f()
	return threadCPU() - start, err
}

// processCPU is the CPU time that a process has used, all threads, user and
// system, in seconds.
func processCPU(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks float64
	for _, i := range []int{11, 12} { // utime and stime, fields 14 and 15
		n, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / 100, nil
}

// memory reads a line such as VmHWM of /proc/PID/status, in bytes.
func memory(pid int, key string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", key, pid)
}
