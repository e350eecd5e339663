package logdb

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a DB.
type metrics struct {
	records     prometheus.Counter
	bytes       prometheus.Counter
	duplicates  prometheus.Counter
	refused     *prometheus.CounterVec
	writeErrors prometheus.Counter
	forgotten   prometheus.Counter

	cuts         *prometheus.CounterVec
	merges       *prometheus.CounterVec
	mergedBytes  prometheus.Counter
	dropped      *prometheus.CounterVec
	droppedBytes *prometheus.CounterVec
	corrupt      *prometheus.CounterVec
	walDamage    prometheus.Counter
	replayed     prometheus.Counter

	queries       *prometheus.CounterVec
	queryBytes    prometheus.Counter
	queryBlocks   prometheus.Counter
	blocksSkipped prometheus.Counter
	tailDropped   prometheus.Counter

	full prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "binnacle_logdb_" + name, Help: help})
	}
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "binnacle_logdb_" + name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	return &metrics{
		records:     counter("records_total", "Log records stored."),
		bytes:       counter("record_bytes_total", "Bytes of text of the records stored."),
		duplicates:  counter("duplicate_records_total", "Log records that were stored already."),
		refused:     vec("refused_records_total", "Log records refused for good.", "reason", reasonTooOld, reasonFuture, reasonTooLarge),
		writeErrors: counter("write_errors_total", "Writes to the write-ahead log that failed."),
		forgotten:   counter("forgotten_sources_total", "Idle sources forgotten for want of room: their records would be stored again."),

		cuts:         vec("cuts_total", "Head parts written to segments.", "result", "ok", "failed"),
		merges:       vec("merges_total", "Merges of segments.", "result", "ok", "failed"),
		mergedBytes:  counter("merged_bytes_total", "Bytes of segments that were merged or rewritten."),
		dropped:      vec("dropped_segments_total", "Segments removed by retention.", "reason", dropTime, dropBytes),
		droppedBytes: vec("dropped_bytes_total", "Bytes of segments and blocks removed by retention.", "reason", dropTime, dropBytes),
		corrupt: vec("corrupt_total", "Damaged parts of files: blocks are skipped, segments set aside, skip indexes done without.",
			"part", "block", "segment", "skip_index"),
		walDamage: counter("wal_truncated_bytes_total", "Bytes behind the last whole frame of a write-ahead log, dropped."),
		replayed:  counter("wal_replayed_records_total", "Records read from the write-ahead log when opening."),

		queries:       vec("queries_total", "Queries by kind.", "kind", "select", "count", "streams", "tail"),
		queryBytes:    counter("query_bytes_total", "Bytes of text that queries looked at."),
		queryBlocks:   counter("query_blocks_total", "Blocks that could have matched a query by stream, time and level."),
		blocksSkipped: counter("query_blocks_skipped_total", "Those of them that the skip index ruled out."),
		tailDropped:   counter("tail_dropped_records_total", "Records that live tails left out because their reader was too slow."),

		full: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_logdb_refusing", Help: "1 while no records are taken, because the disk is full or cannot be written.",
		}),
	}
}

// register adds everything to reg, or nothing.
func (db *DB) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	m := db.metrics
	for _, c := range []prometheus.Collector{
		m.records, m.bytes, m.duplicates, m.refused, m.writeErrors, m.forgotten, m.cuts, m.merges, m.mergedBytes, m.dropped,
		m.droppedBytes, m.corrupt, m.walDamage, m.replayed, m.queries, m.queryBytes, m.queryBlocks, m.blocksSkipped,
		m.tailDropped, m.full, &stateCollector{db},
	} {
		if err := reg.Register(c); err != nil {
			db.unregister()
			return errors.Join(errors.New("logdb: register metrics"), err)
		}
		db.unregisters = append(db.unregisters, func() { reg.Unregister(c) })
	}
	return nil
}

func (db *DB) unregister() {
	for _, f := range db.unregisters {
		f()
	}
	db.unregisters = nil
}

// stateCollector reports what is computed when asked.
type stateCollector struct{ db *DB }

var (
	descHead     = prometheus.NewDesc("binnacle_logdb_head_bytes", "Memory of records that are not in a segment yet.", nil, nil)
	descSegments = prometheus.NewDesc("binnacle_logdb_segments", "Segments on disk.", nil, nil)
	descBlocks   = prometheus.NewDesc("binnacle_logdb_blocks", "Blocks of all segments.", nil, nil)
	descDisk     = prometheus.NewDesc("binnacle_logdb_disk_bytes", "Size of segments and write-ahead logs.", nil, nil)
	descText     = prometheus.NewDesc("binnacle_logdb_text_bytes", "Uncompressed text in the segments.", nil, nil)
	descStreams  = prometheus.NewDesc("binnacle_logdb_streams", "Streams that have records.", nil, nil)
	descTails    = prometheus.NewDesc("binnacle_logdb_tails", "Live tails.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHead, descSegments, descBlocks, descDisk, descText, descStreams, descTails} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.db.State()
	for d, v := range map[*prometheus.Desc]float64{
		descHead: float64(s.HeadBytes), descSegments: float64(s.Segments), descBlocks: float64(s.Blocks),
		descDisk: float64(s.DiskBytes), descText: float64(s.TextBytes), descStreams: float64(s.Streams), descTails: float64(s.Tails),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
