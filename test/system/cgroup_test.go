//go:build system

package system

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// unified tells whether the host has cgroup v2 alone.
func unified() bool {
	_, err := os.Stat(cgroupRoot + "/cgroup.controllers")
	return err == nil
}

// burner is a cgroup with a process that uses all the CPU time it gets.
type burner struct{ id string }

// newBurner starts the process; quota is in microseconds for each 100 ms, 0
// for none.
func newBurner(t testing.TB, name string, quota int) *burner {
	t.Helper()
	b := &burner{id: "/binnacle-system-" + name}
	if unified() {
		write(t, cgroupRoot+"/cgroup.subtree_control", "+cpu +memory")
	}
	for _, dir := range b.dirs() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(b.remove)
	// Its share is large, so that a busy machine does not keep it from a core.
	if unified() {
		write(t, cgroupRoot+b.id+"/cpu.weight", "10000")
		if quota > 0 {
			write(t, cgroupRoot+b.id+"/cpu.max", strconv.Itoa(quota)+" 100000")
		}
	} else {
		write(t, cgroupRoot+"/cpu"+b.id+"/cpu.shares", "100000")
		if quota > 0 {
			write(t, cgroupRoot+"/cpu"+b.id+"/cpu.cfs_quota_us", strconv.Itoa(quota))
		}
	}
	start(t, []string{"BINNACLE_TEST_JOIN=" + strings.Join(b.dirs(), " "), "GOMAXPROCS=1"}, build+"/worker", "burn")
	return b
}

func write(t testing.TB, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func (b *burner) dirs() []string {
	if unified() {
		return []string{cgroupRoot + b.id}
	}
	return []string{cgroupRoot + "/cpu" + b.id, cgroupRoot + "/cpuacct" + b.id, cgroupRoot + "/memory" + b.id}
}

// stop kills the process.
func (b *burner) stop() {
	procs, _ := os.ReadFile(filepath.Join(b.dirs()[0], "cgroup.procs"))
	for field := range strings.FieldsSeq(string(procs)) {
		if pid, err := strconv.Atoi(field); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

func (b *burner) remove() {
	for range 100 {
		b.stop()
		left := false
		for _, dir := range b.dirs() {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				left = true
			}
		}
		if !left {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// used is the CPU time in seconds as the kernel says.
func (b *burner) used(t testing.TB) float64 {
	t.Helper()
	if !unified() {
		return number(t, cgroupRoot+"/cpuacct"+b.id+"/cpuacct.usage", "") / 1e9
	}
	return number(t, cgroupRoot+b.id+"/cpu.stat", "usage_usec ") / 1e6
}

// number reads the number behind prefix in a file.
func number(t testing.TB, path, prefix string) float64 {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %q", path, prefix)
	return 0
}
