package cgroup

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRealLifecycle(t *testing.T) { realLayouts(t, testLifecycle) }

func testLifecycle(t *testing.T, root string) {
	tree := openReal(t, Options{Root: root, RescanInterval: time.Hour})
	rec := newRecorder()
	run(t, tree, rec)
	id := makeGroup(t, tree, uniqueID())
	eventually(t, "added", func() bool { a, _, _ := rec.counts(id); return a == 1 })

	c := startSleeper(t)
	join(t, tree, id, c.Process.Pid)
	g := mustGet(t, tree, id)
	var s Stats
	eventually(t, "the process", func() bool {
		require.NoError(t, g.Read(&s, SetDefault))
		return s.Procs.Count == 1
	})
	require.Equal(t, c.Process.Pid, s.Procs.First)
	pids, err := g.Pids(nil)
	require.NoError(t, err)
	require.Equal(t, []int{c.Process.Pid}, pids)
	// A descriptor kept on v1's cgroup.procs would show the process forever.
	stop(c)
	eventually(t, "emptied", func() bool { _, e, _ := rec.counts(id); return e == 1 })
	require.NoError(t, g.Read(&s, SetProcs))
	require.Zero(t, s.Procs.Count)

	removeGroup(t, tree, id)
	eventually(t, "removed", func() bool { _, _, r := rec.counts(id); return r == 1 })
	require.ErrorIs(t, g.Read(&s, SetDefault), ErrGone)
	a, _, r := rec.counts(id)
	require.Equal(t, [2]int{1, 1}, [2]int{a, r}, "each told once, though the path exists in several hierarchies")
}

// A group that vanishes under kept descriptors, and one that does before it
// was ever read.
func TestRealVanish(t *testing.T) {
	realLayouts(t, func(t *testing.T, root string) {
		tree := openReal(t, Options{Root: root})
		read, never := makeGroup(t, tree, uniqueID()), makeGroup(t, tree, uniqueID())
		tree.loop.walk()
		var s Stats
		g := mustGet(t, tree, read)
		require.NoError(t, g.Read(&s, SetDefault))
		if h := tree.layout.find(ctrlMemory); h >= 0 && len(tree.layout.hiers) > 1 && !tree.layout.hiers[h].v2 {
			// One hierarchy goes first: what the others have is still read.
			require.NoError(t, os.Remove(tree.layout.hiers[h].path(read)))
			require.ErrorIs(t, g.Read(&s, SetDefault), ErrGone)
			require.Equal(t, SetCPU, s.Read&(SetCPU|SetMemory))
		}
		removeGroup(t, tree, read)
		removeGroup(t, tree, never)
		require.ErrorIs(t, g.Read(&s, SetDefault), ErrGone)
		require.Zero(t, s.Read&^SetSpec)
		require.ErrorIs(t, g.Read(&s, SetDefault), ErrGone, "and from then on")
		require.ErrorIs(t, mustGet(t, tree, never).Read(&s, SetDefault), ErrGone)
		_, err := g.Pids(nil)
		require.ErrorIs(t, err, ErrGone)
		require.Positive(t, tree.Counters().Vanished)
		// Nobody told the tree; a walk finds out.
		tree.loop.rescanAll("test")
		require.Nil(t, tree.get(read))
	})
}

