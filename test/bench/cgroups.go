package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// hierarchies are the cgroup v1 controllers that a container runtime puts a
// container into, and the cgroup2 hierarchy beside them.
var hierarchies = []string{"cpu", "cpuacct", "memory", "blkio", "pids", "unified"}

// containers are cgroups with one idle process each.
type containers struct {
	dirs  []string
	procs []*exec.Cmd
}

// startContainers makes n cgroups below a common parent, named as the kubelet
// and containerd name theirs.
func startContainers(n int) (*containers, error) {
	c := &containers{}
	base := fmt.Sprintf("binnacle-bench-%d", os.Getpid())
	c.mkdir(base)
	for i := range n {
		name := filepath.Join(base, fmt.Sprintf("%064x", i+1))
		if err := c.mkdir(name); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		p := exec.Command("/bin/sleep", "86400")
		if err := p.Start(); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.procs = append(c.procs, p)
		if err := join(name, p.Process.Pid); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

func (c *containers) mkdir(name string) error {
	made := false
	for _, h := range hierarchies {
		root := filepath.Join("/sys/fs/cgroup", h)
		if _, err := os.Stat(root); err != nil {
			continue
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		c.dirs = append(c.dirs, dir)
		made = true
	}
	if !made {
		return errors.New("no cgroup v1 controllers at /sys/fs/cgroup")
	}
	return nil
}

func join(name string, pid int) error {
	for _, h := range hierarchies {
		file := filepath.Join("/sys/fs/cgroup", h, name, "cgroup.procs")
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the processes and removes the cgroups, children first.
func (c *containers) stop() error {
	for _, p := range c.procs {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	var errs []error
	for i := len(c.dirs) - 1; i >= 0; i-- {
		err := os.Remove(c.dirs[i])
		for range 100 { // the kernel takes a moment to forget the processes
			if err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
			err = os.Remove(c.dirs[i])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
