package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/storage"
)

// metrics of the collector itself.
type metrics struct {
	success, duration *prometheus.GaugeVec
	// The steps of duration.
	durationCollect, durationAppend, durationNode, durationOwn prometheus.Gauge
	finals                                                     *prometheus.CounterVec
	stored, missed                                             prometheus.Counter
	skipped                                                    prometheus.Counter
	samples                                                    prometheus.Counter
	appendErrors                                               *prometheus.CounterVec
	rejected                                                   *prometheus.CounterVec
	dropped                                                    *prometheus.CounterVec
	droppedElements                                            prometheus.Counter
	droppedOOM                                                 prometheus.Counter
	droppedSeries                                              prometheus.Counter
	containers                                                 prometheus.Gauge
	unnamed                                                    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "binnacle_collector_" + name, Help: help}, labels)
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "binnacle_collector_" + name, Help: help}, labels)
	}
	m := &metrics{
		success:      gauges("success", "1 if the collector could read everything in the last cycle, 0 otherwise.", "collector"),
		duration:     gauges("duration_seconds", "Time the step took in its last cycle.", "step"),
		finals:       counters("final_samples_total", "Cgroups that ended, by whether their last reading was stored.", "result"),
		appendErrors: counters("append_errors_total", "Batches that were not stored.", "reason"),
		rejected:     counters("rejected_samples_total", "Samples that the store refused for good.", "reason"),
		dropped:      counters("dropped_total", "What was not collected because a bound was reached.", "reason"),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_collector_skipped_ticks_total", Help: "Cycles left out because the one before took too long.",
		}),
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_collector_samples_total", Help: "Samples handed to the store.",
		}),
		containers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_collector_cgroups", Help: "Cgroups that are read.",
		}),
		unnamed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_collector_unnamed_containers", Help: "Cgroups of pods whose names are not known yet.",
		}),
	}
	m.durationCollect, m.durationAppend = m.duration.WithLabelValues("collect"), m.duration.WithLabelValues("append")
	m.durationNode, m.durationOwn = m.duration.WithLabelValues("node"), m.duration.WithLabelValues("binnacle")
	m.stored, m.missed = m.finals.WithLabelValues("stored"), m.finals.WithLabelValues("missed")
	m.droppedElements = m.dropped.WithLabelValues("elements")
	m.droppedOOM = m.dropped.WithLabelValues("oom_counts")
	m.droppedSeries = m.dropped.WithLabelValues("gathered_series")
	for _, c := range []prometheus.Collector{
		m.success, m.duration, m.finals, m.appendErrors, m.rejected, m.dropped, m.skipped, m.samples, m.containers, m.unnamed,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("collector: register own metrics: %w", err)
		}
	}
	return m, nil
}

// health tells of each collector whether it worked in the last cycle.
type health struct {
	log     *slog.Logger
	mu      sync.Mutex
	failing map[string]bool
	gauges  map[string]prometheus.Gauge
	limit   logLimit
}

func newHealth(log *slog.Logger, success *prometheus.GaugeVec, names []string) *health {
	h := &health{log: log, failing: make(map[string]bool), gauges: make(map[string]prometheus.Gauge), limit: logLimit{every: time.Minute}}
	for _, name := range names {
		h.gauges[name] = success.WithLabelValues(name)
		h.gauges[name].Set(1)
	}
	return h
}

// failed marks a collector as failing in this cycle.
func (h *health) failed(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing[name] = true
	if h.limit.allow(name) {
		h.log.Warn("collector failed", "collector", name, "err", err)
	}
}

// report publishes the state of the named collectors at the end of their cycle
// and starts the next. It tells whether any of them failed.
func (h *health) report(names []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	anyFailed := false
	for _, name := range names {
		v := 1.0
		if h.failing[name] {
			v, anyFailed = 0, true
			delete(h.failing, name)
		}
		h.gauges[name].Set(v)
	}
	return anyFailed
}

// logLimit lets one line per key through in a while.
type logLimit struct {
	every time.Duration
	last  map[string]time.Time
}

// maxLogKeys bounds the keys remembered; they are names of ours, so it is never reached.
const maxLogKeys = 1000

func (l *logLimit) allow(key string) bool {
	now := time.Now()
	if t, ok := l.last[key]; ok && now.Sub(t) < l.every {
		return false
	}
	if l.last == nil || len(l.last) >= maxLogKeys {
		l.last = make(map[string]time.Time)
	}
	l.last[key] = now
	return true
}

// failed marks a collector as failing.
func (c *Collector) failed(name string, err error) { c.health.failed(name, err) }

// dropped counts what was beyond a bound.
func (c *Collector) dropped(n int) {
	if n > 0 {
		c.metrics.droppedElements.Add(float64(n))
	}
}

// recovered is deferred around each collector, so that a mistake in one stops nothing else.
func (c *Collector) recovered(name string) {
	if r := recover(); r != nil {
		c.failed(name, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
	}
}

// append hands the batch to the store and counts what was not taken.
func (c *Collector) append(ctx context.Context, app storage.Appender, samples []storage.Sample) {
	if len(samples) == 0 {
		return
	}
	c.metrics.samples.Add(float64(len(samples)))
	err := app.Append(ctx, samples)
	if err == nil || ctx.Err() != nil {
		return
	}
	var rejected *storage.RejectedError
	reason := "error"
	switch {
	case errors.As(err, &rejected):
		for r, n := range rejected.Reasons {
			c.metrics.rejected.WithLabelValues(r).Add(float64(n))
		}
		reason = "rejected"
	case errors.Is(err, storage.ErrFull):
		reason = "full"
	case errors.Is(err, storage.ErrClosed):
		reason = "closed"
	}
	if reason != "rejected" {
		c.metrics.appendErrors.WithLabelValues(reason).Inc()
	}
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	if c.health.limit.allow("append " + reason) {
		c.opts.Logger.Error("samples not stored", "reason", reason, "samples", len(samples), "err", err)
	}
}
