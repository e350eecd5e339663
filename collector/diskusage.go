package collector

import (
	"path/filepath"
	"strings"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
)

func diskFamilies() []Descriptor {
	const (
		g      = "disk"
		root   = "statfs by device for /; "
		usage  = root + "a budgeted walk of a container's writable layer and logs, and of a pod's emptyDir volumes"
		walked = "better: also for containerd, the walk is under a budget and a hung mount blocks nothing"
	)
	f := func(name, unit, help, from, versus string) Descriptor {
		return describe(g, "container_fs_"+name, gauge, unit, help, origin{from, from, versus}, "device")
	}
	return []Descriptor{
		f("usage_bytes", "bytes", "Bytes used on the file system by the container; for / by everybody.", usage, walked),
		f("limit_bytes", "bytes", "Size of the file system.", "statfs", "same"),
		f("inodes_total", "", "Inodes of the file system.", "statfs", "same"),
		f("inodes_free", "", "Free inodes of the file system.", "statfs", "same"),
	}
}

// diskUse is what one container uses of one device.
type diskUse struct {
	device             string
	used, size         uint64
	inodes, inodesFree uint64
}

func diskTable() table[diskUse] {
	inodes := func(n func(*diskUse) uint64) func(*diskUse) uint64 {
		return func(d *diskUse) uint64 {
			if d.inodes == 0 {
				return cgroup.None // the file system does not count them
			}
			return n(d)
		}
	}
	return table[diskUse]{
		slots: []elemSlot[diskUse]{
			{name: "container_fs_usage_bytes", div: 1, value: func(d *diskUse) uint64 { return d.used }},
			{name: "container_fs_limit_bytes", div: 1, value: func(d *diskUse) uint64 { return d.size }},
			{name: "container_fs_inodes_total", div: 1, value: inodes(func(d *diskUse) uint64 { return d.inodes })},
			{name: "container_fs_inodes_free", div: 1, value: inodes(func(d *diskUse) uint64 { return d.inodesFree })},
		},
		key:    func(d *diskUse) rowKey { return rowKey{name: d.device} },
		labels: func(d *diskUse) []string { return []string{"device", d.device} },
		limit:  256,
	}
}

// disks measures off the hot path. *disk.Walker satisfies it.
type disks interface {
	Watch(key, path string)
	Unwatch(key string)
	Usage(key string) (disk.Usage, bool)
	Filesystems() []disk.Filesystem
}

// watched is one directory whose usage counts for a container.
type watched struct{ key, path string }

// maxLayerTries bounds the search for a writable layer: a process that joined
// just now may not have changed its root yet, later it is known to have none.
const maxLayerTries = 3

// watchDisks begins to measure the directories that a container writes to, as
// far as they are known by now: paths as the host sees them.
func (c *Collector) watchDisks(ct *container) {
	switch ct.id.Kind {
	case cgroup.KindPod:
		c.watch(ct, "volumes", filepath.Join(c.opts.KubeletRoot, "pods", ct.id.PodUID, "volumes/kubernetes.io~empty-dir"))
	case cgroup.KindContainer:
		if ct.firstPid != 0 && ct.layerTries < maxLayerTries && !ct.watches("layer") {
			ct.layerTries++
			if upper, err := c.files.UpperDir(ct.firstPid); err == nil {
				c.watch(ct, "layer", upper)
			}
		}
		if ct.names.Container == "" || ct.watches("logs") {
			return
		}
		if dir := c.podLogs.dir(ct.id.PodUID); dir != "" {
			c.watch(ct, "logs", filepath.Join("/", strings.TrimPrefix(dir, c.opts.RootFS), ct.names.Container))
		}
	}
}

func (ct *container) watches(what string) bool {
	for _, w := range ct.watched {
		if strings.HasPrefix(w.key, what) {
			return true
		}
	}
	return false
}

func (c *Collector) watch(ct *container, what, path string) {
	if ct.watches(what) {
		return
	}
	w := watched{key: what + ct.group.ID(), path: path}
	ct.watched = append(ct.watched, w)
	c.disks.Watch(w.key, w.path)
}

func (c *Collector) unwatch(ct *container) {
	for _, w := range ct.watched {
		c.disks.Unwatch(w.key)
	}
	ct.watched = nil
}

// fillDisk appends the last known usage of a container.
func (c *Collector) fillDisk(ct *container, b *batch, filesystems []disk.Filesystem) {
	uses := c.uses[:0]
	if ct.isRoot() {
		for _, fs := range filesystems {
			uses = append(uses, useOf(fs, fs.Used))
		}
	} else {
		c.watchDisks(ct)
		for _, w := range ct.watched {
			if u, ok := c.disks.Usage(w.key); ok {
				uses = addUse(uses, filesystemOf(filesystems, w.path), u.Bytes)
			}
		}
	}
	c.uses = uses
	c.dropped(c.tables.disk.fill(ct, b, &ct.vectors[vecDisk], uses))
}

func useOf(fs disk.Filesystem, used uint64) diskUse {
	return diskUse{device: fs.Device, used: used, size: fs.Size, inodes: fs.Inodes, inodesFree: fs.InodesFree}
}

// addUse adds to the device of fs.
func addUse(uses []diskUse, fs disk.Filesystem, used uint64) []diskUse {
	if fs.Device == "" {
		return uses
	}
	for i := range uses {
		if uses[i].device == fs.Device {
			uses[i].used += used
			return uses
		}
	}
	return append(uses, useOf(fs, used))
}

// filesystemOf finds the file system that a path is on, by name alone.
func filesystemOf(all []disk.Filesystem, path string) (found disk.Filesystem) {
	for _, fs := range all {
		rest, ok := strings.CutPrefix(path, strings.TrimSuffix(fs.MountPoint, "/"))
		if ok && (rest == "" || rest[0] == '/') && len(fs.MountPoint) >= len(found.MountPoint) {
			found = fs
		}
	}
	return found
}
