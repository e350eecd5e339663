package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxJoined bounds the containers whose comings are remembered.
	maxJoined = 20_000
	// presenceInterval is how often the server is asked which pods there are.
	presenceInterval = 10 * time.Second
)

// presentPods are the pods that a server has current metrics of.
const presentPods = `count by (namespace, pod) (container_memory_working_set_bytes{pod!=""})`

// joins tells on stderr which containers come and go while their lines are
// followed. Lines tell who comes; that a pod is gone is known where the server
// has its metrics.
type joins struct {
	c        *logClient
	joined   map[joinedContainer]*joinedState
	presence atomic.Pointer[map[string]bool]
}

type joinedContainer struct {
	namespace, pod, uid, container string
}

type joinedState struct {
	restart string
	// present is set once the pod was seen in the metrics, gone when it was
	// not any more.
	present, gone bool
}

func newJoins(c *logClient) *joins {
	return &joins{c: c, joined: map[joinedContainer]*joinedState{}}
}

// see notes who wrote a line.
func (j *joins) see(s *logSource) {
	if s.pod == "" {
		return
	}
	key := joinedContainer{s.namespace, s.pod, s.labels[storage.LabelUID], s.container}
	restart := s.labels[storage.LabelRestart]
	state := j.joined[key]
	switch {
	case state == nil:
		if len(j.joined) >= maxJoined {
			clear(j.joined)
		}
		j.joined[key] = &joinedState{restart: restart}
		j.c.note("+ %s %s › %s", s.namespace, s.pod, s.container)
	case state.restart != restart && !state.gone && newer(restart, state.restart):
		state.restart = restart
		j.c.note("- %s %s › %s", s.namespace, s.pod, s.container)
		j.c.note("+ %s %s › %s (restart %s)", s.namespace, s.pod, s.container, restart)
	}
}

// newer compares restart numbers.
func newer(a, b string) bool {
	return len(a) > len(b) || len(a) == len(b) && a > b
}

// leave notes which pods are gone, by what watch learned last.
func (j *joins) leave() {
	pods := j.presence.Swap(nil)
	if pods == nil {
		return
	}
	for key, state := range j.joined {
		present := (*pods)[key.namespace+"/"+key.pod]
		switch {
		case present:
			state.present = true
		case state.present && !state.gone:
			state.gone = true
			j.c.note("- %s %s › %s", key.namespace, key.pod, key.container)
		}
	}
}

// watch asks the server again and again which pods there are, until ctx ends.
// It needs a client of its own. While the server does not answer nobody leaves.
func (j *joins) watch(ctx context.Context, c *client) {
	ticker := time.NewTicker(presenceInterval)
	defer ticker.Stop()
	for {
		value, err := c.presentPods(ctx)
		if err == nil {
			j.presence.Store(&value)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// presentPods returns the pods that have metrics now, as NAMESPACE/POD.
func (c *client) presentPods(ctx context.Context) (map[string]bool, error) {
	vector, err := c.vector(ctx, presentPods)
	if err != nil {
		return nil, err
	}
	pods := map[string]bool{}
	for _, sample := range vector {
		pods[string(sample.Metric["namespace"])+"/"+string(sample.Metric["pod"])] = true
	}
	return pods, nil
}
