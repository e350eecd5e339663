package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// stepTimeout bounds each step of stopping: Kubernetes gives 30 s in all,
	// and parts stop within a second unless something hangs.
	stepTimeout = 12 * time.Second
	// storeTimeout bounds the closing of the store; what it would still have
	// written is in its log and is replayed.
	storeTimeout = 30 * time.Second
)

// teardown is one step of stopping.
type teardown struct {
	name    string
	timeout time.Duration
	stop    func(context.Context) error
}

// onStop registers a step. Last in, first out: what reads the store, started
// last, stops before the store.
func (s *Server) onStop(name string, timeout time.Duration, stop func(context.Context) error) {
	s.stack = append(s.stack, teardown{name, timeout, stop})
}

// stop runs the steps and joins their errors. A step that hangs is left
// behind after its time.
func (s *Server) stop() error {
	var errs []error
	for len(s.stack) > 0 {
		step := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if err := step.run(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
	}
	return errors.Join(errs...)
}

func (t teardown) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- t.stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// It may have ended by that very deadline, and then knows better why.
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return fmt.Errorf("it did not stop within %v", t.timeout)
	}
}

// launch runs a part until its step of stopping. A part that ends before that
// takes the server with it.
func (s *Server) launch(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		done <- err
		if ctx.Err() == nil {
			select {
			case s.failed <- struct{}{}:
			default:
			}
		}
	}()
	s.onStop(name, stepTimeout, func(context.Context) error {
		cancel()
		return <-done
	})
}
