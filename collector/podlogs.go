package collector

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

// podLogs reads names from the log folders of pods:
// ROOT/NAMESPACE_POD_UID/CONTAINER/RESTART.log. The names say which containers
// a pod has, not which cgroup is which: that follows from the time at which
// the log and the cgroup were made, when it is unambiguous.
type podLogs struct {
	root string
	// dirs are the folder names by pod uid.
	dirs map[string]string
	// fresh is false when dirs may be out of date.
	fresh bool
}

// maxPods bounds the folders remembered: a hundred times the kubelet's default of pods.
const maxPods = 11_000

// refresh lists the root if it may have changed: once after each call of expire.
func (p *podLogs) refresh() {
	if p.fresh {
		return
	}
	p.fresh = true
	p.dirs = make(map[string]string)
	entries, err := os.ReadDir(p.root)
	if err != nil {
		return // a machine without Kubernetes
	}
	for _, e := range entries[:min(len(entries), maxPods)] {
		if i := strings.LastIndexByte(e.Name(), '_'); i > 0 {
			p.dirs[e.Name()[i+1:]] = e.Name()
		}
	}
}

// expire makes the next question list the root again.
func (p *podLogs) expire() { p.fresh = false }

// pod returns the namespace and the name of a pod. Neither can have a "_".
func (p *podLogs) pod(uid string) Names {
	p.refresh()
	parts := strings.Split(p.dirs[uid], "_")
	if uid == "" || len(parts) != 3 {
		return Names{}
	}
	return Names{Namespace: parts[0], Pod: parts[1]}
}

// dir returns the log folder of a pod, "" when there is none.
func (p *podLogs) dir(uid string) string {
	p.refresh()
	if uid == "" || p.dirs[uid] == "" {
		return ""
	}
	return filepath.Join(p.root, p.dirs[uid])
}

// logFile is the newest log of a container of a pod.
type logFile struct {
	container string
	// created is zero when the file system does not tell.
	created time.Time
}

// logs lists the containers of a pod that have logs.
func (p *podLogs) logs(uid string) []logFile {
	dir := p.dir(uid)
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the pod is being removed
	}
	var all []logFile
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, logFile{container: e.Name(), created: newestLog(filepath.Join(dir, e.Name()))})
		}
	}
	return all
}

// newestLog returns when the log with the highest restart number was made.
func newestLog(dir string) time.Time {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return time.Time{}
	}
	newest := -1
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".log")); err == nil {
			newest = max(newest, n)
		}
	}
	if newest < 0 {
		return time.Time{}
	}
	return birth(filepath.Join(dir, strconv.Itoa(newest)+".log"))
}

// birth returns when a file was made, zero if the file system does not know.
func birth(path string) time.Time {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// containerName finds the name of a container among the logs of its pod; ""
// when there is more than one answer.
func (p *podLogs) containerName(ct *container, pod *pod) string {
	logs := p.logs(ct.id.PodUID)
	var open []*container
	for _, m := range pod.members {
		switch {
		case m.sandbox || m.final:
		case m.names.Container != "":
			logs = slices.DeleteFunc(logs, func(l logFile) bool { return l.container == m.names.Container })
		default:
			open = append(open, m)
		}
	}
	created := make([]time.Time, len(open))
	at := -1
	for i, m := range open {
		created[i] = m.group.CreatedAt()
		if m == ct {
			at = i
		}
	}
	if at < 0 {
		return ""
	}
	return matchLogs(created, logs)[at]
}

const (
	// sameStart is how far apart a log and a cgroup of one start may be made
	// when every container has a log: both happen while the runtime starts it.
	sameStart = 10 * time.Second
	// alone is the same when only closeness decides.
	alone = 2 * time.Second
)

// matchLogs returns the container names for cgroups made at these times, ""
// where it is not certain.
func matchLogs(created []time.Time, logs []logFile) []string {
	names := make([]string, len(created))
	if len(created) == 1 && len(logs) == 1 {
		names[0] = logs[0].container
		return names
	}
	if len(created) == len(logs) && matchOrder(names, created, logs) {
		return names
	}
	for i, at := range created {
		l := onlyNear(at, logs)
		if l >= 0 && onlyNearTime(logs[l].created, created) == i {
			names[i] = logs[l].container
		}
	}
	return names
}

// matchOrder pairs both in the order of time. It fails when two have the same
// time or a pair is too far apart.
func matchOrder(names []string, created []time.Time, logs []logFile) bool {
	order := make([]int, len(created))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return created[a].Compare(created[b]) })
	sorted := slices.Clone(logs)
	slices.SortFunc(sorted, func(a, b logFile) int { return a.created.Compare(b.created) })
	for i := range order {
		at, l := created[order[i]], sorted[i]
		if l.created.IsZero() || at.IsZero() || at.Sub(l.created).Abs() > sameStart {
			return false
		}
		if i > 0 && (!created[order[i-1]].Before(at) || !sorted[i-1].created.Before(l.created)) {
			return false
		}
	}
	for i := range order {
		names[order[i]] = sorted[i].container
	}
	return true
}

// onlyNear returns the one log made close to at, or -1.
func onlyNear(at time.Time, logs []logFile) int {
	times := make([]time.Time, len(logs))
	for i := range logs {
		times[i] = logs[i].created
	}
	return onlyNearTime(at, times)
}

func onlyNearTime(at time.Time, times []time.Time) int {
	found := -1
	for i, t := range times {
		if at.IsZero() || t.IsZero() || t.Sub(at).Abs() > alone {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// isPause tells whether the only process of a container is the program that
// does nothing but hold a pod's namespaces.
func (c *Collector) isPause(ct *container) bool {
	if ct.id.Kind != cgroup.KindContainer || ct.firstPid == 0 {
		return false
	}
	comm, err := os.ReadFile(filepath.Join(c.opts.ProcRoot, strconv.Itoa(ct.firstPid), "comm"))
	return err == nil && strings.TrimSpace(string(comm)) == "pause"
}
