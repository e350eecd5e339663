package elastic

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	stored, repeated, lookedUp    prometheus.Counter
	retried, refused, deadLetters *prometheus.CounterVec
	documentBytes, sentBytes      prometheus.Counter
	deletedIndices                prometheus.Counter
	setups                        *prometheus.CounterVec
	capability, lifecycle         *prometheus.GaugeVec
	lastSuccess                   prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "binnacle_elasticsearch_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "binnacle_elasticsearch_" + name, Help: help}, []string{label})
	}
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "binnacle_elasticsearch_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		stored:         counter("stored_records_total", "Log records that became documents."),
		repeated:       counter("repeated_records_total", "Log records that were stored already by an earlier attempt."),
		lookedUp:       counter("looked_up_records_total", "Log records searched for before they were sent again."),
		retried:        counters("retried_records_total", "Log records to be sent again, each time.", "reason"),
		refused:        counters("refused_records_total", "Log records that neither the index nor the dead letters took.", "reason"),
		deadLetters:    counters("dead_letters_total", "Log records that the index did not take, kept as dead letters.", "reason"),
		documentBytes:  counter("document_bytes_total", "Size of the bulk requests before compression."),
		sentBytes:      counter("sent_bytes_total", "Size of the bulk requests as sent."),
		deletedIndices: counter("deleted_indices_total", "Indices deleted after their retention."),
		setups:         counters("setups_total", "How often the server was asked what it can do and its templates were checked.", "result"),
		capability:     gauges("capability", "1 if the server was found to have it, else 0.", "capability"),
		lifecycle:      gauges("lifecycle", "1 for what begins new indices and deletes old ones, else 0.", "manager"),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_elasticsearch_last_success_timestamp_seconds", Help: "When a batch was last stored as a whole.",
		}),
	}
	for _, reason := range []string{reasonMapping, reasonTooLarge} {
		m.deadLetters.WithLabelValues(reason)
		m.refused.WithLabelValues(reason)
	}
	for _, reason := range []string{reasonNetwork, reasonOverload, reasonUnavailable, reasonTooLarge, reasonForbidden} {
		m.retried.WithLabelValues(reason)
	}
	return m
}

// show sets the gauges of what was found.
func (m *metrics) show(caps capabilities) {
	for name, has := range map[string]bool{
		"data_streams": caps.DataStreams, "wildcard": caps.Wildcard, "match_only_text": caps.MatchOnlyText,
		"flattened": caps.Flat == "flattened", "flat_object": caps.Flat == "flat_object",
	} {
		m.capability.WithLabelValues(name).Set(number(has))
	}
	for _, l := range lifecycles {
		m.lifecycle.WithLabelValues(string(l)).Set(number(caps.Lifecycle == l))
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register adds everything to reg, or nothing.
func (s *Store) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	m := s.metrics
	for _, c := range []prometheus.Collector{
		m.stored, m.repeated, m.lookedUp, m.retried, m.refused, m.deadLetters, m.documentBytes, m.sentBytes,
		m.deletedIndices, m.setups, m.capability, m.lifecycle, m.lastSuccess,
	} {
		if err := reg.Register(c); err != nil {
			s.unregister()
			return errors.Join(errors.New("register metrics of elasticsearch"), err)
		}
		s.unregisters = append(s.unregisters, func() { reg.Unregister(c) })
	}
	return nil
}

func (s *Store) unregister() {
	for _, f := range s.unregisters {
		f()
	}
	s.unregisters = nil
}
