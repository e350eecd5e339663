package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// stopTimeout bounds the graceful stop of all parts together. What is cut
// off then is in the logs on disk and replayed at the next start.
const stopTimeout = 45 * time.Second

// part is one of the pieces that a long-running command runs at the same time.
type part struct {
	name string
	// run blocks until its context ends.
	run func(context.Context) error
}

// supervise runs all parts until ctx ends or one of them stops by itself.
// Then it stops them one after the other, last first: list what others need
// before them.
func supervise(ctx context.Context, log *slog.Logger, timeout time.Duration, parts ...part) error {
	type running struct {
		part
		cancel context.CancelFunc
		done   chan error
	}
	var all []running
	ended := make(chan string, len(parts))
	for _, p := range parts {
		partCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		r := running{p, cancel, make(chan error, 1)}
		all = append(all, r)
		go func() {
			r.done <- r.run(partCtx)
			ended <- r.name
		}()
	}
	var errs []error
	select {
	case <-ctx.Done():
		log.Info("Stopping.")
	case name := <-ended:
		errs = append(errs, fmt.Errorf("%s stopped by itself", name))
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for _, r := range slices.Backward(all) {
		r.cancel()
		select {
		case err := <-r.done:
			if err != nil && !errors.Is(err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
			}
		case <-deadline.C:
			return errors.Join(append(errs, fmt.Errorf("%s did not stop within %v", r.name, timeout))...)
		}
	}
	return errors.Join(errs...)
}

// reloadPart calls reload at every SIGHUP. Errors leave what was in force.
func reloadPart(p *process, log *slog.Logger, reload func() error) part {
	hangup := p.hangup()
	return part{"reload", func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hangup:
				if err := reload(); err != nil {
					log.Error("Reload failed; the configuration before stays in force.", "err", err)
					continue
				}
				log.Info("Configuration reloaded.")
			}
		}
	}}
}
