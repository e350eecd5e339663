package disk

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of walks.
const (
	resultComplete   = "complete"
	resultIncomplete = "incomplete"
	resultGone       = "gone"
	resultFailed     = "failed"
	resultStuck      = "stuck"
)

// Reasons why something was not looked at.
const (
	reasonKeys        = "keys"        // refused: MaxKeys watched already
	reasonStuck       = "stuck"       // refused: the mount has a stuck call
	reasonStuckBound  = "stuck_bound" // refused: too many mounts are stuck
	reasonFilesystems = "filesystems" // refused: too many file systems

	reasonDepth      = "depth"      // skipped: deeper than MaxDepth
	reasonEntries    = "entries"    // skipped: the rest after MaxEntries
	reasonLinks      = "links"      // not skipped, but may be counted twice
	reasonPermission = "permission" // skipped: not permitted
	reasonChanged    = "changed"    // skipped: replaced while it was looked at
	reasonRead       = "read"       // skipped: any other error
)

type metrics struct {
	entries prometheus.Counter
	walks   *prometheus.CounterVec
	skipped *prometheus.CounterVec
	refused *prometheus.CounterVec
	stuck   prometheus.Gauge
	watched prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		entries: f.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_disk_entries_total", Help: "Directory entries looked at.",
		}),
		walks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_disk_walks_total", Help: "Walks of watched directories by result.",
		}, []string{"result"}),
		skipped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_disk_skipped_total", Help: "Times a walk could not count something exactly, by reason.",
		}, []string{"reason"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_disk_refused_total", Help: "Directories not watched, walks and measurements not started, by reason.",
		}, []string{"reason"}),
		stuck: f.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_disk_stuck", Help: "Calls that a mount has not answered in time.",
		}),
		watched: f.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_disk_watched", Help: "Watched directories.",
		}),
	}
}
