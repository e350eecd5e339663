package elastic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// nullServer takes everything and stores nothing. It runs in this process: its
// part of the CPU time is that of reading the bodies.
func nullServer(tb testing.TB) *httptest.Server {
	tb.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"errors":false}`))
	}))
	tb.Cleanup(s.Close)
	return s
}

// benchRecords are lines of 100 to 300 bytes of 50 containers.
func benchRecords(n int) []storage.Record {
	streams := make([]*storage.Stream, 50)
	for i := range streams {
		streams[i] = &storage.Stream{Labels: labels.FromStrings(
			storage.LabelCluster, "prod", storage.LabelNode, "node-17", storage.LabelNamespace, "shop",
			storage.LabelPod, fmt.Sprintf("cart-6f7d9c5b4-%05d", i*7919), storage.LabelUID, fmt.Sprintf("0f8fad5b-d9cb-469f-a165-%012d", i*104729),
			storage.LabelContainer, "app", storage.LabelRestart, "0", storage.LabelStream, "stdout",
			storage.LabelWorkload, "cart", storage.LabelWorkloadType, "Deployment",
		)}
	}
	records := make([]storage.Record, n)
	start := time.Now().Add(time.Hour).UnixNano()
	offsets := make([]int64, len(streams))
	for i := range records {
		k := i / 40 % len(streams)
		line := fmt.Appendf(nil, `time=2026-11-27T10:%02d:%02d level=info msg="request served" method=GET path=/api/v1/items/%d status=200 duration=%dms user=%08x trace_id=%016x`,
			i/60%60, i%60, i*31%9973, i*17%401, i*2654435761, uint64(i)*11400714819323198485)
		for len(line) < 100+i*37%200 {
			line = fmt.Appendf(line, " k%d=%d", len(line), i*len(line)%100003)
		}
		records[i] = storage.Record{
			Stream: streams[k], Time: start + int64(i)*50_000, Source: storage.SourceID{byte(k), 3, 5: 9, 9: 77, 15: byte(k * 3)}, Offset: offsets[k],
			Line: line, Size: int32(len(line)), Level: storage.LevelInfo,
		}
		offsets[k] += int64(len(line)) + 45
	}
	return records
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// reportPerGiB counts a line with its 45 bytes of CRI header, as files do.
func reportPerGiB(b *testing.B, records []storage.Record, cpu time.Duration) {
	bytes := 0
	for _, r := range records {
		bytes += len(r.Line) + 45
	}
	b.SetBytes(int64(bytes))
	b.ReportMetric(cpu.Seconds()/(float64(bytes)*float64(b.N)/(1<<30)), "CPU-s/GiB")
}

func BenchmarkWrite(b *testing.B) {
	server := nullServer(b)
	s, err := New(Options{URLs: []string{server.URL}})
	require.NoError(b, err)
	defer s.Close()
	s.state.Store(&state{caps: capabilities{DataStreams: true}})
	records := benchRecords(5000)
	b.ReportAllocs()
	began := cpuTime(b)
	for b.Loop() {
		for i := range records {
			records[i].Offset += 1 << 20 // not sent before
		}
		if err := s.Write(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
	reportPerGiB(b, records, cpuTime(b)-began)
}

func BenchmarkEncode(b *testing.B) {
	records := benchRecords(5000)
	e := encoder{forms: &forms{}}
	var text []byte
	b.ReportAllocs()
	began := cpuTime(b)
	for b.Loop() {
		text = text[:0]
		for i := range records {
			text = e.append(text, &records[i])
		}
	}
	reportPerGiB(b, records, cpuTime(b)-began)
	b.ReportMetric(float64(len(text))/float64(len(records)), "B/doc")
}

func BenchmarkParseHits(b *testing.B) {
	records := benchRecords(1000)
	answer := []byte(`{"hits":{"hits":[`)
	e := encoder{forms: &forms{}}
	for i := range records {
		e.stream, e.form = records[i].Stream, e.forms.of(records[i].Stream)
		answer = fmt.Appendf(answer, `{"_index":".ds-logs","_id":"%s","_source":`, documentID(&records[i]))
		answer = e.appendDocument(answer, appendSource(nil, &records[i]), &records[i])
		answer = fmt.Appendf(answer, `,"sort":[%d]},`, i)
	}
	answer = append(answer[:len(answer)-1], `]}}`...)
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	var c streamCache
	for b.Loop() {
		n, err := c.parseHits(answer, func(hit) error { return nil })
		if err != nil || n != len(records) {
			b.Fatal(n, err)
		}
	}
}
