package logql

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/common/model"
)

// parseDuration reads what Go's time package reads (1h30m, 1.5s, 20ms) and
// Prometheus' units (1d, 2w, 1y).
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil {
		return d, nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, err
}

// formatDuration writes d so that parseDuration reads it, in the units that
// people write.
func formatDuration(d time.Duration) string {
	if d >= 0 && d%time.Millisecond == 0 {
		return model.Duration(d).String()
	}
	return d.String()
}

// parseBytes reads a size: 5b, 10KB (1000), 1.5MiB (1024).
func parseBytes(s string) (uint64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || strings.ContainsRune(s, ',') {
		return 0, fmt.Errorf("not a size such as 10KB or 1.5MiB: %q", s)
	}
	return n, nil
}
