package remote

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// BenchmarkAppend appends the samples of 500 containers with 45 series each:
// what an agent does once per tick.
func BenchmarkAppend(b *testing.B) {
	const containers = 500
	q, err := Open(Options{Dir: b.TempDir(), MaxBytes: 64 << 20, Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	require.NoError(b, err)
	defer q.Close()
	series := containerSeries(containers)
	batch := make([]storage.Sample, len(series))
	fill := func(tick int) {
		for i, s := range series {
			batch[i] = storage.Sample{Series: s, T: 1_700_000_000_000 + int64(tick)*1000, V: float64(tick*i%1000) * 0.37}
		}
	}
	fill(0)
	require.NoError(b, q.Append(b.Context(), batch))
	before := q.buffer.bytes()
	fill(1)
	require.NoError(b, q.Append(b.Context(), batch))
	perSample := float64(q.buffer.bytes()-before) / float64(len(batch))
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		if err := q.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "samples/s")
	b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N)/containers, "cpu-µs/container")
	b.ReportMetric(perSample, "B/sample")
}

// cpuTime is what this process has used: on a busy machine it says more than
// the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCatchUp sends entries of different sizes to a receiver that does
// nothing: the speed at which a backlog can go at most.
func BenchmarkCatchUp(b *testing.B) {
	for _, containers := range []int{1, 10, 100} {
		for _, version := range []string{"v2", "v1"} {
			b.Run(fmt.Sprintf("containers=%d/%s", containers, version), func(b *testing.B) {
				benchmarkCatchUp(b, containers, version == "v2")
			})
		}
	}
}

func benchmarkCatchUp(b *testing.B, containers int, v2 bool) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if v2 {
			remote.WriteResponseStats{Samples: containers * 45}.SetHeaders(w)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	f := openQueue(b, Options{MaxBytes: 4 << 30, Endpoints: []Endpoint{{URL: srv.URL}}})
	series := containerSeries(containers)
	batch := make([]storage.Sample, len(series))
	for tick := range b.N {
		for i, s := range series {
			batch[i] = storage.Sample{Series: s, T: 1_700_000_000_000 + int64(tick)*1000, V: float64(tick*i%1000) * 0.37}
		}
		require.NoError(b, f.Append(b.Context(), batch))
	}
	b.ReportAllocs()
	b.ResetTimer()
	stop := f.start(b)
	eventually(b, func() bool { return f.buffer.pending(f.buffer.cursors[0]) == 0 })
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "samples/s")
}
