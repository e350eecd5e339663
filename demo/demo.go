// Package demo runs a few small workloads as Kubernetes would: each in a pod's
// cgroup of its own with limits, its output in log files of the CRI format.
// One is healthy, one leaks memory until its limit kills it, one fails now and
// then with stack traces. They show what binnacle sees where there is no
// cluster.
package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Command is the name of the hidden command under which Options.Exe runs a
// workload: its arguments are the name of the workload and its speed.
const Command = "demo-pod"

// Options say where the demo runs.
type Options struct {
	// Dir is the data folder; logs are written below it, see PodLogsRoot.
	Dir string
	// CgroupRoot is where the cgroup file systems are mounted. Where no groups
	// can be made below it, the workloads run without.
	CgroupRoot string
	// Exe is a program that calls RunWorkload when it is started with Command.
	Exe string
	// Logger is told when containers start and end.
	Logger *slog.Logger

	// speed makes everything happen that many times as fast, for tests.
	speed float64
}

// Demo runs the workloads. Make it with New.
type Demo struct {
	opts Options
	// groups is nil where there are no cgroups.
	groups *groups
}

// PodLogsRoot is the folder of the pods' logs, in the form of /var/log/pods,
// for a data folder.
func PodLogsRoot(dir string) string { return filepath.Join(dir, "demo", "pods") }

// New checks the options and makes the folders. It removes what an earlier run
// that was killed left behind.
func New(o Options) (*Demo, error) {
	if o.speed == 0 {
		o.speed = 1
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	o.Dir = dir
	if err := os.MkdirAll(PodLogsRoot(dir), 0o755); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	d := &Demo{opts: o}
	d.groups, err = openGroups(o.CgroupRoot, "binnacle-demo-"+d.hash("")[:8])
	if err != nil {
		o.Logger.Warn("The demo runs without cgroups of its own, so without its metrics.", "reason", err)
		d.groups = nil
	}
	return d, nil
}

// hash is different for every data folder and name.
func (d *Demo) hash(name string) string {
	sum := sha256.Sum256([]byte(d.opts.Dir + "\x00" + name))
	return hex.EncodeToString(sum[:])
}

// Run runs all workloads until ctx ends, and removes their processes and
// cgroups. Their logs stay.
func (d *Demo) Run(ctx context.Context) error {
	d.opts.Logger.Info("Running demo workloads.", "logs", PodLogsRoot(d.opts.Dir), "cgroups", d.groups.root())
	var wait sync.WaitGroup
	errs := make([]error, len(workloads))
	for i, w := range workloads {
		wait.Go(func() { errs[i] = d.newPod(w).run(ctx) })
	}
	wait.Wait()
	return errors.Join(append(errs, d.groups.remove())...)
}

// newPod makes the pod of a workload. Its uid stays the same for a data
// folder, as that of a pod does until it is deleted.
func (d *Demo) newPod(w *workload) *pod {
	h := d.hash(w.name)
	uid := fmt.Sprintf("%s-%s-4%s-a%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:32])
	return &pod{
		workload: w, uid: uid, demo: d,
		dir: filepath.Join(PodLogsRoot(d.opts.Dir), namespace+"_"+w.pod+"_"+uid, w.container),
		log: d.opts.Logger.With("pod", namespace+"/"+w.pod),
	}
}

// after is a time in the demo, which is shorter in tests.
func (d *Demo) after(t time.Duration) time.Duration {
	return time.Duration(float64(t) / d.opts.speed)
}
