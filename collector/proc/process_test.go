package proc

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// readers are all that read one file of a process.
var readers = map[string]func(*FS, int) error{
	"ns/net":    func(f *FS, pid int) error { _, err := f.NetNS(pid); return err },
	"net/dev":   func(f *FS, pid int) error { _, err := f.OpenNetDev(pid); return err },
	"fd":        func(f *FS, pid int) error { _, err := f.OpenFiles(pid); return err },
	"fd ":       func(f *FS, pid int) error { _, err := f.Sockets(pid); return err },
	"limits":    func(f *FS, pid int) error { _, err := f.SoftLimitOpenFiles(pid); return err },
	"net/tcp":   func(f *FS, pid int) error { _, err := f.TCPStates(pid, false); return err },
	"net/udp6":  func(f *FS, pid int) error { _, err := f.UDPStates(pid, true); return err },
	"schedstat": func(f *FS, pid int) error { _, err := f.SchedStat(pid); return err },
	"stat":      func(f *FS, pid int) error { _, err := f.Threads(pid); return err },
	"mountinfo": func(f *FS, pid int) error { _, err := f.UpperDir(pid); return err },
}

func TestEndedProcessesAreGone(t *testing.T) {
	f, c := system(t), child(t, false)
	end(c)
	for name, read := range readers {
		err := read(f, c.Process.Pid)
		require.ErrorIs(t, err, ErrGone, name)
		require.ErrorContains(t, err, fmt.Sprintf("/proc/%d/%s", c.Process.Pid, strings.TrimSpace(name)))
	}
}

func TestZombies(t *testing.T) {
	f, c := system(t), child(t, false)
	require.NoError(t, c.Process.Kill())
	require.Eventually(t, func() bool { return f.ended(c.Process.Pid) }, 30*time.Second, time.Millisecond)
	for name, read := range readers {
		// Some files of a zombie are there, and empty or with its last values.
		if err := read(f, c.Process.Pid); err != nil {
			require.ErrorIs(t, err, ErrGone, name)
		}
	}
	_, err := f.OpenNetDev(c.Process.Pid)
	require.ErrorIs(t, err, ErrGone)
	_, err = f.UpperDir(c.Process.Pid)
	require.ErrorIs(t, err, ErrGone)
}

func TestMissingFilesAreNotGone(t *testing.T) {
	f := fixture(t, 7, map[string]string{"stat": "7 (x) S 1 7 7 0"})
	for name, read := range readers {
		if name == "stat" {
			continue
		}
		err := read(f, 7)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
		require.NotErrorIs(t, err, ErrGone, name)
	}
}

func TestBadFilesAreNamed(t *testing.T) {
	f := fixture(t, 7, map[string]string{
		"stat": "7 (x) S 1 7 7 0", "limits": "Limit\n", "schedstat": "1 2", "mountinfo": "x y\n",
		"net/tcp": "head\n0: a b 0C\n", "net/udp6": "head\n0: a b 07 1\n", "ns/net/x": "",
	})
	for _, name := range []string{"stat", "limits", "schedstat", "mountinfo", "net/tcp", "net/udp6", "ns/net"} {
		err := readers[name](f, 7)
		require.ErrorContains(t, err, "/7/"+name)
		require.NotErrorIs(t, err, ErrGone)
	}
}

func TestHostNetNS(t *testing.T) {
	own, err := system(t).NetNS(os.Getpid())
	require.NoError(t, err)
	link := func(root, pid, to string) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, pid, "ns"), 0o755))
		require.NoError(t, os.Symlink(to, filepath.Join(root, pid, "ns/net")))
	}
	root := t.TempDir()
	link(root, "self", fmt.Sprintf("net:[%d]", own))
	f, err := Open(root)
	require.NoError(t, err)
	got, err := f.HostNetNS()
	require.NoError(t, err)
	require.Equal(t, own, got, "of ourselves where process 1 may not be asked")
	link(root, "1", "net:[4026531840]")
	got, err = f.HostNetNS()
	require.NoError(t, err)
	require.EqualValues(t, 4026531840, got)

	f = fixture(t, 7, map[string]string{"stat": ""})
	_, err = f.HostNetNS()
	require.ErrorContains(t, err, "/1/ns/net")
	require.ErrorContains(t, err, "/self/ns/net")
}

func TestParseNS(t *testing.T) {
	for link, ok := range map[string]bool{"net:[1]": true, "net:[]": false, "mnt:[1]": false, "net:[1": false, "net:1]": false, "net:[-1]": false, "": false} {
		_, err := parseNS(link)
		require.Equal(t, ok, err == nil, link)
	}
}

