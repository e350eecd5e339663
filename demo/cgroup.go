package demo

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limits are those of a container.
type limits struct {
	// memory in bytes, cpu in thousandths of a core.
	memory, cpu int64
}

// cpuPeriod is the kernel's default of the time that CPU limits refer to.
const cpuPeriod = 100_000 // microseconds

// groups makes the cgroups of the demo below one of its own, so that no
// kubelet takes them for those of pods it does not know. It is laid out as
// kubelet's cgroupfs driver does: kubepods/burstable/pod<uid>/<container id>.
type groups struct {
	name string
	// dirs are the mount points below which every group has a folder: one on
	// v2, on v1 one for each hierarchy.
	dirs []string
	v2   bool
}

// v1Controllers are those whose hierarchies the containers of pods are in,
// as far as they are mounted.
var v1Controllers = []string{"memory", "cpu", "cpuacct", "pids", "blkio"}

// openGroups finds out how cgroups are mounted, removes what is left of an
// earlier run and makes the outermost group.
func openGroups(root, name string) (*groups, error) {
	if root == "" {
		return nil, errors.New("no folder of cgroups was given")
	}
	g := &groups{name: name}
	if err := g.findRoots(root); err != nil {
		return nil, err
	}
	if err := g.remove(); err != nil {
		return nil, fmt.Errorf("what an earlier demo left behind cannot be removed: %w", err)
	}
	if err := g.make("kubepods/burstable"); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

// findRoots lists the mounted hierarchies; two controllers of v1 may share one.
func (g *groups) findRoots(root string) error {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		g.v2, g.dirs = true, []string{root}
		return nil
	}
	seen := map[string]bool{}
	for _, c := range v1Controllers {
		dir, err := filepath.EvalSymlinks(filepath.Join(root, c))
		if err != nil || seen[dir] {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue
		}
		seen[dir] = true
		g.dirs = append(g.dirs, dir)
	}
	if !seen[filepath.Join(root, "memory")] {
		return fmt.Errorf("%s has neither cgroup v2 nor the memory controller of v1", root)
	}
	return nil
}

// root names the outermost group for people.
func (g *groups) root() string {
	if g == nil {
		return "none"
	}
	return "/" + g.name
}

// make makes a group and those around it, and on v2 hands the controllers
// down to it.
func (g *groups) make(path string) error {
	elements := strings.Split(g.name+"/"+path, "/")
	for _, root := range g.dirs {
		dir := root
		for _, e := range elements {
			if g.v2 {
				if err := write(dir, "cgroup.subtree_control", "+cpu +memory"); err != nil {
					return err
				}
				// Nice to have: the number of processes.
				_ = write(dir, "cgroup.subtree_control", "+pids")
			}
			dir = filepath.Join(dir, e)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// group is the cgroup of one container. A nil group is none.
type group struct {
	groups *groups
	pod    string
	path   string
}

// container makes the group of a new container in that of its pod.
func (g *groups) container(uid string, l limits) (*group, error) {
	if g == nil {
		return nil, nil //nolint:nilnil // no groups, no group
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	pod := "kubepods/burstable/pod" + uid
	c := &group{groups: g, pod: pod, path: pod + "/" + hex.EncodeToString(id)}
	err := g.make(c.path)
	if err == nil {
		// The kubelet sets limits on the pod as well when all containers have some.
		err = errors.Join(g.limit(pod, l), g.limit(c.path, l))
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// limit sets the limits of a group.
func (g *groups) limit(path string, l limits) error {
	quota := l.cpu * cpuPeriod / 1000
	if g.v2 {
		dir := filepath.Join(g.dirs[0], g.name, path)
		return errors.Join(
			write(dir, "memory.max", strconv.FormatInt(l.memory, 10)),
			optional(write(dir, "memory.swap.max", "0")),
			write(dir, "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)),
		)
	}
	var errs []error
	for _, root := range g.dirs {
		dir := filepath.Join(root, g.name, path)
		if _, err := os.Stat(filepath.Join(dir, "memory.limit_in_bytes")); err == nil {
			errs = append(errs,
				write(dir, "memory.limit_in_bytes", strconv.FormatInt(l.memory, 10)),
				// Only kernels that account for swap have it.
				optional(write(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(l.memory, 10))))
		}
		if _, err := os.Stat(filepath.Join(dir, "cpu.cfs_quota_us")); err == nil {
			errs = append(errs, write(dir, "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)), write(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)))
		}
	}
	return errors.Join(errs...)
}

// optional forgives that a file is not there.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

func write(dir, name, text string) error {
	// Never create: where there is no cgroup file system it would be a plain file.
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// join moves a process into the group.
func (c *group) join(pid int) error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, root := range c.groups.dirs {
		errs = append(errs, write(filepath.Join(root, c.groups.name, c.path), "cgroup.procs", strconv.Itoa(pid)))
	}
	return errors.Join(errs...)
}

// oomKilled tells whether the kernel killed a process of the group for its
// memory.
func (c *group) oomKilled() bool {
	if c == nil {
		return false
	}
	for _, root := range c.groups.dirs {
		for _, name := range []string{"memory.events", "memory.oom_control"} {
			text, _ := os.ReadFile(filepath.Join(root, c.groups.name, c.path, name))
			for line := range bytes.Lines(text) {
				if count, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok && string(bytes.TrimSpace(count)) != "0" {
					return true
				}
			}
		}
	}
	return false
}

// remove removes the group of a container. That of its pod stays until the
// demo ends.
func (c *group) remove() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, root := range c.groups.dirs {
		errs = append(errs, removeTree(filepath.Join(root, c.groups.name, c.path)))
	}
	return errors.Join(errs...)
}

// remove removes all groups of the demo and kills what runs in them.
func (g *groups) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, root := range g.dirs {
		errs = append(errs, removeTree(filepath.Join(root, g.name)))
	}
	return errors.Join(errs...)
}

// removeTree removes a group and those below it, the innermost first.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return removeGroup(dir)
}

// removeGroup kills the processes of a group until it can be removed: the
// kernel refuses for as long as one is not quite gone.
func removeGroup(dir string) error {
	const attempts, pause = 100, 20 * time.Millisecond
	var err error
	for range attempts {
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		if err := killAll(dir); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
}

// killAll kills the processes of a group.
func killAll(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return optional(err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 1 {
			continue // 0 is a process that cannot be seen from here
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}
