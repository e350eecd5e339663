package logdb

import (
	"slices"
	"sync"
)

// maxSkipBytes bounds the skip indexes in memory: about those of 3 GB of text.
const maxSkipBytes = 32 * mib

// skipCache bounds the bitmaps that segments keep in memory. The ones that
// were read first go first.
type skipCache struct {
	mu sync.Mutex
	// Guarded by mu. loaded are the segments that have their bitmaps, bytes
	// what these take.
	loaded []*segment
	bytes  int
	max    int
}

// bitmaps returns the skip index of a segment, nil when it is damaged.
func (db *DB) bitmaps(g *segment) []byte {
	g.skipMu.Lock()
	skips, lost := g.skips, g.skipLost
	g.skipMu.Unlock()
	if skips != nil || lost {
		return skips
	}
	skips, err := g.loadSkips()
	if err != nil {
		db.metrics.corrupt.WithLabelValues("skip_index").Inc()
		db.logger.Error("A skip index cannot be read; queries read all blocks of the segment", "err", err)
		return nil
	}
	db.skips.add(g, len(skips))
	return skips
}

func (c *skipCache) add(g *segment, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.loaded, g) {
		return
	}
	c.loaded = append(c.loaded, g)
	c.bytes += bytes
	for c.bytes > c.max && len(c.loaded) > 1 {
		c.bytes -= c.loaded[0].dropSkips()
		c.loaded = c.loaded[1:]
	}
}

// forget frees what a segment that is removed has.
func (c *skipCache) forget(g *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.loaded, g); i >= 0 {
		c.loaded = slices.Delete(c.loaded, i, i+1)
		c.bytes -= g.dropSkips()
	}
}
