package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Version is the cgroup version of a host.
type Version uint8

// The versions. Hybrid is v1 controllers with a cgroup2 hierarchy beside.
const (
	V1 Version = iota + 1
	V2
	Hybrid
)

// String returns "v1", "v2" or "hybrid".
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	}
	return "unknown"
}

// controller is a set of controllers.
type controller uint16

const (
	ctrlCPUAcct controller = 1 << iota
	ctrlCPU
	ctrlMemory
	ctrlPids
	ctrlBlkio // "io" on v2
	ctrlCpuset
	ctrlHugetlb
	// ctrlUnified stands for the cgroup2 hierarchy itself.
	ctrlUnified

	ctrlAllV2 = ctrlCPUAcct | ctrlCPU | ctrlMemory | ctrlPids | ctrlBlkio | ctrlCpuset | ctrlHugetlb
)

var controllerNames = map[string]controller{
	"cpuacct": ctrlCPUAcct, "cpu": ctrlCPU, "memory": ctrlMemory, "pids": ctrlPids,
	"blkio": ctrlBlkio, "cpuset": ctrlCpuset, "hugetlb": ctrlHugetlb,
}

// hierarchy is one mounted tree of cgroups.
type hierarchy struct {
	dir   string // without a trailing slash
	ctrls controller
	v2    bool
}

// path is the directory of a group in this hierarchy.
func (h *hierarchy) path(id string) string {
	if id == "/" {
		return h.dir
	}
	return h.dir + id
}

// layout is what is mounted where.
type layout struct {
	version Version
	hiers   []hierarchy
	// primary lists the hierarchies in which groups are discovered. The
	// others only add files to groups found there.
	primary []int
}

const (
	procsFile       = "cgroup.procs"
	eventsFile      = "cgroup.events"
	controllersFile = "cgroup.controllers"
)

// errRootAdvice ends every error about the root directory.
const errRootAdvice = "--cgroup-root (the root option) must be where the host's cgroups are mounted, usually /sys/fs/cgroup"

// detect finds the hierarchies below root by what its directories contain,
// and a cgroup2 mount elsewhere by mountinfo.
func detect(root, procRoot string) (*layout, error) {
	if dir, ok := resolveDir(root); ok {
		root = dir
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("cgroup: cannot read the cgroup root %s: %w; %s", root, err, errRootAdvice)
	}
	if exists(filepath.Join(root, controllersFile)) {
		l := &layout{version: V2, hiers: []hierarchy{{dir: root, ctrls: ctrlAllV2 | ctrlUnified, v2: true}}, primary: []int{0}}
		return l, l.readable()
	}
	mounts := readMounts(filepath.Join(procRoot, "self", "mountinfo"))
	l := &layout{version: V1}
	var unified []string
	var have controller
	for _, e := range entries {
		dir, ok := resolveDir(filepath.Join(root, e.Name()))
		if !ok || l.has(dir) {
			continue
		}
		if exists(filepath.Join(dir, controllersFile)) {
			unified = append(unified, dir)
			continue
		}
		if c := controllersOf(dir, e.Name(), mounts) &^ have; c != 0 {
			have |= c
			l.hiers = append(l.hiers, hierarchy{dir: dir, ctrls: c})
		}
	}
	if len(unified) == 0 && len(l.hiers) > 0 {
		unified = unifiedElsewhere(root, mounts)
	}
	if len(unified) > 0 {
		l.hiers = append(l.hiers, hierarchy{dir: unified[0], ctrls: ctrlAllV2&^have | ctrlUnified, v2: true})
		if have != 0 {
			l.version = Hybrid
		} else {
			l.version = V2
		}
	}
	if len(l.hiers) == 0 {
		return nil, fmt.Errorf("cgroup: no cgroup hierarchy in %s: neither %s (v2) nor directories of controllers such as memory and cpuacct (v1); %s",
			root, controllersFile, errRootAdvice)
	}
	l.choosePrimary()
	return l, l.readable()
}

// readable fails when a hierarchy cannot be listed.
func (l *layout) readable() error {
	for _, h := range l.hiers {
		f, err := os.Open(h.dir)
		if err == nil {
			_, err = f.Readdirnames(1)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("cgroup: cannot read the cgroup hierarchy %s: %w; %s", h.dir, err, errRootAdvice)
		}
	}
	return nil
}

// choosePrimary picks CPU accounting, memory and cgroup2: container runtimes
// and systemd make a group in at least one of them.
func (l *layout) choosePrimary() {
	for _, c := range []controller{ctrlCPUAcct, ctrlCPU, ctrlMemory, ctrlUnified} {
		// cpu without cpuacct only where there is no cpuacct.
		if h := l.find(c); h >= 0 && !slices.Contains(l.primary, h) && (c != ctrlCPU || len(l.primary) == 0) {
			l.primary = append(l.primary, h)
		}
	}
	if len(l.primary) == 0 {
		for h := range l.hiers {
			l.primary = append(l.primary, h)
		}
	}
}

// find returns the hierarchy of a controller, -1 when there is none.
func (l *layout) find(c controller) int {
	for i := range l.hiers {
		if l.hiers[i].ctrls&c != 0 {
			return i
		}
	}
	return -1
}

// has tells whether a directory is a known hierarchy: cpu and cpuacct are
// often links to cpu,cpuacct.
func (l *layout) has(dir string) bool {
	for i := range l.hiers {
		if l.hiers[i].dir == dir {
			return true
		}
	}
	return false
}

// controllersOf tells which v1 controllers a directory is of: by mountinfo,
// else by its name, and only if it looks like a hierarchy at all.
func controllersOf(dir, name string, mounts []mount) controller {
	if !exists(filepath.Join(dir, procsFile)) && !exists(filepath.Join(dir, "tasks")) {
		return 0
	}
	for _, m := range mounts {
		if m.point == dir && m.fstype == "cgroup" {
			return controllersIn(m.options)
		}
	}
	// The name may be a link to cpu,cpuacct.
	return controllersIn(name) | controllersIn(filepath.Base(dir))
}

func controllersIn(list string) controller {
	var c controller
	for n := range strings.SplitSeq(list, ",") {
		c |= controllerNames[n]
	}
	return c
}

// unifiedElsewhere finds a cgroup2 mount outside of root. Only when root is
// where this kernel's v1 hierarchies are mounted: a copied tree must not be
// mixed with the host's own groups.
func unifiedElsewhere(root string, mounts []mount) []string {
	var own bool
	for _, m := range mounts {
		own = own || m.fstype == "cgroup" && strings.HasPrefix(m.point, root+"/")
	}
	if !own {
		return nil
	}
	for _, m := range mounts {
		if m.fstype == "cgroup2" && exists(filepath.Join(m.point, controllersFile)) {
			return []string{m.point}
		}
	}
	return nil
}

func resolveDir(path string) (string, bool) {
	dir, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", false
	}
	fi, err := os.Stat(dir)
	return dir, err == nil && fi.IsDir()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}