// Values equal what the kernel's files say in an idle group.
func TestRealValues(t *testing.T) {
	tree := openReal(t, Options{})
	if tree.Version() == V2 {
		t.Skip("compares v1 files")
	}
	id := makeGroup(t, tree, uniqueID())
	c := exec.Command("sh", "-c", "echo $$ > "+procsPath(tree, ctrlCPUAcct, id)+"; echo $$ > "+procsPath(tree, ctrlMemory, id)+
		"; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 20000000 /dev/zero | tail >/dev/null")
	require.NoError(t, c.Run())
	tree.loop.walk()
	var s Stats
	require.NoError(t, mustGet(t, tree, id).Read(&s, SetDefault))

	dir := func(c controller) string { return tree.layout.hiers[tree.layout.find(c)].path(id) }
	require.Equal(t, fileNumber(t, dir(ctrlCPUAcct)+"/cpuacct.usage"), s.CPU.Usage)
	require.NotZero(t, s.CPU.Usage)
	require.Equal(t, fileKey(t, dir(ctrlCPUAcct)+"/cpuacct.stat", "user")*10_000_000, s.CPU.User)
	require.Equal(t, fileNumber(t, dir(ctrlMemory)+"/memory.max_usage_in_bytes"), s.Memory.Peak)
	require.Greater(t, s.Memory.Peak, uint64(10_000_000))
	require.Equal(t, fileKey(t, dir(ctrlMemory)+"/memory.stat", "total_pgfault"), s.Memory.PageFaults)
	require.Equal(t, fileKey(t, dir(ctrlMemory)+"/memory.oom_control", "oom_kill"), s.Memory.EventsOOMKill)
	require.Equal(t, uint64(1024), s.Spec.CPUShares)
	require.Equal(t, None, s.Spec.CPUQuota)
	require.Equal(t, None, s.Spec.MemoryLimit)
	require.Equal(t, None, s.Pids.Max)
	require.WithinDuration(t, time.Now(), tree.get(id).CreatedAt(), time.Minute)
}

// Limits that are written while the tree is followed show at the next reading.
func TestRealSpecChange(t *testing.T) {
	tree := openReal(t, Options{RescanInterval: time.Hour})
	if tree.Version() == V2 {
		t.Skip("writes a v1 file")
	}
	run(t, tree, newRecorder())
	id := makeGroup(t, tree, uniqueID())
	eventually(t, "found", func() bool { return tree.get(id) != nil })
	g := mustGet(t, tree, id)
	var s Stats
	for range 3 {
		require.NoError(t, g.Read(&s, SetSpec))
		require.Equal(t, SetSpec, s.Read)
	}
	require.NoError(t, os.WriteFile(tree.layout.hiers[tree.layout.find(ctrlMemory)].path(id)+"/memory.limit_in_bytes", []byte("64M"), 0))
	eventually(t, "the limit", func() bool {
		require.NoError(t, g.Read(&s, SetSpec))
		return s.Spec.MemoryLimit == 64<<20
	})
}

// Containers that live a moment leave their last values.
func TestRealShortLived(t *testing.T) { realLayouts(t, testShortLived) }

func testShortLived(t *testing.T, root string) {
	tree := openReal(t, Options{Root: root, RescanInterval: time.Hour})
	rec := newRecorder()
	run(t, tree, rec)
	const n = 20
	var list []string
	for range n {
		id := makeGroup(t, tree, uniqueID())
		list = append(list, id)
		c := exec.Command("sh", "-c", "read x; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; sleep 0.02")
		in, err := c.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		join(t, tree, id, c.Process.Pid)
		require.NoError(t, in.Close())
		require.NoError(t, c.Wait())
		// A runtime saves the exit code and tells its client before it cleans up.
		time.Sleep(5 * time.Millisecond)
		removeGroup(t, tree, id)
	}
	// Events come in order.
	marker := makeGroup(t, tree, uniqueID())
	eventually(t, "all handled", func() bool { a, _, _ := rec.counts(marker); return a == 1 })
	rec.mu.Lock()
	defer rec.mu.Unlock()
	last := 0
	for _, id := range list {
		if s, ok := rec.last[id]; ok && s.Read&SetCPU != 0 && s.CPU.Usage > 0 {
			last++
		}
	}
	c := tree.Counters()
	t.Logf("%d of %d left their last values; emptied %v, unread %d, missed %d", last, n, c.Emptied, c.RemovedUnread, c.Missed)
	// On a machine under load some may be missed, but then they are counted.
	require.GreaterOrEqual(t, last+int(c.RemovedUnread+c.RemovedUnseen+c.Missed), n)
	require.Greater(t, last, n/2)
}

