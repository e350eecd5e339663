package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// namespace is that of all pods of the demo.
const namespace = "demo"

const (
	// The kubelet waits 10 seconds before it starts a container again, twice
	// as long each time, at most 5 minutes, and forgets about it when the
	// container ran for 10 minutes.
	firstBackOff = 10 * time.Second
	lastBackOff  = 5 * time.Minute
	steadyRun    = 10 * time.Minute
	// keptRuns is how many runs of a container have logs: as with the kubelet
	// the current one and the one before.
	keptRuns = 2
)

// pod starts the container of a workload again and again.
type pod struct {
	*workload
	demo *Demo
	uid  string
	// dir is the folder of the container's logs.
	dir string
	log *slog.Logger
}

// run runs containers until ctx ends.
func (p *pod) run(ctx context.Context) error {
	// The kernel kills a process when the thread that started it ends: this
	// one has to last as long as the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	restart, err := nextRestart(p.dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for backOff := firstBackOff; ; restart++ {
		started := time.Now()
		reason, err := p.runContainer(ctx, restart)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("demo: %s: %w", p.pod, err)
		}
		if time.Since(started) > p.demo.after(steadyRun) {
			backOff = firstBackOff
		}
		wait := p.demo.after(backOff)
		p.log.Info("A demo container ended.", "container", p.container, "restart", restart, "reason", reason, "again_in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		backOff = min(2*backOff, lastBackOff)
	}
}

// runContainer runs the container once and says why it ended.
func (p *pod) runContainer(ctx context.Context, restart int) (reason string, err error) {
	if err := removeRuns(p.dir, restart-keptRuns); err != nil {
		return "", err
	}
	group, err := p.demo.groups.container(p.uid, p.limits)
	if err != nil {
		p.log.Warn("A demo container runs without a cgroup.", "container", p.container, "reason", err)
		group = nil
	}
	out, err := newLogFile(filepath.Join(p.dir, strconv.Itoa(restart)+".log"))
	if err != nil {
		return "", err
	}
	reason, err = p.execute(ctx, group, out)
	if removeErr := group.remove(); err == nil {
		err = removeErr
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return reason, err
}

// nextRestart is one more than the restart number of the newest log.
func nextRestart(dir string) (int, error) {
	next := 0
	err := eachRun(dir, func(_ string, restart int) error {
		next = max(next, restart+1)
		return nil
	})
	return next, err
}

// removeRuns deletes the logs of all runs up to and including last.
func removeRuns(dir string, last int) error {
	return eachRun(dir, func(name string, restart int) error {
		if restart > last {
			return nil
		}
		return os.Remove(name)
	})
}

// eachRun calls f for every log file, rotated ones too.
func eachRun(dir string, f func(name string, restart int) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, _, ok := strings.Cut(e.Name(), ".log")
		restart, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		if err := f(filepath.Join(dir, e.Name()), restart); err != nil {
			return err
		}
	}
	return nil
}
