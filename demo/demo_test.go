package demo

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The test binary is the program of the containers as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == Command {
		if err := RunWorkload(context.Background(), os.Args[2], os.Args[3], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("BINNACLE_DEMO_PARENT"); dir != "" {
		exe, _ := os.Executable()
		d, err := New(Options{Dir: dir, CgroupRoot: cgroupRoot, Exe: exe, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = d.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const cgroupRoot = "/sys/fs/cgroup"

// requireCgroups skips a test where groups cannot be made.
func requireCgroups(t *testing.T) {
	t.Helper()
	g, err := openGroups(cgroupRoot, "binnacle-demo-probe")
	if err != nil {
		t.Skipf("needs root and writable cgroups: %v", err)
	}
	require.NoError(t, g.remove())
}

// messages collects what a logger is told.
type messages struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (m *messages) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.Write(b)
}

func (m *messages) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.String()
}

func testOptions(t *testing.T, speed float64) (Options, *messages) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	log := &messages{}
	return Options{
		Dir: t.TempDir(), CgroupRoot: cgroupRoot, Exe: exe, speed: speed,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, log
}

// start runs a demo and returns a function that stops it.
func start(t *testing.T, o Options) (d *Demo, stop func()) {
	t.Helper()
	d, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return d, stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 10*time.Millisecond, what)
}

// logs returns the text of all log files of a workload by restart.
func logs(t *testing.T, o Options, pod string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(PodLogsRoot(o.Dir), "demo_"+pod+"_*", "*", "*"))
	require.NoError(t, err)
	out := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
			continue
		}
		out[filepath.Base(name)] = string(text)
	}
	return out
}

