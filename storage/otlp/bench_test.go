package otlp

import (
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

// cpuTime is that of the process.
func cpuTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}

// benchRecords are a megabyte of lines of ten containers, as a lane of a
// shipper puts them together.
func benchRecords() (records []storage.Record, raw int) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for c := range 10 {
		container := corpus.Container{Number: c}
		var streams [2]*storage.Stream
		for i, name := range []string{"stdout", "stderr"} {
			streams[i] = &storage.Stream{Labels: labels.FromStrings(
				storage.LabelCluster, "production", storage.LabelNode, "node-17.example.internal", storage.LabelNamespace, container.Namespace(),
				storage.LabelPod, container.Pod(), storage.LabelUID, container.UID(), storage.LabelContainer, container.Name(),
				storage.LabelRestart, "0", storage.LabelStream, name, storage.LabelWorkload, "workload", storage.LabelWorkloadType, "deployment",
			)}
		}
		offset := int64(123456789)
		for n := range int64(500) {
			which := 0
			if n%20 == 19 {
				which = 1
			}
			at = at.Add(time.Duration(n*7919%999983) * time.Microsecond / 1000)
			line := container.Shape.AppendText(nil, c, n)
			cri := len(container.AppendCRI(nil, n, at))
			records = append(records, storage.Record{
				Stream: streams[which], Time: at.UnixNano(), Source: storage.SourceID{byte(c), byte(which), 7, 8, 9}, Offset: offset,
				Line: line, Level: storage.DetectLevel(line),
			})
			offset += int64(cri)
			raw += cri
		}
	}
	return records, raw
}

func BenchmarkEncode(b *testing.B) {
	records, raw := benchRecords()
	body := Encode(nil, records)
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		body = Encode(body[:0], records)
	}
	reportCPU(b, start, raw)
	b.ReportMetric(float64(len(body))/float64(raw), "out/raw")
}

// BenchmarkCompress is why codings has its order.
func BenchmarkCompress(b *testing.B) {
	records, raw := benchRecords()
	body := Encode(nil, records)
	for _, c := range append([]coding{{"s2", packS2}}, codings[:]...) {
		b.Run(c.name, func(b *testing.B) {
			packed := c.pack(nil, body)
			b.SetBytes(int64(raw))
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				packed = c.pack(packed[:0], body)
			}
			reportCPU(b, start, raw)
			b.ReportMetric(float64(len(packed))/float64(raw), "out/raw")
		})
	}
}

func packS2(dst, src []byte) []byte { return s2.Encode(dst[:cap(dst)], src) }

func BenchmarkDecode(b *testing.B) {
	records, raw := benchRecords()
	body := Encode(nil, records)
	options := DecodeOptions{Streams: NewStreams(100)}
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		if _, err := Decode(body, options); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, start, raw)
}

func reportCPU(b *testing.B, start time.Duration, raw int) {
	b.ReportMetric((cpuTime()-start).Seconds()/float64(b.N)/float64(raw)*(1<<30), "CPU-s/GiB")
}
