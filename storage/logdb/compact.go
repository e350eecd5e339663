package logdb

import (
	"context"
	"time"
)

// Reasons why a segment is dropped.
const (
	dropTime  = "time"
	dropBytes = "bytes"
)

// compactLoop applies retention and merges small segments.
func (db *DB) compactLoop(ctx context.Context) {
	tick := time.NewTicker(compactInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-db.compactWanted:
		}
	}
}
