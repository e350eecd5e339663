package demo

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
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
	goleak.VerifyTestMain(m)
}

const cgroupRoot = "/sys/fs/cgroup"

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
	o, log := testOptions(t, 200)
	_, stop := start(t, o)
	eventually(t, "a second run after the kernel's kill", func() bool { return logs(t, o, "cart-*")["1.log"] != "" })
	require.Contains(t, log.String(), "reason=OOMKilled")
	first := logs(t, o, "cart-*")["0.log"]
	require.Contains(t, first, "cache grows, nothing is evicted")
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
