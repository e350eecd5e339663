package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestRunEndsWhenAPartFails(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "rules.yml")
	write(t, rules, goodRules)
	s, err := New(Options{DataDir: t.TempDir(), RuleGlobs: []string{rules}})
	require.NoError(t, err)
	write(t, rules, "broken")
	err = s.Run(context.Background())
	require.ErrorContains(t, err, "a part stopped by itself")
	require.ErrorContains(t, err, "stop rules: rule file")
}

func TestRunFailsWhenFolderIsTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, Options{DataDir: dir})
	other, err := New(Options{DataDir: dir})
	require.NoError(t, err)
	require.ErrorContains(t, other.Run(context.Background()), "open the store")
	require.ErrorIs(t, other.Appender().Append(context.Background(), nil), storage.ErrClosed)
	require.Len(t, r.query(t, "vector(1)"), 1, "the first one goes on")
}

func TestAppenderWaitsOnlyAsLongAsItMay(t *testing.T) {
	t.Parallel()
	s, err := New(Options{DataDir: t.TempDir()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Appender().Append(ctx, nil), context.Canceled)
}

func TestTeardownIsLastInFirstOutAndBounded(t *testing.T) {
	t.Parallel()
	s := &Server{}
	var order []string
	step := func(name string, err error) {
		s.onStop(name, time.Minute, func(context.Context) error {
			order = append(order, name)
			return err
		})
	}
	fault := errors.New("fault")
	step("first", nil)
	step("second", fault)
	release := make(chan struct{})
	defer close(release)
	s.onStop("hanging", time.Millisecond, func(context.Context) error {
		<-release
		return nil
	})
	step("last", nil)
	err := s.stop()
	require.Equal(t, []string{"last", "second", "first"}, order)
	require.ErrorIs(t, err, fault)
	require.ErrorContains(t, err, "stop second: fault")
	require.ErrorContains(t, err, "stop hanging: it did not stop within 1ms")
}

func TestDrainWaitsForRequests(t *testing.T) {
	t.Parallel()
	r := newRequests()
	began, release := make(chan struct{}), make(chan struct{})
	go r.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-release
	}), httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil))
	<-began
	drained := make(chan error)
	go func() { drained <- r.drain(context.Background()) }()
	eventually(t, "no more requests are let in", func() bool {
		if r.begin() {
			r.end()
			return false
		}
		return true
	})
	select {
	case err := <-drained:
		t.Fatalf("drained with a request under way: %v", err)
	default:
	}
	close(release)
	require.NoError(t, <-drained)
}

func TestDrainEndsContextsAndGivesUp(t *testing.T) {
	t.Parallel()
	r := newRequests()
	began, ended := make(chan struct{}), make(chan struct{})
	var cause error
	go func() {
		defer close(ended)
		r.serve(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			close(began)
			<-req.Context().Done()
			cause = context.Cause(req.Context())
		}), httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", nil))
	}()
	<-began
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorContains(t, r.drain(gone), "still under way")
	r.cancel(errStopping)
	<-ended
	require.ErrorIs(t, cause, errStopping)
}

func TestMemoryTrackerBoundsQueries(t *testing.T) {
	t.Parallel()
	tr := newMemoryTracker(1)
	require.Equal(t, 1, tr.GetMaxConcurrent())
	i, err := tr.Insert(context.Background(), "up")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = tr.Insert(ctx, "up")
	require.ErrorIs(t, err, context.Canceled)
	tr.Delete(i)
	_, err = tr.Insert(context.Background(), "up")
	require.NoError(t, err)
}