// A group emptied although another process of it was watched first.
func TestRealManyProcesses(t *testing.T) {
	realLayouts(t, func(t *testing.T, root string) {
		tree := openReal(t, Options{Root: root, RescanInterval: time.Hour})
		rec := newRecorder()
		run(t, tree, rec)
		pod := makeGroup(t, tree, uniqueID())
		id := makeGroup(t, tree, pod+"/inner")
		first, second := startSleeper(t), startSleeper(t)
		join(t, tree, id, first.Process.Pid)
		join(t, tree, id, second.Process.Pid)
		eventually(t, "added", func() bool { a, _, _ := rec.counts(id); return a == 1 })
		stop(first)
		var s Stats
		eventually(t, "one left", func() bool {
			require.NoError(t, mustGet(t, tree, id).Read(&s, SetProcs))
			return s.Procs.Count == 1
		})
		_, e, _ := rec.counts(id)
		require.Zero(t, e)
		stop(second)
		eventually(t, "the inner group", func() bool { _, e, _ := rec.counts(id); return e > 0 })
		eventually(t, "the outer group", func() bool { _, e, _ := rec.counts(pod); return e > 0 })
		// Filled and emptied again.
		_, before, _ := rec.counts(id)
		third := startSleeper(t)
		join(t, tree, id, third.Process.Pid)
		stop(third)
		eventually(t, "again", func() bool { _, e, _ := rec.counts(id); return e > before })
	})
}

// Groups that come and go leave no descriptor, watch or group behind.
func TestRealChurn(t *testing.T) {
	realLayouts(t, func(t *testing.T, root string) {
		tree := openReal(t, Options{Root: root, RescanInterval: time.Hour})
		rec := newRecorder()
		run(t, tree, rec)
		eventually(t, "running", func() bool { a, _, _ := rec.counts("/"); return a == 1 })
		made := make(map[string]bool)
		c := startSleeper(t)
		var s Stats
		for range 4 {
			outer := makeGroup(t, tree, uniqueID())
			var list []string
			for range 50 {
				list = append(list, makeGroup(t, tree, outer+uniqueID()))
			}
			eventually(t, "all found", func() bool { return tree.get(list[49]) != nil })
			for _, id := range list[:5] {
				join(t, tree, id, c.Process.Pid)
			}
			for _, g := range tree.Groups(nil) {
				_ = g.Read(&s, SetDefault) // others' groups may vanish
			}
			for i := range tree.layout.hiers {
				require.NoError(t, os.WriteFile(tree.layout.hiers[i].dir+"/"+procsFile, []byte(strconv.Itoa(c.Process.Pid)), 0))
			}
			for _, id := range append(list, outer) {
				removeGroup(t, tree, id)
				made[id] = true
			}
			eventually(t, "all gone", func() bool {
				return !slices.ContainsFunc(ids(tree.Groups(nil)), func(id string) bool { return made[id] })
			})
		}
		for _, g := range tree.Groups(nil) {
			g.close()
		}
		tree.loop.stop()
		tree.running.Lock()
		defer tree.running.Unlock()
		for p := range tree.loop.in.wds {
			require.False(t, made[p.id], "watch of %s", p.id)
		}
		require.Len(t, tree.loop.in.byWD, len(tree.loop.in.wds))
		require.Equal(t, int64(len(tree.loop.fds)), tree.budget.used.Load())
		for _, g := range tree.loop.fds {
			require.False(t, made[g.id], "descriptor of %s", g.id)
		}
	})
}

func procsPath(tree *Tree, c controller, id string) string {
	return tree.layout.hiers[tree.layout.find(c)].path(id) + "/" + procsFile
}

func fileNumber(t testing.TB, name string) uint64 {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	require.NoError(t, err)
	return v
}

func fileKey(t testing.TB, name, key string) uint64 {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			v, err := strconv.ParseUint(f[1], 10, 64)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no %s in %s", key, name)
	return 0
}
