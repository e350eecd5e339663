package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// maxFilesystems bounds the file systems measured, of each class.
const maxFilesystems = 512

// Filesystem is a mounted file system of the host. Sizes are in bytes.
type Filesystem struct {
	// Device is named as cAdvisor does: the mount's source (/dev/vda1,
	// server:/export), for tmpfs the mount point, for an overlay
	// overlay_major-minor.
	Device       string
	MountPoint   string // the first one that the host lists
	Type         string // ext4, xfs, nfs4, fuse.sshfs ...
	Major, Minor uint32
	Size         uint64
	Used         uint64 // Size - Free
	Free         uint64
	Avail        uint64 // Free without what is reserved for root
	// Inodes is 0 where the file system does not count them (btrfs, vfat).
	Inodes, InodesFree uint64
}

// pseudo file systems hold no data, or only the kernel's.
var pseudo = []string{
	"autofs", "bdev", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs",
	"devpts", "devtmpfs", "dlmfs", "efivarfs", "fusectl", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "hugetlbfs",
	"ipathfs", "mqueue", "nfsd", "nsfs", "nullfs", "openpromfs", "orangefs_devreq", "pidfs", "pipefs", "proc", "pstore",
	"ramfs", "resctrl", "rootfs", "rpc_pipefs", "secretmem", "securityfs", "selinuxfs", "smackfs", "sockfs", "spufs", "sysfs", "tracefs",
}

// remoteTypes wait for somebody outside this kernel, who may never answer.
var remoteTypes = []string{
	"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs",
	"nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "virtiofs", "vboxsf", "vmhgfs", "wekafs",
}

func classOf(fsType string) class {
	if slices.Contains(remoteTypes, fsType) || strings.HasPrefix(fsType, "fuse.") {
		return remote
	}
	return local
}

// host finds the mounts of the host, and how to get at its files from here.
type host struct {
	procRoot string
	ttl      time.Duration // how long a reading of the mounts is good for

	mu     sync.Mutex
	at     time.Time
	prefix string
	list   []*mountinfo.Info
}

// mounts returns the host's mounts and what to put before its paths. Neither
// asks any file system but proc. The slice is shared.
func (h *host) mounts() (prefix string, mounts []*mountinfo.Info, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.list == nil || time.Since(h.at) >= h.ttl {
		prefix, list, err := h.read()
		if err != nil {
			return h.prefix, h.list, err
		}
		h.prefix, h.list, h.at = prefix, list, time.Now()
	}
	return h.prefix, h.list, nil
}

// read reads the mounts of process 1 and finds them below its root. If we
// share its mount namespace, or may not look at it, ours are the host's.
func (h *host) read() (prefix string, mounts []*mountinfo.Info, err error) {
	pid := "self"
	theirs, err := os.Readlink(filepath.Join(h.procRoot, "1/ns/mnt"))
	if err == nil {
		ours, err := os.Readlink(filepath.Join(h.procRoot, "self/ns/mnt"))
		if err != nil || ours != theirs {
			pid, prefix = "1", filepath.Join(h.procRoot, "1/root")
		}
	}
	path := filepath.Join(h.procRoot, pid, "mountinfo")
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	mounts, err = mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return "", nil, fmt.Errorf("parse %s: %w", path, err)
	}
	return prefix, mounts, nil
}

// mount is where a path is.
type mount struct {
	point  string
	device string // major:minor, the same wherever the file system is mounted
	class  class
}

// mountOf finds the mount of a path by name alone, without asking any file
// system; of several at one point the last, which hides the others.
func mountOf(mounts []*mountinfo.Info, path string) mount {
	var found mount
	for _, m := range mounts {
		if len(m.Mountpoint) >= len(found.point) && within(path, m.Mountpoint) {
			found = mount{point: m.Mountpoint, device: number(uint32(m.Major), uint32(m.Minor)), class: classOf(m.FSType)}
		}
	}
	return found
}

