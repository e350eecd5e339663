package loki

import "github.com/prometheus/client_golang/prometheus"

// Values of the label `reason` of binnacle_log_ingest_rejected_records_total;
// the reasons of stores come on top.
const (
	reasonLineTooLong = "line_too_long"
	reasonTooNew      = "too_new"
	reasonLabels      = "labels"
)

// Values of the label `change` of binnacle_log_ingest_changed_records_total.
const (
	changeReplaced  = "replaced"
	changeTruncated = "truncated"
)

// Values of the label `reason` of binnacle_log_queries_cut_total.
const (
	cutLimit  = "limit"
	cutBytes  = "result_bytes"
	cutTime   = "time"
	cutEngine = "query_limit"
)

type metrics struct {
	accepted *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	rejected *prometheus.CounterVec
	changed  *prometheus.CounterVec
	retried  prometheus.Counter
	cut      *prometheus.CounterVec
	tails    prometheus.Gauge
	dropped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_log_ingest_records_total",
			Help: "Log records received and stored, by protocol.",
		}, []string{"protocol"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_log_ingest_bytes_total",
			Help: "Bytes of the lines of log records received and stored, by protocol.",
		}, []string{"protocol"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_log_ingest_rejected_records_total",
			Help: "Log records received and refused for good, by reason.",
		}, []string{"reason"}),
		changed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_log_ingest_changed_records_total",
			Help: "Log records received that were changed: replaced (invalid UTF-8 or NUL bytes), or truncated (too long a line or attribute).",
		}, []string{"change"}),
		retried: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_log_ingest_retried_records_total",
			Help: "Log records that the store could not take at once and that were tried again within their request.",
		}),
		cut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "binnacle_log_queries_cut_total",
			Help: "Log queries of which a limit kept a part of the result, by reason.",
		}, []string{"reason"}),
		tails: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_log_tails",
			Help: "Clients that follow a log query.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_log_tail_dropped_entries_total",
			Help: "Log records that clients missed because they read too slowly.",
		}),
	}
	for _, protocol := range []string{protocolLoki, protocolOTLP} {
		m.accepted.WithLabelValues(protocol)
		m.bytes.WithLabelValues(protocol)
	}
	for _, reason := range []string{reasonLineTooLong, reasonTooNew, reasonLabels} {
		m.rejected.WithLabelValues(reason)
	}
	for _, change := range []string{changeReplaced, changeTruncated} {
		m.changed.WithLabelValues(change)
	}
	for _, reason := range []string{cutLimit, cutBytes, cutTime, cutEngine} {
		m.cut.WithLabelValues(reason)
	}
	reg.MustRegister(m.accepted, m.bytes, m.rejected, m.changed, m.retried, m.cut, m.tails, m.dropped)
	return m
}
