//go:build system

package functional

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// delegated are the v2 controllers that children get.
	delegated = "+cpu +memory +io +pids +cpuset +hugetlb"
)

// unified tells whether the host has cgroup v2 alone. Otherwise it has the v1
// controllers, with a v2 hierarchy beside them on a hybrid host.
func unified() bool {
	_, err := os.Stat(cgroupRoot + "/cgroup.controllers")
	return err == nil
}

// controllers are the v1 hierarchies in which a test container has a
// directory, freezer and the v2 hierarchy of hybrid hosts included.
func controllers() []string {
	if unified() {
		return []string{""}
	}
	var present []string
	for _, c := range []string{"cpu", "cpuacct", "memory", "pids", "blkio", "freezer", "unified"} {
		if _, err := os.Stat(filepath.Join(cgroupRoot, c)); err == nil {
			present = append(present, c)
		}
	}
	return present
}

// group is one cgroup, on v1 a directory in each hierarchy.
type group struct {
	// id is the path below the hierarchies, as in the label id.
	id   string
	kind string
}

// dir is the directory of the group in the hierarchy of a v1 controller.
func (g *group) dir(controller string) string {
	if unified() {
		return cgroupRoot + g.id
	}
	return filepath.Join(cgroupRoot, controller) + g.id
}

func (g *group) directories() []string {
	var dirs []string
	for _, c := range controllers() {
		dirs = append(dirs, g.dir(c))
	}
	return dirs
}

// create makes the directories and, on v2, delegates the controllers to them.
func (g *group) create() error {
	for _, dir := range g.directories() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// delegate hands the v2 controllers of a group without processes of its own
// to its children.
func (g *group) delegate() error {
	if !unified() {
		return nil
	}
	return os.WriteFile(g.dir("")+"/cgroup.subtree_control", []byte(delegated), 0)
}

// set writes a control file: v1 and v2 are "controller:file", "" for none.
func (g *group) set(t testing.TB, v1, v2, value string) {
	t.Helper()
	name := v1
	if unified() {
		name = v2
	}
	controller, file, _ := strings.Cut(name, ":")
	if file == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(g.dir(controller), file), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// freeze stops or resumes all processes of the group.
func (g *group) freeze(t testing.TB, frozen bool) {
	t.Helper()
	if unified() {
		value := "0"
		if frozen {
			value = "1"
		}
		g.set(t, "", ":cgroup.freeze", value)
		return
	}
	state := "THAWED"
	if frozen {
		state = "FROZEN"
	}
	g.set(t, "freezer:freezer.state", "", state)
}

// frozen tells whether freeze has been completed by the kernel.
func (g *group) frozen() bool {
	if unified() {
		events, _ := os.ReadFile(g.dir("") + "/cgroup.events")
		return strings.Contains(string(events), "frozen 1")
	}
	state, _ := os.ReadFile(g.dir("freezer") + "/freezer.state")
	return strings.TrimSpace(string(state)) == "FROZEN"
}

// remove kills what runs in the group and removes its directories.
func (g *group) remove() error {
	var last error
	for range 200 {
		g.kill()
		last = nil
		for _, dir := range g.directories() {
			if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				last = err
			}
		}
		if last == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}

func (g *group) kill() {
	if !unified() { // a frozen process of v1 does not die
		_ = os.WriteFile(g.dir("freezer")+"/freezer.state", []byte("THAWED"), 0)
	}
	for _, c := range controllers() {
		procs, _ := os.ReadFile(g.dir(c) + "/cgroup.procs")
		for field := range strings.FieldsSeq(string(procs)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
}

// cluster is a kubepods hierarchy with pods made by one test, and the folders
// below /var/log/pods that name them.
type cluster struct {
	root    *group
	pods    []*group
	logs    string
	members []*group
}

// newCluster makes an empty hierarchy that vanishes with the test.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the functional tests make cgroups: run them as root")
	}
	c := &cluster{root: &group{id: "/kubepods"}, logs: t.TempDir()}
	c.reclaim(t)
	if err := errors.Join(c.root.create(), c.root.delegate()); err != nil {
		t.Fatal(err)
	}
	// Other work on this machine must not keep the test from its quota.
	if !inMachine() {
		c.root.set(t, "cpu:cpu.shares", ":cpu.weight", "10000")
	}
	t.Cleanup(func() {
		for _, g := range slices.Backward(append(append([]*group{c.root}, c.pods...), c.members...)) {
			if err := g.remove(); err != nil {
				t.Errorf("remove %s: %v", g.id, err)
			}
		}
	})
	return c
}

// reclaim removes what a test that was killed left behind.
func (c *cluster) reclaim(t testing.TB) {
	t.Helper()
	var left []string
	for _, controller := range controllers() {
		base := filepath.Join(cgroupRoot, controller)
		_ = filepath.WalkDir(base+c.root.id, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				left = append(left, strings.TrimPrefix(path, base))
			}
			return nil
		})
	}
	slices.Sort(left)
	for _, id := range slices.Backward(slices.Compact(left)) {
		if err := (&group{id: id}).remove(); err != nil {
			t.Fatalf("%s is in use: %v", id, err)
		}
	}
}

// newID returns n random bytes in hexadecimal.
func newID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// newPod makes the cgroup of a pod.
func (c *cluster) newPod(t testing.TB) *group {
	t.Helper()
	s := newID(16)
	uid := fmt.Sprintf("%s-%s-%s-%s-%s", s[:8], s[8:12], s[12:16], s[16:20], s[20:])
	pod := &group{id: c.root.id + "/pod" + uid, kind: "pod"}
	if err := errors.Join(pod.create(), pod.delegate()); err != nil {
		t.Fatal(err)
	}
	c.pods = append(c.pods, pod)
	return pod
}

// newContainer makes the cgroup of a container and its log.
func (c *cluster) newContainer(t testing.TB, pod *group, kind string) *group {
	t.Helper()
	g := c.plan(pod, kind)
	if err := c.begin(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// plan names a container that begin then makes.
func (c *cluster) plan(pod *group, kind string) *group {
	g := &group{id: pod.id + "/" + newID(32), kind: kind}
	c.members = append(c.members, g)
	return g
}

// begin makes the cgroup and then the log, as container runtimes do.
func (c *cluster) begin(g *group) error {
	if err := g.create(); err != nil {
		return err
	}
	pod, _, _ := strings.Cut(g.label(), "/")
	logs := filepath.Join(c.logs, "test_"+pod+"_"+g.podUID(), g.kind)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(logs, "0.log"), nil, 0o644)
}

func (g *group) podUID() string { return strings.TrimPrefix(filepath.Base(filepath.Dir(g.id)), "pod") }

// label is the container's name in series that outlive it: pod/container.
func (g *group) label() string { return "pod-" + g.podUID()[:8] + "/" + g.kind }
