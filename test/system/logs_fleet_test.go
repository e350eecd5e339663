//go:build system

package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/binnacle-obs/binnacle/test/ledger"
)

// cluster is the label that all records of these tests have.
const cluster = "ledger"

// fleet is a number of containers that write logs below a root of pods.
type fleet struct {
	t    testing.TB
	root string
	logs []*ledger.Log
	wg   sync.WaitGroup
}

// newFleet makes containers in folders as the kubelet's; every fourth writes
// Docker's format.
func newFleet(t testing.TB, containers int) *fleet {
	t.Helper()
	f := &fleet{t: t, root: filepath.Join(t.TempDir(), "pods")}
	for i := range containers {
		format := ledger.CRI
		if i%4 == 3 {
			format = ledger.JSONFile
		}
		f.pod(i, format)
	}
	return f
}

// pod adds the log of one more container, a pod of the Deployment cart.
func (f *fleet) pod(i int, format ledger.Format) *ledger.Log {
	f.t.Helper()
	const letters = "bcdfghjklmnpqrstvwxz2456789" // of which Kubernetes makes names
	suffix := make([]byte, 5)
	for j, n := 0, i; j < len(suffix); j++ {
		suffix[j] = letters[n%len(letters)]
		n /= len(letters)
	}
	l, err := ledger.PodLog(f.root, ledger.Source{
		Namespace: []string{"shop", "billing", "ops"}[i%3],
		Pod:       "cart-7d9f8b6c5d-" + string(suffix),
		UID:       fmt.Sprintf("5f3c1a52-8f0e-4c7b-9d55-%012x", i),
		Container: []string{"app", "sidecar"}[i%2],
		Restart:   i % 5,
	}, format)
	if err != nil {
		f.t.Fatal(err)
	}
	l.Labels["cluster"] = cluster
	f.logs = append(f.logs, l)
	return l
}

// pace is how a container writes: up to burst entries at full speed, then a
// pause of up to pause.
type pace struct {
	burst int
	pause time.Duration
}

// write lets every container write until ctx ends; wait waits for it.
func (f *fleet) write(ctx context.Context, p pace) {
	for _, l := range f.logs {
		f.each(ctx, func() error {
			err := l.Burst(1 + rand.IntN(p.burst))
			sleep(ctx, rand.N(p.pause))
			return err
		})
	}
}

// rotate rotates every log each interval until ctx ends, as the kubelet does.
func (f *fleet) rotate(ctx context.Context, interval time.Duration, keep int) {
	for _, l := range f.logs {
		f.each(ctx, func() error {
			sleep(ctx, interval)
			return l.Rotate(keep, false)
		})
	}
}

// each calls a function again and again until ctx ends.
func (f *fleet) each(ctx context.Context, do func() error) {
	f.wg.Go(func() {
		for ctx.Err() == nil {
			if err := do(); err != nil {
				f.t.Error(err)
				return
			}
		}
	})
}

// writeFor writes at a pace for a time.
func (f *fleet) writeFor(d time.Duration, p pace) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	f.write(ctx, p)
	f.wg.Wait()
}

func (f *fleet) accounts() []ledger.Account {
	var all []ledger.Account
	for _, l := range f.logs {
		all = append(all, l.Accounts()...)
	}
	return all
}

func (f *fleet) entries() int {
	n := 0
	for _, l := range f.logs {
		n += l.Entries()
	}
	return n
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// agentArgs are those of an agent that reads root and whose state is in dir.
func agentArgs(root, dir string, more ...string) []string {
	return append([]string{
		"agent", "--data-dir", dir, "--logs", root, "--cluster-name", cluster, "--interval", "10s",
	}, more...)
}

// until is a point in time as the API takes it.
func until(at time.Time) string { return strconv.FormatInt(at.UnixNano(), 10) }
