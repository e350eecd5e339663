package cgroup

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// benchGroups is how many containers the project's budget is about.
const benchGroups = 200

// realGroups makes groups with a process each, or skips.
func realGroups(b testing.TB, n int) []*Group {
	b.Helper()
	tree := openReal(b, Options{})
	parent := makeGroup(b, tree, uniqueID())
	if tree.Version() == V2 {
		// Where this is refused, the groups have fewer files.
		_ = os.WriteFile(tree.layout.hiers[0].path(parent)+"/cgroup.subtree_control", []byte("+cpu +memory +io +pids +hugetlb"), 0)
	}
	var made []string
	for i := range n {
		made = append(made, makeGroup(b, tree, fmt.Sprintf("%s/%03d", parent, i)))
	}
	for _, id := range made { // after the groups, so that they end before them
		join(b, tree, id, startSleeper(b).Process.Pid)
	}
	tree.loop.walk()
	var groups []*Group
	for _, g := range tree.Groups(nil) {
		if strings.HasPrefix(g.ID(), parent+"/") {
			g.found = time.Time{} // no longer young
			groups = append(groups, g)
		}
	}
	require.Len(b, groups, n)
	var s Stats
	for range 2 { // past the readings that open files
		for _, g := range groups {
			require.NoError(b, g.Read(&s, SetDefault))
		}
	}
	return groups
}

// reportCPU reports the CPU time of an operation, which other load on the
// machine disturbs less than the wall clock.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var r unix.Rusage
		require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
		return r.Utime.Nano() + r.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkFloorPread reads the files that BenchmarkReadDefault reads, from
// kept descriptors and without a look at the contents; cgroup.procs of v1 is
// opened anew, as it has to be. One operation is one group.
func BenchmarkFloorPread(b *testing.B) {
	groups := realGroups(b, benchGroups)
	type open struct {
		fd   int
		path string
	}
	var files [][]open
	for _, g := range groups {
		var list []open
		for _, p := range g.Files(SetDefault) {
			o := open{path: p, fd: -1}
			if !strings.HasSuffix(p, procsFile) || g.tree.Version() == V2 {
				fd, err := unix.Open(p, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				require.NoError(b, err)
				b.Cleanup(func() { _ = unix.Close(fd) })
				o.fd = fd
			}
			list = append(list, o)
		}
		files = append(files, list)
	}
	b.Logf("%d files: %v", len(files[0]), groups[0].Files(SetDefault))
	buf := make([]byte, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for i := range b.N {
		for _, f := range files[i%len(files)] {
			fd := f.fd
			if fd < 0 {
				var err error
				if fd, err = unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := unix.Pread(fd, buf, 0); err != nil {
				b.Fatal(err)
			}
			if f.fd < 0 {
				_ = unix.Close(fd)
			}
		}
	}
}

// BenchmarkReadDefault reads and parses the default sets. One operation is
// one group.
func BenchmarkReadDefault(b *testing.B) {
	groups := realGroups(b, benchGroups)
	var s Stats
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for i := range b.N {
		if err := groups[i%len(groups)].Read(&s, SetDefault); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseMemoryStat(b *testing.B) {
	for _, f := range []struct {
		name  string
		text  []byte
		parse func(*parser, []byte, *Stats) bool
	}{
		{"v2", []byte(v2Group["memory.stat"]), parseMemoryStatV2},
	} {
		b.Run(f.name, func(b *testing.B) {
			p := newParser()
			var s Stats
			s.Reset()
			b.ReportAllocs()
			for range b.N {
				f.parse(p, f.text, &s)
			}
		})
	}
}

// A reading does not allocate, neither at the bound of descriptors nor when
// configuration and absent files are looked at again.
func TestReadDoesNotAllocate(t *testing.T) {
	for name, bound := range map[string]int{"kept": 0, "unkept": 1} {
		t.Run(name, func(t *testing.T) {
			for _, root := range []string{v2Tree(t, "/a"), "testdata/v1"} {
				tree := openTree(t, Options{Root: root, MaxDescriptors: bound})
				groups := tree.Groups(nil)
				g := groups[len(groups)-1]
				var s Stats
				require.NoError(t, g.Read(&s, everySet))
				n := 0
				require.Zero(t, testing.AllocsPerRun(100, func() {
					n++
					g.stale.Store(n%2 == 0) // configuration
					if n%3 == 0 {
						g.probeAt = time.Time{} // absent files
					}
					if err := g.Read(&s, everySet); err != nil {
						t.Fatal(err)
					}
				}))
			}
		})
	}
}

// What Files lists is what a reading reads.
func TestFiles(t *testing.T) {
	root := v2Tree(t, "/a")
	tree := openTree(t, Options{Root: root})
	got := mustGet(t, tree, "/a").Files(SetCPU | SetPids | SetPidsPeak | SetHugetlb)
	slices.Sort(got)
	require.Equal(t, []string{
		root + "/a/cpu.stat", root + "/a/hugetlb.2MB.current", root + "/a/hugetlb.2MB.rsvd.current",
		root + "/a/pids.current", root + "/a/pids.events", root + "/a/pids.peak",
	}, got)
	require.Equal(t, []string{root + "/cgroup.procs"}, mustGet(t, tree, "/").Files(SetProcs))
}
