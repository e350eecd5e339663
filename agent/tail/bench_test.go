package tail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// cpuTime is the processor time that this process has used: wall-clock time
// says little on a machine with other load.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchMessages are of the formats that containers log in.
var benchMessages = []string{
	`time="2026-11-27T12:00:00Z" level=info msg="request served" path=/api/v1/cart status=200 took=12.5ms trace=%016x user=%d`,
	`{"level":"warn","ts":1764244800.123,"caller":"http/server.go:88","msg":"slow request","path":"/cart/%x","status":200,"user":%d}`,
	`2026-11-27 12:00:00,123 [http-nio-8080-exec-7] ERROR com.shop.cart.CartService - cannot load cart %x for user %d: timeout`,
	`10.0.0.1 - - [27/Nov/2026:12:00:00 +0000] "GET /api/v1/cart/%x HTTP/1.1" 200 1234 "-" "curl/8.5.0" 0.012 user-%d upstream=10.2.3.4:8080`,
	`I1127 12:00:00.123456       1 reflector.go:138] listing and watching carts, resource version %x, %d of them are known`,
}

// writeBenchLog writes about size bytes of lines of 100 to 300 bytes, 1 % of
// them in two parts.
func writeBenchLog(b *testing.B, path string, size int) (lines int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	for i := 0; buf.Len() < size; i++ {
		text := fmt.Sprintf(benchMessages[rnd.IntN(len(benchMessages))], rnd.Uint64(), rnd.IntN(100000))
		if i%100 == 0 {
			buf.WriteString(criText(i, "stdout", "P", text))
			lines++
		}
		buf.WriteString(criText(i, "stdout", "F", text))
		lines++
	}
	require.NoError(b, os.WriteFile(path, buf.Bytes(), 0o644))
	return lines
}

// BenchmarkFloor reads, splits, and parses header and time: less cannot be done.
func BenchmarkFloor(b *testing.B) {
	path := filepath.Join(b.TempDir(), "0.log")
	const size = 64 << 20
	writeBenchLog(b, path, size)
	buf := make([]byte, chunkBytes)
	start := cpuTime(b)
	for b.Loop() {
		f, err := os.Open(path)
		require.NoError(b, err)
		floor(b, f, buf)
		f.Close()
	}
	b.ReportMetric((cpuTime(b)-start).Seconds()/float64(b.N)*(1<<30)/size, "cpu-s/GiB")
}

func floor(b *testing.B, f *os.File, buf []byte) {
	var c clock
	have := 0
	for {
		n, err := f.Read(buf[have:])
		if err == io.EOF {
			return
		}
		require.NoError(b, err)
		data := buf[:have+n]
		for {
			i := bytes.IndexByte(data, '\n')
			if i < 0 {
				break
			}
			if _, reason := parseCRI(&c, data[:i]); reason != "" {
				b.Fatal(reason)
			}
			data = data[i+1:]
		}
		have = copy(buf, data)
	}
}

// BenchmarkTail reads the same bytes by a whole Tailer into nothing.
func BenchmarkTail(b *testing.B) {
	dir := b.TempDir()
	const size, files = 64 << 20, 16
	want := 0
	for i := range files {
		folder := filepath.Join(dir, "pods", fmt.Sprintf("shop_cart-%d_u", i), "app")
		require.NoError(b, os.MkdirAll(folder, 0o755))
		want += writeBenchLog(b, filepath.Join(folder, "0.log"), size/files)
	}
	start := cpuTime(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var lines atomic.Int64
		ctx, cancel := context.WithCancel(context.Background())
		t, err := New(Options{
			PodLogs: []string{filepath.Join(dir, "pods")}, PositionsFile: filepath.Join(dir, fmt.Sprint("p", i)),
			Push: func(_ context.Context, d storage.Delivery) error {
				if lines.Add(int64(len(d.Records))) >= int64(want-want/100-files) {
					cancel()
				}
				d.Done()
				return nil
			},
		})
		require.NoError(b, err)
		require.NoError(b, t.Run(ctx))
		cancel()
	}
	b.ReportMetric((cpuTime(b)-start).Seconds()/float64(b.N)*(1<<30)/size, "cpu-s/GiB")
}

// BenchmarkLatency measures from a line's writing to its delivery, each line
// after the one before was delivered.
func BenchmarkLatency(b *testing.B) {
	dir := b.TempDir()
	folder := filepath.Join(dir, "pods", "shop_cart_u", "app")
	require.NoError(b, os.MkdirAll(folder, 0o755))
	f, err := os.Create(filepath.Join(folder, "0.log"))
	require.NoError(b, err)
	defer f.Close()
	seen := make(chan struct{}, 16)
	t, err := New(Options{
		PodLogs: []string{filepath.Join(dir, "pods")}, PositionsFile: filepath.Join(dir, "p"),
		Push: func(_ context.Context, d storage.Delivery) error { seen <- struct{}{}; d.Done(); return nil },
	})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- t.Run(ctx) }()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		_, err := f.WriteString(criText(i, "stdout", "F", "line"))
		require.NoError(b, err)
		<-seen
		took = append(took, time.Since(start))
		time.Sleep(30 * time.Millisecond) // the file is idle again
	}
	cancel()
	require.NoError(b, <-done)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