// groupDirs returns the folders of the demo's cgroups of containers.
func groupDirs(t *testing.T, d *Demo) []string {
	t.Helper()
	var out []string
	for _, root := range d.groups.dirs {
		found, err := filepath.Glob(filepath.Join(root, d.groups.name, "kubepods/burstable/pod*/*"))
		require.NoError(t, err)
		for _, dir := range found {
			if regexp.MustCompile(`/[0-9a-f]{64}$`).MatchString(dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

var criLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z (stdout|stderr) F .*$`)

func TestLeakIsKilledAndStartedAgain(t *testing.T) {
	requireCgroups(t)
	o, log := testOptions(t, 200)
	_, stop := start(t, o)
	eventually(t, "a second run after the kernel's kill", func() bool { return logs(t, o, "cart-*")["1.log"] != "" })
	require.Contains(t, log.String(), "reason=OOMKilled")
	first := logs(t, o, "cart-*")["0.log"]
	require.Contains(t, first, "session cached")
	require.NotContains(t, first, "cache_mib=96", "the limit of the cgroup came first")
	eventually(t, "old runs are deleted", func() bool {
		files := logs(t, o, "cart-*")
		return files["2.log"] != "" && files["0.log"] == "" && len(files) == keptRuns
	})
	stop()
	for name, text := range logs(t, o, "*") {
		scanner := bufio.NewScanner(strings.NewReader(text))
		for scanner.Scan() {
			require.Regexp(t, criLine, scanner.Text(), name)
		}
	}
}

func TestGroupsAreLaidOutAsTheKubeletDoes(t *testing.T) {
	requireCgroups(t)
	o, _ := testOptions(t, 1)
	d, stop := start(t, o)
	eventually(t, "a group for every container in every hierarchy", func() bool {
		return len(groupDirs(t, d)) == len(workloads)*len(d.groups.dirs)
	})
	shape := regexp.MustCompile(`/binnacle-demo-[0-9a-f]{8}/kubepods/burstable/pod[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}/[0-9a-f]{64}$`)
	pods := map[string]bool{}
	eventually(t, "a process in every group", func() bool {
		for _, dir := range groupDirs(t, d) {
			require.Regexp(t, shape, dir)
			pods[regexp.MustCompile(`pod([-0-9a-f]+)/`).FindStringSubmatch(dir)[1]] = true
			text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			require.NoError(t, err)
			if len(strings.Fields(string(text))) == 0 {
				return false
			}
		}
		return true
	})
	require.Len(t, pods, len(workloads))
	for uid := range pods {
		folders, err := filepath.Glob(filepath.Join(PodLogsRoot(o.Dir), namespace+"_*_"+uid))
		require.NoError(t, err)
		require.Len(t, folders, 1, "the folder of the logs names the same pod")
	}
	for _, dir := range groupDirs(t, d) {
		for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				require.Contains(t, []string{fmt.Sprint(leakLimit), fmt.Sprint(128 << 20)}, strings.TrimSpace(string(text)))
			}
		}
	}
	stop()
	require.Empty(t, leftOver(t, d))
	d, stop = start(t, o)
	defer stop()
	eventually(t, "the same pods again", func() bool { return len(groupDirs(t, d)) > 0 })
	for _, dir := range groupDirs(t, d) {
		require.True(t, pods[regexp.MustCompile(`pod([-0-9a-f]+)/`).FindStringSubmatch(dir)[1]], dir)
	}
}

// leftOver returns the groups of a demo that exist.
func leftOver(t *testing.T, d *Demo) []string {
	t.Helper()
	var out []string
	for _, root := range d.groups.dirs {
		found, err := filepath.Glob(filepath.Join(root, d.groups.name))
		require.NoError(t, err)
		out = append(out, found...)
	}
	return out
}

// A parent that is killed leaves no process; its groups go with the next start.
func TestKilledParent(t *testing.T) {
	requireCgroups(t)
	o, _ := testOptions(t, 1)
	parent := exec.Command(o.Exe)
	parent.Env = append(os.Environ(), "BINNACLE_DEMO_PARENT="+o.Dir)
	require.NoError(t, parent.Start())
	t.Cleanup(func() { _ = parent.Process.Kill() }) // if the test fails before
	probe := &Demo{opts: o}
	groups := &groups{name: "binnacle-demo-" + probe.hash("")[:8]}
	require.NoError(t, groups.findRoots(cgroupRoot))
	probe.groups = groups
	eventually(t, "processes in the groups", func() bool { return len(processes(t, probe)) == len(workloads) })
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait() // it was killed
	eventually(t, "the kernel kills the workloads", func() bool { return len(processes(t, probe)) == 0 })
	require.NotEmpty(t, leftOver(t, probe))

	_, stop := start(t, o)
	eventually(t, "new runs", func() bool {
		n := 0
		for name := range logs(t, o, "*") {
			if name == "1.log" {
				n++
			}
		}
		return n > 0
	})
	stop()
	require.Empty(t, leftOver(t, probe))
}

// processes lists those in the groups of a demo.
func processes(t *testing.T, d *Demo) []int {
	t.Helper()
	seen := map[int]bool{}
	for _, dir := range groupDirs(t, d) {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // it may go meanwhile
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			seen[pid] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

func TestWithoutCgroups(t *testing.T) {
	for name, root := range map[string]string{"not given": "", "not mounted": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			o, log := testOptions(t, 1)
			o.CgroupRoot = root
			_, stop := start(t, o)
			eventually(t, "all workloads log", func() bool {
				files := 0
				for _, text := range logs(t, o, "*") {
					if strings.Contains(text, "ready to serve") {
						files++
					}
				}
				return files > 0
			})
			stop()
			require.Equal(t, 1, strings.Count(log.String(), "runs without cgroups"), log)
			entries, err := os.ReadDir(root)
			if root != "" {
				require.NoError(t, err)
				require.Empty(t, entries)
			}
		})
	}
}

// Without a cgroup the leak ends itself where the limit would be.
func TestLeakWithoutCgroups(t *testing.T) {
	o, log := testOptions(t, 500)
	o.CgroupRoot = ""
	_, stop := start(t, o)
	eventually(t, "a second run", func() bool { return logs(t, o, "cart-*")["1.log"] != "" })
	stop()
	require.Contains(t, log.String(), "signal: killed")
	require.Contains(t, logs(t, o, "cart-*")["0.log"], "cache_mib=96")
}

func TestMissingProgram(t *testing.T) {
	requireCgroups(t)
	o, _ := testOptions(t, 1)
	o.Exe = filepath.Join(t.TempDir(), "none")
	d, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.ErrorIs(t, d.Run(ctx), fs.ErrNotExist)
	require.Empty(t, leftOver(t, d))
}
