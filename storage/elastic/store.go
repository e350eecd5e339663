// Package elastic stores log records in Elasticsearch or OpenSearch and finds
// them there. It is the only importer of the Elasticsearch client.
//
// docs/elasticsearch.md describes the documents, and what is asked of a server.
package elastic

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a storage.LogStore and storage.LogCounter over a cluster. Requests
// are its callers'; Run keeps the indices in order.
type Store struct {
	options  Options
	client   *client
	metrics  *metrics
	targets  [2]target // records, dead letters
	bulks    bulks
	attempts *attempts
	streams  streamCache

	// setupMu is held while the server is asked what it can do.
	setupMu   sync.Mutex
	state     atomic.Pointer[state]
	lastSetup atomic.Int64 // ns

	// unseen tells that something was written since the last refresh;
	// refreshMu is held during a refresh, so that nobody searches before it.
	unseen    atomic.Bool
	refreshMu sync.Mutex

	closed        atomic.Bool
	warnTasks     sync.Once
	lastLetterLog atomic.Int64 // ns
	unregisters   []func()
}

// New checks the options. It asks nothing of the server: that is done when it
// is needed, and again until it succeeds.
func New(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: o, client: c, metrics: newMetrics(), attempts: newAttempts(time.Now()),
		targets: [2]target{
			{index: o.Index, properties: recordProperties},
			{index: "dead-letters-" + o.Index, properties: letterProperties},
		},
	}
	if err := s.register(o.Registerer); err != nil {
		return nil, err
	}
	// The process before this one may have written.
	s.unseen.Store(true)
	return s, nil
}

// Run begins new indices, deletes old ones and notices upgrades of the server,
// until ctx ends. Any number of processes may do so for the same indices.
func (s *Store) Run(ctx context.Context) error {
	failing := false
	for {
		err := s.noticeUpgrade(ctx)
		if err == nil {
			err = s.maintain(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			s.options.Logger.Warn("elasticsearch cannot be set up or kept in order, this is tried again", "err", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.maintenancePause()):
		}
	}
}

// maintenancePause is a fraction of what has to be noticed, not the same for
// all processes.
func (s *Store) maintenancePause() time.Duration {
	pause := s.options.RolloverAge / 8
	if s.options.Retention > 0 {
		pause = min(pause, s.options.Retention/8)
	}
	pause = max(100*time.Millisecond, min(pause, 10*time.Minute))
	return pause/2 + rand.N(pause)
}

// Close ends the store: later writes return storage.ErrClosed.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.unregister()
	s.client.close()
	return nil
}
