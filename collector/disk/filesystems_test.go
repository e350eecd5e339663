package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func parse(t testing.TB, lines ...string) []*mountinfo.Info {
	t.Helper()
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(strings.Join(lines, "\n")+"\n"), nil)
	require.NoError(t, err)
	return mounts
}

var node = []string{
	"22 27 0:21 / /proc rw,relatime - proc proc rw",
	"23 27 0:22 / /sys rw,relatime - sysfs sysfs rw",
	"24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw",
	"25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684096k",
	"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
	"30 25 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw",
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
	"50 27 254:0 /var/lib/kubelet/pods/u/subpath /var/lib/kubelet/pods/u/v rw - ext4 /dev/vda rw",
	"51 27 254:16 / /data\\040disk rw - xfs /dev/vdb rw",
	"60 27 0:60 / /run/containerd/c1/rootfs rw - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w",
	"70 27 0:70 / /mnt/home rw shared:1 - nfs4 10.0.0.1:/home rw,vers=4.2",
	"71 27 0:70 /sub /mnt/sub rw shared:1 - nfs4 10.0.0.1:/home/sub rw,vers=4.2",
	"72 27 0:72 / /mnt/s3 rw - fuse.s3fs s3fs rw",
	"73 27 0:73 / /home/me/.gvfs rw - fuse.gvfsd-fuse gvfsd rw",
}

func devices(list []Filesystem) (out []string) {
	for _, f := range list {
		out = append(out, f.Device+" at "+f.MountPoint)
	}
	return out
}

func TestChoose(t *testing.T) {
	mounts := parse(t, node...)
	chosen, dropped := choose(mounts, local)
	require.Zero(t, dropped)
	require.Equal(t, []string{"/dev/vda at /", "/dev/shm at /dev/shm", "/dev/vdb at /data disk"}, devices(chosen))
	require.Equal(t, Filesystem{Device: "/dev/shm", MountPoint: "/dev/shm", Type: "tmpfs", Minor: 27}, chosen[1], "the upper one of two mounts")
	chosen, _ = choose(mounts, remote)
	require.Equal(t, []string{"10.0.0.1:/home at /mnt/home", "s3fs at /mnt/s3"}, devices(chosen))

	chosen, _ = choose(parse(t, "60 27 0:60 / / rw - overlay overlay rw,lowerdir=/l"), local)
	require.Equal(t, []string{"overlay_0-60 at /"}, devices(chosen), "the root of a machine may be an overlay")
}

func TestFilesystemsAreBounded(t *testing.T) {
	var lines []string
	for i := range maxFilesystems + 5 {
		n := strconv.Itoa(i + 1)
		lines = append(lines, n+" 0 0:"+n+" / /m"+n+" rw - tmpfs tmpfs rw")
	}
	sys := newSystem()
	sys.statfs = func(string, *unix.Statfs_t) error { return nil }
	w := New(Options{ProcRoot: procRoot(t, lines...), sys: sys})
	w.measureOnce(t.Context(), local)
	require.Len(t, w.Filesystems(), maxFilesystems)
	require.InDelta(t, 5, testutil.ToFloat64(w.metrics.refused.WithLabelValues(reasonFilesystems)), 0)
}

func TestMountOf(t *testing.T) {
	mounts := parse(t, node...)
	for path, want := range map[string]mount{
		"/":                       {"/", "254:0", local},
		"/etc":                    {"/", "254:0", local},
		"/mnt/home":               {"/mnt/home", "0:70", remote},
		"/mnt/home/me/x":          {"/mnt/home", "0:70", remote},
		"/mnt/homes":              {"/", "254:0", local},
		"/data disk/x":            {"/data disk", "254:16", local},
		"/run/containerd/c1/root": {"/", "254:0", local},
	} {
		require.Equal(t, want, mountOf(mounts, path), path)
	}
	require.Equal(t, mount{}, mountOf(nil, "/x"))
}

func TestSizesAreThoseOfStatfs(t *testing.T) {
	sys := newSystem()
	calls := map[string]int{}
	sys.statfs = func(path string, s *unix.Statfs_t) error {
		calls[path]++
		if path == "/data disk" {
			return errors.New("broken")
		}
		*s = unix.Statfs_t{Bsize: 4096, Frsize: 1024, Blocks: 100, Bfree: 40, Bavail: 30, Files: 10, Ffree: 7}
		return nil
	}
	w := New(Options{ProcRoot: procRoot(t, node...), sys: sys})
	w.measureOnce(t.Context(), local)
	w.measureOnce(t.Context(), remote)
	got := w.Filesystems()
	require.Equal(t, []string{
		"/dev/shm at /dev/shm", "/dev/vda at /", "10.0.0.1:/home at /mnt/home", "s3fs at /mnt/s3",
	}, devices(got))
	require.Equal(t, Filesystem{
		Device: "/dev/vda", MountPoint: "/", Type: "ext4", Major: 254,
		Size: 102400, Used: 61440, Free: 40960, Avail: 30720, Inodes: 10, InodesFree: 7,
	}, got[1])
	for path, n := range calls {
		require.Equal(t, 1, n, path)
	}
}

func TestMountsAreReadOnceInAWhile(t *testing.T) {
	root := procRoot(t, node...)
	h := &host{procRoot: root, ttl: time.Hour}
	_, mounts, err := h.mounts()
	require.NoError(t, err)
	require.Len(t, mounts, len(node))
	require.NoError(t, os.Remove(filepath.Join(root, "self/mountinfo")))
	_, mounts, err = h.mounts()
	require.NoError(t, err)
	require.Len(t, mounts, len(node))

	h.ttl = 0
	_, mounts, err = h.mounts()
	require.ErrorContains(t, err, filepath.Join(root, "self/mountinfo"))
	require.Len(t, mounts, len(node), "the last known mounts are better than none")
}

func TestHostInAnotherMountNamespace(t *testing.T) {
	root := procRoot(t, "1 0 254:0 / / rw - overlay overlay rw")
	for pid, ns := range map[string]string{"1": "mnt:[1]", "self": "mnt:[2]"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, pid, "ns"), 0o755))
		require.NoError(t, os.Symlink(ns, filepath.Join(root, pid, "ns/mnt")))
	}
	rootfs := filepath.Join(root, "1/root")
	write(t, filepath.Join(rootfs, "var/file"), 1)
	require.NoError(t, os.WriteFile(filepath.Join(root, "1/mountinfo"), []byte("1 0 254:0 / / rw - ext4 /dev/vda rw\n"), 0o644))
	w := New(Options{ProcRoot: root})
	w.Watch("a", "/var")
	run(t, w)
	eventually(t, "the host's directory", func() bool { u, ok := w.Usage("a"); return ok && u.Inodes == 2 })
	eventually(t, "the host's file system", func() bool {
		got := w.Filesystems()
		return len(got) == 1 && got[0].Device == "/dev/vda" && got[0].Size > 0
	})
}

func TestRealFilesystems(t *testing.T) {
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	defer func() { require.NoError(t, unix.Unmount(at, 0)) }()
	w := New(Options{})
	w.measureOnce(t.Context(), local)
	found := map[string]Filesystem{}
	for _, f := range w.Filesystems() {
		found[f.Device] = f
	}
	require.Contains(t, found, at, "a tmpfs is named by where it is")
	require.EqualValues(t, 4<<20, found[at].Size)
	require.Equal(t, found[at].Size-found[at].Used, found[at].Free)
	require.NotContains(t, found, "proc")
}