func number(major, minor uint32) string { return fmt.Sprintf("%d:%d", major, minor) }

func within(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// Filesystems returns the host's file systems as last measured, each device
// once, ordered by device. Those that do not answer are left out.
func (w *Walker) Filesystems() []Filesystem {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Concat(w.filesystems[local], w.filesystems[remote])
	slices.SortFunc(all, func(a, b Filesystem) int { return strings.Compare(a.Device, b.Device) })
	return all
}

// measure keeps the file systems of one class up to date.
func (w *Walker) measure(ctx context.Context, cl class) {
	ticker := time.NewTicker(w.opts.FilesystemInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		w.measureOnce(ctx, cl)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (w *Walker) measureOnce(ctx context.Context, cl class) {
	prefix, mounts, err := w.host.mounts()
	if err != nil {
		w.log.Warn("mounts could not be read, sizes of file systems are missing", "err", err)
	}
	selected, dropped := choose(mounts, cl)
	w.metrics.refused.WithLabelValues(reasonFilesystems).Add(float64(dropped))
	measured := make([]Filesystem, 0, len(selected))
	for _, f := range selected {
		if ctx.Err() != nil {
			return
		}
		if err := w.statfs(prefix, &f, cl); err != nil {
			if !errors.Is(err, errStuck) { // that one is logged once and counted
				w.log.Debug("file system could not be measured", "mount", f.MountPoint, "err", err)
			}
			continue
		}
		measured = append(measured, f)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filesystems[cl] = measured
}

// choose lists the file systems of a class worth measuring, one mount for
// each, and says how many more there were.
func choose(mounts []*mountinfo.Info, cl class) (chosen []Filesystem, dropped int) {
	last := map[string]int{} // of several mounts at one point the last is seen
	for _, m := range mounts {
		last[m.Mountpoint] = m.ID
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		if classOf(m.FSType) != cl || slices.Contains(pseudo, m.FSType) || last[m.Mountpoint] != m.ID {
			continue
		}
		// The overlays of containers only repeat the file system below them.
		if m.FSType == "overlay" && m.Mountpoint != "/" {
			continue
		}
		f := Filesystem{
			Device: deviceName(m), MountPoint: m.Mountpoint, Type: m.FSType,
			Major: uint32(m.Major), Minor: uint32(m.Minor),
		}
		id := number(f.Major, f.Minor)
		if seen[id] || seen[f.Device] {
			continue
		}
		seen[id], seen[f.Device] = true, true
		if len(chosen) == maxFilesystems {
			dropped++
			continue
		}
		chosen = append(chosen, f)
	}
	return chosen, dropped
}

func deviceName(m *mountinfo.Info) string {
	switch m.FSType {
	case "tmpfs":
		return m.Mountpoint
	case "overlay":
		return fmt.Sprintf("%s_%d-%d", m.Source, m.Major, m.Minor)
	}
	return m.Source
}

// statfs fills in the sizes.
func (w *Walker) statfs(prefix string, f *Filesystem, cl class) error {
	type outcome struct {
		s   unix.Statfs_t
		err error
	}
	result := make(chan outcome, 1)
	path := prefix + f.MountPoint
	err := w.guard.do(mount{f.MountPoint, number(f.Major, f.Minor), cl}, "statfs", func(*call) {
		var o outcome
		o.err = w.opts.sys.statfs(path, &o.s)
		result <- o
	})
	if err != nil {
		return err
	}
	o := <-result
	if o.err != nil {
		return fmt.Errorf("statfs %s: %w", path, o.err)
	}
	block := uint64(or(o.s.Frsize, o.s.Bsize))
	f.Size, f.Free, f.Avail = block*o.s.Blocks, block*o.s.Bfree, block*o.s.Bavail
	f.Used = f.Size - min(f.Free, f.Size)
	f.Inodes, f.InodesFree = o.s.Files, o.s.Ffree
	return nil
}
