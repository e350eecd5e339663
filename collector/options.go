package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options say what to collect, how often and where the kernel's files are.
// The zero value of a field is its default.
type Options struct {
	// Node is the name of this machine, the value of the labels node and instance. Required.
	Node string
	// Interval between two readings of all cgroups; 5 s by default, at least 1 s.
	Interval time.Duration
	// ProcessInterval is how often the descriptors of every process are
	// counted and disk usage is looked up; 15 s by default, never below Interval.
	ProcessInterval time.Duration
	// NodeInterval is how often node_* and our own metrics are gathered; 15 s
	// by default, never below Interval.
	NodeInterval time.Duration

	// CgroupRoot, ProcRoot and SysRoot are where those file systems of the
	// host are mounted: /sys/fs/cgroup, /proc, /sys.
	CgroupRoot, ProcRoot, SysRoot string
	// RootFS is where the host's root is mounted; "/".
	RootFS string
	// RunRoot has the state of container runtimes; RootFS/run.
	RunRoot string
	// KubeletRoot has the volumes of pods, as the host sees it; /var/lib/kubelet.
	KubeletRoot string
	// PodLogsRoot has the logs of pods; RootFS/var/log/pods.
	PodLogsRoot string
	// MaxDescriptors bounds the descriptors kept open for cgroup files; 0 = by the process's limit.
	MaxDescriptors int

	// OptIn switches on groups that are off by default, see OptInGroups.
	OptIn []string
	// Identities knows more about containers than file names do; may be nil.
	Identities Identities
	// Gatherer has metrics of our own to store with job="binnacle"; may be nil.
	Gatherer prometheus.Gatherer
	// Logger and Registerer may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// withDefaults checks o and fills what is not set.
func (o Options) withDefaults() (Options, error) {
	if o.Node == "" {
		return o, errors.New("collector: Node must be the name of this machine, it is empty")
	}
	setDefault(&o.Interval, 5*time.Second)
	setDefault(&o.ProcessInterval, 15*time.Second)
	setDefault(&o.NodeInterval, 15*time.Second)
	if o.Interval < time.Second {
		return o, fmt.Errorf("collector: interval must be at least 1s, not %v", o.Interval)
	}
	o.ProcessInterval = max(o.ProcessInterval, o.Interval)
	o.NodeInterval = max(o.NodeInterval, o.Interval)
	setDefault(&o.RootFS, "/")
	setDefault(&o.CgroupRoot, "/sys/fs/cgroup")
	setDefault(&o.ProcRoot, "/proc")
	setDefault(&o.SysRoot, "/sys")
	setDefault(&o.RunRoot, filepath.Join(o.RootFS, "run"))
	setDefault(&o.KubeletRoot, "/var/lib/kubelet")
	setDefault(&o.PodLogsRoot, filepath.Join(o.RootFS, "var/log/pods"))
	for _, g := range o.OptIn {
		if !slices.Contains(OptInGroups(), g) {
			return o, fmt.Errorf("collector: no group %q to opt in to; there are %s", g, strings.Join(OptInGroups(), ", "))
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	return o, nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