func TestOpenFilesAndSockets(t *testing.T) {
	pid := os.Getpid()
	size, walk := system(t), system(t)
	walk.fdSize = false
	if !size.fdSize {
		t.Log("the size of fd is not its number of entries on this kernel")
	}
	count := func() (bySize, byWalk, sockets uint64) {
		bySize, err := size.OpenFiles(pid)
		require.NoError(t, err)
		byWalk, err = walk.OpenFiles(pid)
		require.NoError(t, err)
		sockets, err = size.Sockets(pid)
		require.NoError(t, err)
		return bySize, byWalk, sockets
	}
	size0, walk0, sockets0 := count()
	var fds [2]int
	for range 300 { // more than one batch
		var err error
		fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	}
	size1, walk1, sockets1 := count()
	require.Equal(t, size0+600, size1)
	require.Equal(t, walk0+600, walk1)
	require.Equal(t, sockets0+600, sockets1)

	walk.maxEntries = 512
	n, err := walk.OpenFiles(pid)
	require.ErrorIs(t, err, ErrTooMany)
	require.EqualValues(t, 512, n)
	require.ErrorContains(t, err, fmt.Sprintf("/proc/%d/fd", pid))
}

func TestFixtureDirectoriesAreCounted(t *testing.T) {
	f := fixture(t, 7, map[string]string{"fd/0": "", "fd/1": "", "fd/2": ""})
	require.False(t, f.fdSize, "its size means something else on a file system that is not proc")
	n, err := f.OpenFiles(7)
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
}

// TestAgainstProcfs compares with the library that reads the same files for
// node_exporter.
func TestAgainstProcfs(t *testing.T) {
	f, c := system(t), child(t, false)
	pid := c.Process.Pid
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 77, Max: 100}, nil))
	peer, err := procfs.NewProc(pid)
	require.NoError(t, err)

	limits, err := peer.Limits()
	require.NoError(t, err)
	limit, err := f.SoftLimitOpenFiles(pid)
	require.NoError(t, err)
	require.Equal(t, limits.OpenFiles, limit)
	require.EqualValues(t, 77, limit)

	stat, err := peer.Stat()
	require.NoError(t, err)
	threads, err := f.Threads(pid)
	require.NoError(t, err)
	require.EqualValues(t, stat.NumThreads, threads)

	require.Eventually(t, func() bool { // until it waits for input
		want, err := peer.Schedstat()
		require.NoError(t, err)
		got, err := f.SchedStat(pid)
		require.NoError(t, err)
		return got.Run == want.RunningNanoseconds && got.Wait == want.WaitingNanoseconds && got.Periods == want.RunTimeslices && got.Run > 0
	}, 30*time.Second, time.Millisecond)
}

func TestThreadsOfOddCommands(t *testing.T) {
	const rest = " S 1 7 7 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 42 0 12345"
	for _, command := range []string{"x", "a b", ") R 1 (", "new\nline", ""} {
		n, err := parseThreads([]byte("7 (" + command + ")" + rest))
		require.NoError(t, err)
		require.EqualValues(t, 42, n, command)
	}
}

