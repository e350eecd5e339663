//go:build system

package functional

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/binnacle-obs/binnacle/storage"
)

// key identifies a series of one container: its name, the cgroup and those
// labels that are not the container's identity, as "name=value,...".
type key struct{ name, id, rest string }

// identityLabels say which container a series belongs to, not which of the
// container's series it is.
var identityLabels = []string{
	"__name__", "id", "name", "image", "container", "pod", "namespace",
	"node", "job", "instance", "metrics_path", "cluster",
}

func keyOf(l labels.Labels) key {
	var rest []string
	l.Range(func(l labels.Label) {
		if l.Value != "" && !slices.Contains(identityLabels, l.Name) {
			rest = append(rest, l.Name+"="+l.Value)
		}
	})
	id := l.Get("id")
	if id == "" && l.Get("pod") != "" { // what outlives a container has no id
		id = l.Get("pod") + "/" + l.Get("container")
	}
	return key{l.Get("__name__"), id, strings.Join(rest, ",")}
}

// remembered is how many cycles a recorder keeps.
const remembered = 20

// recorder is an Appender that remembers the last cycles and, of each series
// of a container, the last value.
type recorder struct {
	mu     sync.Mutex
	keys   map[*storage.Series]key
	labels map[key]labels.Labels
	cycles map[int64]map[key]float64
	times  []int64 // of cycles, in the order of arrival
	last   map[key]float64
	ended  map[key]bool
}

func newRecorder() *recorder {
	return &recorder{
		keys: map[*storage.Series]key{}, labels: map[key]labels.Labels{}, cycles: map[int64]map[key]float64{},
		last: map[key]float64{}, ended: map[key]bool{},
	}
}

// Append implements storage.Appender.
func (r *recorder) Append(_ context.Context, batch []storage.Sample) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range batch {
		k, ok := r.keys[s.Series]
		if !ok {
			k = keyOf(s.Series.Labels)
			r.keys[s.Series] = k
			r.labels[k] = s.Series.Labels
		}
		if k.id == "" {
			continue
		}
		if value.IsStaleNaN(s.V) {
			r.ended[k] = true
			continue
		}
		r.ended[k] = false
		r.last[k] = s.V
		cycle, ok := r.cycles[s.T]
		if !ok {
			cycle = map[key]float64{}
			r.cycles[s.T] = cycle
			r.times = append(r.times, s.T)
		}
		cycle[k] = s.V
	}
	for len(r.times) > remembered {
		delete(r.cycles, r.times[0])
		r.times = r.times[1:]
	}
	return nil
}

// value is the last one of a series.
func (r *recorder) value(k key) (float64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.last[k]
	return v, ok
}

// stale tells whether the series has been ended by a staleness marker.
func (r *recorder) stale(k key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended[k]
}

// labelsOf are the complete labels of a series.
func (r *recorder) labelsOf(k key) labels.Labels {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.labels[k]
}

// cycleAfter waits for the first complete cycle with a time after from: one
// that is followed by a later cycle, or holds all the wanted cgroups.
func (r *recorder) cycleAfter(t testing.TB, from time.Time, wanted []*group) map[key]float64 {
	t.Helper()
	var missing string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		for _, at := range r.times {
			if at <= from.UnixMilli() {
				continue
			}
			cycle := r.cycles[at]
			if missing = firstMissing(cycle, wanted); missing == "" {
				r.mu.Unlock()
				return cycle
			}
		}
		r.mu.Unlock()
	}
	t.Fatalf("no complete cycle after %s: %s is missing", from, missing)
	return nil
}

// firstMissing is the id of a wanted cgroup without CPU usage in the cycle.
func firstMissing(cycle map[key]float64, wanted []*group) string {
	for _, g := range wanted {
		if _, ok := cycle[key{"container_cpu_usage_seconds_total", g.id, "cpu=total"}]; !ok {
			return g.id
		}
	}
	return ""
}
