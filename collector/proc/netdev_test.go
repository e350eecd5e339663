package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const heading = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`

// fixture makes a proc file system of one process.
func fixture(t testing.TB, pid int, files map[string]string) *FS {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, strconv.Itoa(pid), name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	f, err := Open(root)
	require.NoError(t, err)
	return f
}

func system(t testing.TB) *FS {
	t.Helper()
	f, err := Open("/proc")
	require.NoError(t, err)
	return f
}

// child starts a process that waits until the test ends; own makes it a new
// network namespace.
func child(t testing.TB, own bool) *exec.Cmd {
	t.Helper()
	c := exec.Command("cat")
	_, err := c.StdinPipe()
	require.NoError(t, err)
	if own {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	if err := c.Start(); err != nil && own && errors.Is(err, os.ErrPermission) {
		t.Skip("a network namespace needs root")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { end(c) })
	return c
}

func end(c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	_, err := Open("/nonexistent/proc")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "/nonexistent/proc")
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "must be a mounted proc file system")
}

func TestNetDevParses(t *testing.T) {
	f := fixture(t, 7, map[string]string{"net/dev": heading +
		"    lo:    3193      29    1    2    0     0          0         0     3193      29    3    4    0     0       0          0\n" +
		"eth0.100@x:18446744073709551615 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"})
	n, err := f.OpenNetDev(7)
	require.NoError(t, err)
	defer n.Close()
	kept := Interface{Name: "kept"}
	got, err := n.Read([]Interface{kept})
	require.NoError(t, err)
	require.Equal(t, []Interface{
		kept,
		{Name: "lo", RxBytes: 3193, RxPackets: 29, RxErrors: 1, RxDropped: 2, TxBytes: 3193, TxPackets: 29, TxErrors: 3, TxDropped: 4},
		{Name: "eth0.100@x", RxBytes: 1<<64 - 1, RxPackets: 2, RxErrors: 3, RxDropped: 4, TxBytes: 9, TxPackets: 10, TxErrors: 11, TxDropped: 12},
	}, got)
}

func TestNetDevBadText(t *testing.T) {
	for name, text := range map[string]string{
		"no name":       heading + "lo 1 2 3 4 5 6 7 8 9 10 11 12\n",
		"few numbers":   heading + "lo: 1 2 3\n",
		"no number":     heading + "lo: 1 2 3 x 5 6 7 8 9 10 11 12\n",
		"too large":     heading + "lo: 18446744073709551616 2 3 4 5 6 7 8 9 10 11 12\n",
		"negative":      heading + "lo: -1 2 3 4 5 6 7 8 9 10 11 12\n",
		"cut in a line": heading + "lo: 1 2 3 4 5 6 7 8 9 10 11 12\neth0: 1 2 3 4 5 6 7 8 9 10",
	} {
		t.Run(name, func(t *testing.T) {
			f := fixture(t, 7, map[string]string{"net/dev": text})
			n, err := f.OpenNetDev(7)
			require.NoError(t, err)
			defer n.Close()
			dst := []Interface{{Name: "kept"}}
			got, err := n.Read(dst)
			require.ErrorContains(t, err, "7/net/dev")
			require.Equal(t, dst, got)
		})
	}
}

func TestNetDevFollowsChanges(t *testing.T) {
	line := func(name string) string { return name + ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n" }
	var many strings.Builder
	many.WriteString(heading)
	for i := range 500 { // more than the first buffer
		many.WriteString(line(fmt.Sprint("veth", i)))
	}
	f := fixture(t, 7, map[string]string{"net/dev": many.String()})
	n, err := f.OpenNetDev(7)
	require.NoError(t, err)
	defer n.Close()
	got, err := n.Read(nil)
	require.NoError(t, err)
	require.Len(t, got, 500)
	require.Equal(t, "veth499", got[499].Name)
	require.EqualValues(t, 12, got[499].TxDropped)

	require.NoError(t, os.WriteFile(n.path, []byte(heading+line("lo")+line("eth0")), 0o644))
	got, err = n.Read(got[:0])
	require.NoError(t, err)
	require.Equal(t, "lo", got[0].Name)
	require.Equal(t, "eth0", got[1].Name)
	require.Len(t, got, 2)
}

func TestNetDevIsBounded(t *testing.T) {
	f := fixture(t, 7, map[string]string{"net/dev": strings.Repeat("x", netDevMax+1)})
	n, err := f.OpenNetDev(7)
	require.NoError(t, err)
	defer n.Close()
	_, err = n.Read(nil)
	require.ErrorIs(t, err, ErrTooMany)
	require.LessOrEqual(t, cap(n.buf), netDevMax+netDevMax/4)
}

func TestNetDevReadDoesNotAllocate(t *testing.T) {
	n, err := system(t).OpenNetDev(os.Getpid())
	require.NoError(t, err)
	defer n.Close()
	dst, err := n.Read(nil)
	require.NoError(t, err)
	require.NotEmpty(t, dst)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if dst, err = n.Read(dst[:0]); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestNetDevReadsAfterTheProcessEnded(t *testing.T) {
	f, c := system(t), child(t, true)
	host, err := f.HostNetNS()
	require.NoError(t, err)
	own, err := f.NetNS(c.Process.Pid)
	require.NoError(t, err)
	require.NotEqual(t, host, own)

	n, err := f.OpenNetDev(c.Process.Pid)
	require.NoError(t, err)
	end(c)
	got, err := n.Read(nil)
	require.NoError(t, err)
	require.NotEmpty(t, got)
	require.Equal(t, "lo", got[0].Name)
	require.Zero(t, got[0].RxBytes, "not the interfaces of the host")

	_, err = f.OpenNetDev(c.Process.Pid)
	require.ErrorIs(t, err, ErrGone)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	_, err = n.Read(nil)
	require.ErrorIs(t, err, os.ErrClosed)
}

func FuzzNetDev(f *testing.F) {
	f.Add(heading + "    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0\n")
	f.Add(heading + "eth0:1 2 3 4 5 6 7 8 9 10 11 12")
	f.Add("")
	f.Add(":\n::\n|")
	f.Fuzz(func(t *testing.T, text string) {
		var n NetDev
		first, err := n.parse(nil, []byte(text))
		if err != nil {
			return
		}
		again, err := n.parse(nil, []byte(text))
		if err != nil || len(again) != len(first) {
			t.Fatalf("first %v, then %v %v", first, again, err)
		}
		if len(first) > strings.Count(text, ":") {
			t.Fatalf("%d interfaces in %q", len(first), text)
		}
	})
}

// BenchmarkNetDevRead reads and parses; BenchmarkNetDevPread is the floor, the
// system call alone.
func BenchmarkNetDevRead(b *testing.B) {
	n, err := system(b).OpenNetDev(child(b, true).Process.Pid)
	require.NoError(b, err)
	defer n.Close()
	var dst []Interface
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = n.Read(dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNetDevPread(b *testing.B) {
	n, err := system(b).OpenNetDev(child(b, true).Process.Pid)
	require.NoError(b, err)
	defer n.Close()
	for b.Loop() {
		if _, err := unix.Pread(n.fd, n.buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}
