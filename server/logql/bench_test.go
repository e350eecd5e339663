package logql

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/go-logfmt/logfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	benchJSON   = `{"ts":"2026-11-27T10:00:00Z","level":"info","msg":"request done","method":"GET","path":"/api/v1/cart","status":200,"took":0.123,"user":{"id":4711,"name":"ann"},"tags":["a","b"]}`
	benchLogfmt = `ts=2026-11-27T10:00:00Z level=info msg="request done" method=GET path=/api/v1/cart status=200 took=123ms user=ann`
)

// cpuTime is what the process has used: wall time says little on a machine that
// others use too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// reportCPU reports the CPU time of each of lines a round.
func reportCPU(b *testing.B, before time.Duration, lines int) {
	b.Helper()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N*lines), "cpu-ns/line")
}

// BenchmarkPipeline shows what stages cost a line.
func BenchmarkPipeline(b *testing.B) {
	for _, c := range []struct{ query, line string }{
		{`{} | json`, benchJSON},
		{`{} | json | status >= 400`, benchJSON},
		{`{} | json took="took"`, benchJSON},
		{`{} | logfmt`, benchLogfmt},
		{`{} | logfmt | status >= 400`, benchLogfmt},
		{`{} | pattern "ts=<ts> level=<level> msg=\"<msg>\" <_>"`, benchLogfmt},
		{`{} | regexp "status=(?P<status>[0-9]+)"`, benchLogfmt},
		{`{} | logfmt | line_format "{{.method}} {{.path}}"`, benchLogfmt},
		{`{} | level="info" | user=""`, benchLogfmt},
	} {
		b.Run(c.query, func(b *testing.B) {
			l, err := ParseSelector(c.query)
			require.NoError(b, err)
			p, err := newPipeline(l.Stages, needAll)
			require.NoError(b, err)
			r := &storage.Record{Stream: cart, Line: []byte(c.line), Level: storage.LevelInfo}
			before := cpuTime(b)
			b.ReportAllocs()
			for b.Loop() {
				p.run(r)
			}
			reportCPU(b, before, 1)
		})
	}
}

// BenchmarkNeeded shows what it saves to extract only the labels of a result.
func BenchmarkNeeded(b *testing.B) {
	for _, c := range []struct {
		name  string
		stage Stage
		line  string
		needs needs
	}{
		{"json all", &JSONParser{}, benchJSON, needAll},
		{"json level", &JSONParser{}, benchJSON, needNames("level")},
		{"logfmt all", &LogfmtParser{}, benchLogfmt, needAll},
		{"logfmt level", &LogfmtParser{}, benchLogfmt, needNames("level")},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := newPipeline([]Stage{c.stage}, c.needs)
			require.NoError(b, err)
			r := &storage.Record{Stream: cart, Line: []byte(c.line)}
			before := cpuTime(b)
			b.ReportAllocs()
			for b.Loop() {
				p.run(r)
			}
			reportCPU(b, before, 1)
		})
	}
}

// BenchmarkQuery evaluates queries over 100,000 records of 100 streams; the
// store is a naive one, which is part of the time.
func BenchmarkQuery(b *testing.B) {
	store := benchStore{benchRecords()}
	e, err := New(Options{Store: store})
	require.NoError(b, err)
	for _, query := range []string{
		`sum by (level) (count_over_time({} [1m]))`,
		`count_over_time({} [1m])`,
		`sum by (path) (rate({} | logfmt [1m]))`,
		`quantile_over_time(0.99, {} | logfmt | unwrap duration(took) [1m]) by (pod)`,
	} {
		b.Run(query, func(b *testing.B) {
			before := cpuTime(b)
			b.ReportAllocs()
			for b.Loop() {
				_, _, err := e.Metric(b.Context(), Query{Text: query, Start: 0, End: 3600 * second, Step: 60e9})
				require.NoError(b, err)
			}
			reportCPU(b, before, len(store.records))
		})
	}
	b.Run("logs", func(b *testing.B) {
		before := cpuTime(b)
		b.ReportAllocs()
		for b.Loop() {
			_, err := e.Logs(b.Context(), Query{Text: `{} | logfmt`, End: 3600 * second, Order: storage.Ascending}, func(*Entry) error { return nil })
			require.NoError(b, err)
		}
		reportCPU(b, before, len(store.records))
	})
}

func benchRecords() []storage.Record {
	streams := make([]*storage.Stream, 100)
	for i := range streams {
		streams[i] = &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", fmt.Sprint("cart-", i), "container", "cart",
			"node", "n1", "app", "cart", "workload", "cart", "workload_type", "deployment")}
	}
	records := make([]storage.Record, 100_000)
	for i := range records {
		records[i] = storage.Record{
			Stream: streams[i%100], Time: int64(i) * second * 36 / 1000, Level: storage.LevelInfo,
			Line: fmt.Appendf(nil, `level=info msg="request done" path=/p%d status=200 took=%dms n=%d`, i%10, i%500, i),
		}
		records[i].Size = int32(len(records[i].Line))
	}
	return records
}

// BenchmarkLogfmtScanner compares nextPair with the library that it is used
// instead of.
func BenchmarkLogfmtScanner(b *testing.B) {
	line := []byte(benchLogfmt)
	b.Run("own", func(b *testing.B) {
		before := cpuTime(b)
		b.ReportAllocs()
		for b.Loop() {
			for p, rest := nextPair(line); p.key != nil; p, rest = nextPair(rest) {
			}
		}
		reportCPU(b, before, 1)
	})
	b.Run("library", func(b *testing.B) {
		reader := bytes.NewReader(line)
		before := cpuTime(b)
		b.ReportAllocs()
		for b.Loop() {
			reader.Reset(line)
			d := logfmt.NewDecoder(reader)
			for d.ScanRecord() {
				for d.ScanKeyval() {
				}
			}
		}
		reportCPU(b, before, 1)
	})
}
