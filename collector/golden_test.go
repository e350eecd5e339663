package collector

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/collector/disk"
	"github.com/binnacle-obs/binnacle/collector/proc"
)

// recorded is a cgroup of testdata/tree-*.json: what was read of a real kernel.
type recorded struct {
	ID    string
	Kind  cgroup.Kind
	Stats cgroup.Stats
}

// TestGoldenExposition compares /metrics/cadvisor for recorded trees.
func TestGoldenExposition(t *testing.T) {
	for _, c := range []struct {
		name    string
		version cgroup.Version
	}{{"v1", cgroup.Hybrid}, {"v2", cgroup.V2}} {
		t.Run(c.name, func(t *testing.T) {
			r := goldenRig(t, c.version)
			for _, g := range readTree(t, "testdata/tree-"+c.name+".json") {
				r.add(g)
			}
			r.tick()
			r.tick()
			var got bytes.Buffer
			all, err := r.Cadvisor().Gather()
			require.NoError(t, err)
			for _, mf := range all {
				_, err := expfmt.MetricFamilyToText(&got, mf)
				require.NoError(t, err)
			}
			file := filepath.Join("testdata", "exposition-"+c.name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			requireSameLines(t, string(want), got.String())
		})
	}
}

// requireSameLines shows the first difference only: the files are long.
func requireSameLines(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("line %d\nwant %s\ngot  %s\nrun go test ./collector -update and read the difference", i+1, w[i], g[i])
		}
	}
	require.Len(t, g, len(w), "lines")
}

// goldenRig has a machine of fixed files.
func goldenRig(t *testing.T, v cgroup.Version) *rig {
	r := newRig(t, func(o *Options) {
		o.ProcRoot, o.SysRoot, o.RootFS = "testdata/host/proc", "testdata/host/sys", "testdata/host"
		o.OptIn = OptInGroups()
	})
	r.version = v
	r.procs.netns[99], r.procs.netns[100] = 7, 7
	r.procs.devs[99] = &fakeNetDev{all: []proc.Interface{{Name: "eth0", RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4, TxBytes: 5, TxPackets: 6, TxErrors: 7, TxDropped: 8}}}
	r.procs.devs[1] = &fakeNetDev{all: []proc.Interface{{Name: "ens3", RxBytes: 10, TxBytes: 20}}}
	r.procs.upper[100] = "/var/lib/containerd/1/fs"
	r.disks.used = 12288
	r.disks.all = []disk.Filesystem{{Device: "/dev/vda1", MountPoint: "/", Size: 1 << 30, Used: 1 << 20, Inodes: 1000, InodesFree: 900}}
	return r
}

func readTree(t *testing.T, file string) (all []*fakeGroup) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var tree []recorded
	require.NoError(t, json.Unmarshal(text, &tree))
	for _, rec := range tree {
		g := &fakeGroup{id: rec.ID, created: born, stats: rec.Stats, identity: cgroup.Identity{Kind: rec.Kind}}
		base := filepath.Base(rec.ID)
		switch rec.Kind {
		case cgroup.KindPod:
			g.identity.PodUID = podUID
		case cgroup.KindContainer:
			g.identity.PodUID, g.identity.ContainerID = podUID, base
		}
		if first := rec.Stats.Procs.First; first != 0 {
			g.pids = []int{first}
		}
		all = append(all, g)
	}
	return all
}
