package tail

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// maxShedSeries bounds the containers that have series of their own for what
// was shed; the others share one with empty labels.
const maxShedSeries = 500

// metrics are those of a Tailer.
type metrics struct {
	formats        [formats]formatMetrics
	discovered     [formats]prometheus.Counter
	deliveries     prometheus.Counter
	malformed      *prometheus.CounterVec // by reason
	truncated      *prometheus.CounterVec // by reason
	truncatedBytes prometheus.Counter
	replaced       prometheus.Counter
	tracesCut      prometheus.Counter
	shedLines      *prometheus.CounterVec // by pod
	shedBytes      *prometheus.CounterVec
	shedSeries     int // guarded by Tailer.mu
	rotations      prometheus.Counter
	truncations    prometheus.Counter
	lostBytes      *prometheus.CounterVec // by reason
	openFailures   *prometheus.CounterVec // by reason
	readFailures   *prometheus.CounterVec // by reason
	watchFailures  prometheus.Counter
	overflows      prometheus.Counter
	positionWrites *prometheus.CounterVec // by result

	all []prometheus.Collector
}

// formatMetrics are those of one format.
type formatMetrics struct {
	lines, bytes prometheus.Counter
}

func newMetrics(t *Tailer) *metrics {
	m := &metrics{}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "binnacle_tail_" + name, Help: help}, labels)
		m.all = append(m.all, v)
		return v
	}
	counter := func(name, help string) prometheus.Counter { return vec(name, help).WithLabelValues() }
	lines := vec("lines_total", "Lines read from log files.", "format")
	read := vec("read_bytes_total", "Bytes of complete lines read from log files, uncompressed.", "format")
	discovered := vec("files_discovered_total", "Generations of log files that were begun or gone on with.", "format")
	for f, name := range formatNames {
		m.formats[f] = formatMetrics{lines.WithLabelValues(name), read.WithLabelValues(name)}
		m.discovered[f] = discovered.WithLabelValues(name)
	}
	m.deliveries = counter("deliveries_total", "Batches of records handed over.")
	m.malformed = vec("malformed_lines_total", "Lines kept as they are because they do not have their file's format.", "reason")
	m.truncated = vec("truncated_lines_total", "Lines of which a part is missing.", "reason")
	m.truncatedBytes = counter("truncated_bytes_total", "Bytes left out of lines that are too long.")
	m.replaced = counter("replaced_lines_total", "Records with U+FFFD in place of invalid UTF-8 or NUL.")
	m.tracesCut = counter("traces_cut_total", "Stack traces that were longer than the limit.")
	m.shedLines = vec("shed_lines_total", "Records left out because their container exceeded its rate limit.", "namespace", "pod", "container")
	m.shedBytes = vec("shed_bytes_total", "Bytes of text left out because their container exceeded its rate limit.", "namespace", "pod", "container")
	m.rotations = counter("rotations_total", "Log files that got another name.")
	m.truncations = counter("truncations_total", "Log files that were emptied in place.")
	m.lostBytes = vec("lost_bytes_total", "Bytes that went away before they could be delivered.", "reason")
	m.openFailures = vec("open_failures_total", "Log files that could not be opened; they are tried again.", "reason")
	m.readFailures = vec("read_failures_total", "Reads that failed and are tried again; gzip counts compressed files without their end.", "reason")
	m.watchFailures = counter("watch_failures_total", "Watches that the kernel refused.")
	m.overflows = counter("inotify_overflows_total", "Times that the kernel lost events; everything was looked at then.")
	m.positionWrites = vec("position_writes_total", "Writes of the positions file; damaged counts those found unreadable.", "result")
	for _, result := range []string{"ok", "failed", "damaged"} {
		m.positionWrites.WithLabelValues(result)
	}
	m.gauges(t)
	return m
}

// gauges are computed when they are asked for.
func (m *metrics) gauges(t *Tailer) {
	gauge := func(name, help string, f func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "binnacle_tail_" + name, Help: help}, f))
	}
	gauge("open_files", "Log files that are open.", func() float64 { return float64(t.files.count()) })
	gauge("deleted_bytes", "Size of deleted log files that are held open until they are delivered.",
		func() float64 { return float64(t.deletedBytes.Load()) })
	gauge("lag_bytes", "Bytes in open log files that are not acknowledged.", func() float64 {
		var lag int64
		for _, l := range t.allLanes() {
			for _, g := range l.snapshot(nil) {
				lag += max(0, g.size.Load()-g.acked.Load())
			}
		}
		return float64(lag)
	})
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range m.all {
		reg.Unregister(c)
	}
}

// countShed counts a line that is left out.
func (l *lane) countShed(size int) {
	if l.shedLine == nil {
		m := l.t.metrics
		var values []string
		l.t.mu.Lock()
		if m.shedSeries < maxShedSeries {
			m.shedSeries++
			l.shedLabels = []string{l.id.namespace, l.id.pod, l.id.container}
			values = l.shedLabels
		} else {
			values = []string{"", "", ""}
		}
		l.t.mu.Unlock()
		l.shedLine, l.shedText = m.shedLines.WithLabelValues(values...), m.shedBytes.WithLabelValues(values...)
	}
	l.shedLine.Inc()
	l.shedText.Add(float64(size))
}

// forgetShed removes the series of a lane that is gone.
func (m *metrics) forgetShed(l *lane) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if l.shedLabels == nil {
		return
	}
	m.shedSeries--
	m.shedLines.DeleteLabelValues(l.shedLabels...)
	m.shedBytes.DeleteLabelValues(l.shedLabels...)
}