func TestSoftLimit(t *testing.T) {
	for text, want := range map[string]uint64{
		"Max open files            1024                 524288               files     \n":       1024,
		"Max open files            unlimited            unlimited            files     \n":       Unlimited,
		"Limit  Soft Limit  Hard Limit  Units\nMax open files            5    6    files\nx y\n": 5,
	} {
		got, err := fixture(t, 7, map[string]string{"limits": text}).SoftLimitOpenFiles(7)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestSocketStates(t *testing.T) {
	f := fixture(t, 7, map[string]string{
		"net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 552 1 0 100 0 0 10 0\n" +
			"   1: 0100007F:07E8 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 553 1 0 100 0 0 10 0\n" +
			"   2: 0100007F:07E8 0100007F:0002 0B 00000000:00000000 00:00000000 00000000     0        0 553 1 0 100 0 0 10 0\n",
		"net/udp": "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
			"  12: 0100007F:0035 00000000:0000 07 00000001:00000010 00:00000000 00000000   101        0 2112 2 0000000000000000 3\n" +
			"  13: 0100007F:0036 00000000:0000 01 00000002:00000020 00:00000000 00000000   101        0 2113 2 0000000000000000 4 \n",
	})
	tcp, err := f.TCPStates(7, false)
	require.NoError(t, err)
	require.Equal(t, TCPStates{TCPEstablished: 1, TCPListen: 1, TCPClosing: 1}, tcp)
	udp, err := f.UDPStates(7, false)
	require.NoError(t, err)
	require.Equal(t, UDPStates{Listen: 2, TxQueued: 3, RxQueued: 0x30, Dropped: 7}, udp)

	f.maxEntries = 2
	tcp, err = f.TCPStates(7, false)
	require.ErrorIs(t, err, ErrTooMany)
	require.Equal(t, TCPStates{TCPEstablished: 1, TCPListen: 1}, tcp)
}

func TestTCPStateNames(t *testing.T) {
	var names []string
	for s := TCPEstablished; s <= TCPClosing; s++ {
		names = append(names, s.String())
	}
	require.Equal(t, []string{
		"established", "synsent", "synrecv", "finwait1", "finwait2", "timewait", "close", "closewait", "lastack", "listen", "closing",
	}, names)
	require.Equal(t, "state0", TCPState(0).String())
	require.Equal(t, "state12", (TCPClosing + 1).String())
}

// TestRealSockets receives nothing of what was sent, in a network namespace
// where nobody else opens sockets: that of this thread only.
func TestRealSockets(t *testing.T) {
	f := system(t)
	before, err := f.TCPStates(os.Getpid(), false)
	require.NoError(t, err)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	u, err := lc.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer u.Close()
	_, err = u.WriteTo(make([]byte, 1000), u.LocalAddr())
	require.NoError(t, err)

	after, err := f.TCPStates(os.Getpid(), false)
	require.NoError(t, err)
	require.Positive(t, after[TCPListen])
	require.GreaterOrEqual(t, after[TCPListen]+2, before[TCPListen], "others may close some meanwhile")
	udp, err := f.UDPStates(os.Getpid(), false)
	require.NoError(t, err)
	require.Positive(t, udp.Listen)
	require.GreaterOrEqual(t, udp.RxQueued, uint64(1000), "received and not read yet")
	_, err = f.TCPStates(os.Getpid(), true)
	if err != nil { // no IPv6
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

func TestUpperDir(t *testing.T) {
	const overlay = "1 0 0:39 / / rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/lib/x/1/fs,workdir=/w\n"
	for text, want := range map[string]string{
		overlay: "/var/lib/x/1/fs",
		"1 0 0:39 / / rw master:1 shared:2 - overlay overlay rw,upperdir=/a\\040b\\134\\054c\\134\\072d,x\n": "/a b,c:d",
		overlay + "2 1 0:40 / /data rw - overlay overlay rw,upperdir=/other\n":                               "/var/lib/x/1/fs",
		overlay + "2 1 254:0 / / rw - ext4 /dev/vda rw\n":                                                    "",
		"1 0 0:39 / / ro - overlay overlay ro,lowerdir=/l1:/l2\n":                                            "",
		"1 0 254:0 / / rw - ext4 /dev/vda rw\n":                                                              "",
		"":                                                                                                   "",
	} {
		got, err := fixture(t, 7, map[string]string{"mountinfo": text, "stat": "7 (x) S 1"}).UpperDir(7)
		require.Equal(t, want, got)
		if want == "" {
			require.ErrorIs(t, err, ErrNoUpperDir)
			require.ErrorContains(t, err, "7/mountinfo")
		} else {
			require.NoError(t, err)
		}
	}
}

// TestRealUpperDir has a process whose root is an overlay, as a container's.
func TestRealUpperDir(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"lower", "up,per dir", "work", "root"} {
		require.NoError(t, os.Mkdir(at(name), 0o755))
	}
	script := `mount -t tmpfs none "$0/work" && mkdir "$0/work/u,p x" "$0/work/w" &&
mount -t overlay overlay -o "lowerdir=$0/lower,upperdir=$0/work/u\,p x,workdir=$0/work/w" "$0/root" &&
mkdir "$0/root/old" && mount -t proc proc "$0/lower" 2>/dev/null; cd "$0/root" && pivot_root . old && read line`
	c := exec.Command("/bin/sh", "-c", script, dir)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	_, err := c.StdinPipe()
	require.NoError(t, err)
	if err := c.Start(); err != nil {
		t.Skipf("a mount namespace needs root: %v", err)
	}
	defer end(c)
	f, want, got := system(t), at("work/u,p x"), ""
	for deadline := time.Now().Add(30 * time.Second); got != want; time.Sleep(time.Millisecond) {
		got, err = f.UpperDir(c.Process.Pid)
		if time.Now().After(deadline) || f.ended(c.Process.Pid) {
			t.Fatalf("upperdir %q, want %q: %v", got, want, err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 552 1 0 100 0 0 10 0"))
	f.Add([]byte("  12: 0100007F:0035 00000000:0000 07 00000001:00000010 00:00000000 00000000   101        0 2112 2 0000000000000000 3"))
	f.Add([]byte("95521 62994 2"))
	f.Add([]byte("7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 42 0 12345"))
	f.Add([]byte("           1024                 524288               files"))
	f.Add([]byte("rw,lowerdir=low,upperdir=up\\134\\054x\\040y,workdir=wk"))
	f.Add([]byte("net:[4026531840]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tcp TCPStates
		if err := tcp.add(b); (err == nil) != (tcp != TCPStates{}) {
			t.Fatalf("counted %v with error %v", tcp, err)
		}
		var udp UDPStates
		if err := udp.add(b); (err == nil) != (udp.Listen == 1) {
			t.Fatalf("counted %v with error %v", udp, err)
		}
		if v, err := parseSchedStat(b); err != nil && v != (SchedStat{}) {
			t.Fatalf("%v with error %v", v, err)
		}
		if ino, err := parseNS(string(b)); err == nil && string(b) != fmt.Sprintf("net:[%d]", ino) && b[5] != '0' {
			t.Fatalf("%d from %q", ino, b)
		}
		if v, rest, ok := number(b); ok {
			text := strings.TrimLeft(string(b[:len(b)-len(rest)]), " \t")
			if want, err := strconv.ParseUint(text, 10, 64); err != nil || want != v {
				t.Fatalf("%d from %q: %v", v, text, err)
			}
		}
		_, _ = parseThreads(b)
		_, _ = parseSoftLimit(b)
		if upper := upperDir(string(b)); len(upper) > len(b) {
			t.Fatalf("%q from %q", upper, b)
		}
	})
}
