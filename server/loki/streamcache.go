package loki

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxCachedStreams is how many pushed streams are remembered at least, and
	// twice that at most.
	maxCachedStreams = 20_000
	// maxCachedKey keeps streams with very long labels out of the cache.
	maxCachedKey = 4 << 10
)

// streamCache gives the same *storage.Stream to the same labels, request after
// request. It forgets what was not asked for since it was filled last.
type streamCache struct {
	size int

	mu sync.Mutex
	// Guarded by mu.
	recent, older map[string]*storage.Stream
}

func newStreamCache(size int) *streamCache {
	return &streamCache{size: size, recent: make(map[string]*storage.Stream)}
}

// get returns the stream of l.
func (c *streamCache) get(l labels.Labels) *storage.Stream {
	key := l.Bytes(nil)
	if len(key) > maxCachedKey {
		return &storage.Stream{Labels: l}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.recent[string(key)]; s != nil {
		return s
	}
	s := c.older[string(key)]
	if s == nil {
		s = &storage.Stream{Labels: l}
	}
	if len(c.recent) >= c.size {
		c.older, c.recent = c.recent, make(map[string]*storage.Stream)
	}
	c.recent[string(key)] = s
	return s
}

func (c *streamCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.recent) + len(c.older)
}
