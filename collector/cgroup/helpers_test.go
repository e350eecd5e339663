package cgroup

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openReal opens this machine's cgroups, or skips the test where groups
// cannot be made.
func openReal(t testing.TB, o Options) *Tree {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make cgroups")
	}
	tree, err := Open(o)
	if err != nil {
		t.Skipf("needs a mounted cgroup file system: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, tree.Close()) })
	probe := makeGroup(t, tree, uniqueID())
	removeGroup(t, tree, probe)
	return tree
}

// realLayouts calls f with this machine's hierarchies shown as v1, v2 and
// hybrid, as far as they are mounted.
func realLayouts(t *testing.T, f func(t *testing.T, root string)) {
	whole := openReal(t, Options{})
	roots := map[string]func(hierarchy) bool{
		"v1":     func(h hierarchy) bool { return !h.v2 },
		"v2":     func(h hierarchy) bool { return h.v2 },
		"hybrid": func(hierarchy) bool { return true },
	}
	for name, pick := range roots {
		root, n := t.TempDir(), 0
		for _, h := range whole.layout.hiers {
			if pick(h) {
				require.NoError(t, os.Symlink(h.dir, filepath.Join(root, filepath.Base(h.dir))))
				n++
			}
		}
		if n > 0 && (name != "hybrid" || whole.Version() == Hybrid) {
			t.Run(name, func(t *testing.T) { f(t, root) })
		}
	}
}

func uniqueID() string { return "/binnacle-test-" + rand.Text()[:12] }

// makeGroup makes a group in every hierarchy of the layout.
func makeGroup(t testing.TB, tree *Tree, id string) string {
	t.Helper()
	for i := range tree.layout.hiers {
		if err := os.Mkdir(tree.layout.hiers[i].path(id), 0o755); err != nil {
			t.Skipf("needs writable cgroups: %v", err)
		}
	}
	t.Cleanup(func() { removeGroup(t, tree, id) })
	return id
}

// removeGroup removes a group as soon as the kernel lets it go.
func removeGroup(t testing.TB, tree *Tree, id string) {
	t.Helper()
	for i := range tree.layout.hiers {
		dir := tree.layout.hiers[i].path(id)
		require.Eventually(t, func() bool {
			err := os.Remove(dir)
			return err == nil || os.IsNotExist(err)
		}, 10*time.Second, time.Millisecond, "removing %s", dir)
	}
}

// join puts a process into a group, in every v1 hierarchy and cgroup2.
func join(t testing.TB, tree *Tree, id string, pid int) {
	t.Helper()
	for i := range tree.layout.hiers {
		h := &tree.layout.hiers[i]
		if h.ctrls&ctrlCpuset != 0 && !h.v2 {
			continue // wants CPUs and memory nodes first
		}
		require.NoError(t, os.WriteFile(h.path(id)+"/"+procsFile, []byte(strconv.Itoa(pid)), 0))
	}
}

// startSleeper starts a process that waits to be killed.
func startSleeper(t testing.TB) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "600")
	require.NoError(t, c.Start())
	t.Cleanup(func() { stop(c) })
	return c
}

// stop kills and reaps a process; it may be called again.
func stop(c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
}

// recorder is a Handler that reads a group's last values when it empties.
type recorder struct {
	mu      sync.Mutex
	added   map[string]int
	emptied map[string]int
	removed map[string]int
	last    map[string]Stats // the reading in the latest Emptied
	onEmpty func(*Group)
}

func newRecorder() *recorder {
	return &recorder{
		added: make(map[string]int), emptied: make(map[string]int), removed: make(map[string]int),
		last: make(map[string]Stats),
	}
}

func (r *recorder) Added(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.added[g.ID()]++
}

func (r *recorder) Emptied(g *Group) {
	var s Stats
	err := g.Read(&s, SetDefault)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emptied[g.ID()]++
	if err == nil {
		r.last[g.ID()] = s
	}
	if r.onEmpty != nil {
		r.onEmpty(g)
	}
}

func (r *recorder) Removed(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed[g.ID()]++
}

func (r *recorder) counts(id string) (added, emptied, removed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.added[id], r.emptied[id], r.removed[id]
}

// run starts Tree.Run and ends it with the test.
func run(t testing.TB, tree *Tree, h Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tree.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// eventually waits for a condition with a limit that only a hang reaches.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 2*time.Millisecond, what)
}

// writeTree writes files, given by path below a new directory.
func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(root, name), text)
	}
	return root
}

func put(t testing.TB, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
}

// openTree opens a written tree.
func openTree(t testing.TB, o Options) *Tree {
	t.Helper()
	if o.ProcRoot == "" {
		o.ProcRoot = t.TempDir() // no mountinfo
	}
	tree, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tree.Close()) })
	return tree
}

// openFDs counts this process's descriptors.
func openFDs(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(e)
}

func ids(groups []*Group) []string {
	out := []string{}
	for _, g := range groups {
		out = append(out, g.ID())
	}
	return out
}

func mustGet(t testing.TB, tree *Tree, id string) *Group {
	t.Helper()
	g := tree.get(id)
	require.NotNil(t, g, fmt.Sprintf("group %s", id))
	return g
}
