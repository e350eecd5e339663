package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

func TestMatchLogs(t *testing.T) {
	at := func(seconds float64) time.Time { return born.Add(time.Duration(seconds * 1e9)) }
	log := func(name string, seconds float64) logFile { return logFile{name, at(seconds)} }
	unknown := func(name string) logFile { return logFile{container: name} }
	for _, c := range []struct {
		name    string
		created []time.Time
		logs    []logFile
		want    string
	}{
		{"one and one, whatever the time", []time.Time{at(0)}, []logFile{unknown("app")}, "app"},
		{"by order", []time.Time{at(1.2), at(0.1)}, []logFile{log("a", 0), log("b", 1)}, "b,a"},
		{"by order within ten seconds only", []time.Time{at(0), at(30)}, []logFile{log("a", 0), log("b", 3)}, "a,"},
		{"same time of two logs", []time.Time{at(0), at(1)}, []logFile{log("a", 0.5), log("b", 0.5)}, ","},
		{"an init container that ended has a log as well", []time.Time{at(60)}, []logFile{log("init", 0), log("app", 60.1)}, "app"},
		{"two logs nearby", []time.Time{at(60)}, []logFile{log("init", 59), log("app", 60.1)}, ""},
		{"two cgroups near one log", []time.Time{at(0), at(1), at(50)}, []logFile{log("a", 0.2), log("b", 50)}, ",,b"},
		{"file system without times", []time.Time{at(0), at(1)}, []logFile{unknown("a"), unknown("b")}, ","},
		{"no logs", []time.Time{at(0)}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(matchLogs(c.created, c.logs), ",")
			require.Equal(t, c.want, got)
		})
	}
}

// podDir makes the log folder of a pod.
func podDir(t *testing.T, root, name string, containers ...string) {
	t.Helper()
	for _, c := range containers {
		dir := filepath.Join(root, name, c)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "0.log"), nil, 0o644))
	}
}

func TestNamesFromLogFolders(t *testing.T) {
	logs, procs := t.TempDir(), t.TempDir()
	podDir(t, logs, "shop_web-0_"+podUID, "app")
	podDir(t, logs, "kube-system_other_00000000-1111-2222-3333-444444444444", "x", "y")
	require.NoError(t, os.Mkdir(filepath.Join(logs, "no-pod"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(procs, "99"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(procs, "99/comm"), []byte("pause\n"), 0o644))
	r := newRig(t, func(o *Options) { o.Identities, o.PodLogsRoot, o.ProcRoot = nil, logs, procs })
	pod := podGroup()
	pod.stats.Read, pod.stats.Memory.Usage = cgroup.SetMemory, 1
	pause, app := containerGroup(pauseID, 99), containerGroup(ctrID, 100)
	r.add(pod)
	r.add(pause)
	r.add(app)
	r.tick()
	all := r.tick()
	require.Len(t, all.find(t, "container_memory_usage_bytes", "id", app.id, "namespace", "shop", "pod", "web-0", "container", "app"), 1)
	require.Len(t, all.find(t, "container_memory_usage_bytes", "id", pause.id, "namespace", "shop", "pod", "web-0", "container", ""), 1)
	require.Len(t, all.find(t, "container_memory_usage_bytes", "id", pod.id, "namespace", "shop", "pod", "web-0", "container", ""), 1)
	require.Equal(t, filepath.Join("/", strings.TrimPrefix(logs, r.opts.RootFS), "shop_web-0_"+podUID, "app"), r.disks.watched["logs"+app.id])
}

func TestNamesOfAPodWhoseFolderComesLate(t *testing.T) {
	logs := t.TempDir()
	r := newRig(t, func(o *Options) { o.Identities, o.PodLogsRoot = nil, logs })
	r.add(podGroup())
	app := containerGroup(ctrID, 100)
	r.add(app)
	require.Len(t, r.tick().find(t, "container_memory_usage_bytes", "name", ctrID, "pod", ""), 1)
	podDir(t, logs, "shop_web-0_"+podUID, "app")
	r.tick()
	require.Len(t, r.tick().find(t, "container_memory_usage_bytes", "name", ctrID, "pod", "web-0", "container", "app"), 1)
}

func TestNamesFromBundles(t *testing.T) {
	containerd := map[string]string{
		"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "app",
		"io.kubernetes.cri.image-name": "registry.local/app:1", "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop",
	}
	want := Names{Namespace: "shop", Pod: "web-0", Container: "app", Image: "registry.local/app:1"}
	require.Equal(t, want, annotatedNames(containerd))
	crio := map[string]string{
		"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "web-0",
		"io.kubernetes.pod.namespace": "shop", "io.kubernetes.cri-o.ImageName": "registry.local/app:1",
	}
	require.Equal(t, want, annotatedNames(crio))
	crio["io.kubernetes.cri-o.ContainerType"], crio["io.kubernetes.container.name"] = "sandbox", "POD"
	require.Equal(t, Names{Namespace: "shop", Pod: "web-0", Image: "registry.local/app:1", Sandbox: true}, annotatedNames(crio))

	run := t.TempDir()
	for _, dir := range []string{
		"containerd/io.containerd.runtime.v2.task/k8s.io/abc", "k3s/containerd/io.containerd.runtime.v2.task/k8s.io/def",
		"containers/storage/overlay-containers/0123/userdata", "containerd/io.containerd.runtime.v2.task/k8s.io/bad",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(run, dir), 0o755))
		text := `{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.sandbox-name":"web-0"}}`
		if strings.HasSuffix(dir, "bad") {
			text = `{"annotations":{"io.kub`
		}
		require.NoError(t, os.WriteFile(filepath.Join(run, dir, "config.json"), []byte(text), 0o644))
	}
	b := newBundles(run)
	for _, id := range []string{"abc", "def", "0123"} {
		require.Equal(t, "web-0", b.names(id).Pod, id)
	}
	require.Zero(t, b.names("bad"))
	require.Zero(t, b.names("none"))
}

func TestGroupBelowAContainerHasNoContainerName(t *testing.T) {
	r := newRig(t, nil)
	g := containerGroup(ctrID, 100)
	g.id += "/init"
	g.identity.Kind, g.identity.ContainerID = cgroup.KindOther, ""
	g.identity.PodUID = "unknown"
	parent := containerGroup(ctrID, 100)
	parent.identity.PodUID = "unknown"
	r.add(parent)
	r.add(g)
	r.tick()
	require.Len(t, r.tick().find(t, "container_memory_usage_bytes", "id", g.id, "container", "", "name", "", "pod", "web-0"), 1)
	h := containerGroup(ctrID, 100)
	h.id, h.identity = "/kubepods/podlost/x/y", cgroup.Identity{Kind: cgroup.KindOther, PodUID: "lost"}
	gone := containerGroup("gone", 100)
	gone.identity.PodUID = "lost"
	r.add(h)
	r.add(gone)
	r.event(event{kind: removed, group: gone, at: r.now})
	require.Equal(t, 1.5, r.tick().value(t, "container_cpu_usage_seconds_total", "id", h.id))
	require.Equal(t, 1.0, testutil.ToFloat64(r.health.gauges["identity"]), "a pod of which only that is left")
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"Node must be the name":       {},
		"interval must be at least":   {Node: "n", Interval: 10 * time.Millisecond},
		`no group "gpu" to opt in to`: {Node: "n", OptIn: []string{"gpu"}},
	} {
		_, err := o.withDefaults()
		require.ErrorContains(t, err, want)
	}
	o, err := Options{Node: "n", Interval: 30 * time.Second}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, o.NodeInterval, "never below Interval")
}
