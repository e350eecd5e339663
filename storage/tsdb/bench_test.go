package tsdb

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	upstream "github.com/prometheus/prometheus/storage"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
)

// What the collector sends: 45 series a container, all containers in a batch.
const (
	benchContainers = 200
	benchSeries     = 45
)

func containerSeries() []*storage.Series {
	var out []*storage.Series
	for m := range benchSeries {
		f := &storage.Family{Name: fmt.Sprintf("container_metric_%d_total", m), Type: model.MetricTypeCounter}
		for c := range benchContainers {
			out = append(out, &storage.Series{Family: f, Labels: labels.FromStrings(model.MetricNameLabel, f.Name,
				"container", "app", "namespace", fmt.Sprintf("team-%d", c%10), "pod", fmt.Sprintf("app-7d4b9c-%d", c),
				"id", fmt.Sprintf("/kubepods/burstable/pod%032x/%064x", c, c), "image", "registry.example.org/team/app:v1.2.3",
				"name", fmt.Sprintf("%064x", c), "node", "node-1")})
		}
	}
	return out
}

// advance moves the batch to its next tick; three of four values change.
func advance(batch []storage.Sample) {
	for i := range batch {
		batch[i].T += 1000
		if i%4 != 0 {
			batch[i].V += float64(i%977) + 0.5
		}
	}
}

// BenchmarkAppend compares our path with upstream's own appenders on the same
// samples, references cached in both. cpu-ns/container, of the whole process
// with its garbage collection and compaction, is the figure of the budget.
func BenchmarkAppend(b *testing.B) {
	ctx := context.Background()
	run := func(b *testing.B, db *DB, tick func([]storage.Sample)) {
		// Begin in the past: samples far in the future are refused.
		batch := samples(containerSeries(), time.Now().Add(-1000*time.Hour).UnixMilli())
		tick(batch)
		b.ReportAllocs()
		b.ResetTimer()
		cpu := cpuTime(b)
		for range b.N {
			advance(batch)
			tick(batch)
		}
		b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N)/benchContainers, "cpu-ns/container")
	}
	b.Run("ours", func(b *testing.B) {
		db := open(b, Options{Dir: b.TempDir()})
		run(b, db, func(batch []storage.Sample) { require.NoError(b, db.Append(ctx, batch)) })
	})
	b.Run("upstream", func(b *testing.B) {
		db := open(b, Options{Dir: b.TempDir()})
		run(b, db, func(batch []storage.Sample) {
			app := current(db).Appender(ctx)
			for i := range batch {
				s := &batch[i]
				ref, err := app.Append(upstream.SeriesRef(s.Series.Ref), s.Series.Labels, s.T, s.V)
				if err != nil {
					b.Fatal(err)
				}
				s.Series.Ref = uint64(ref)
			}
			require.NoError(b, app.Commit())
		})
	})
	b.Run("upstreamV2", func(b *testing.B) {
		db := open(b, Options{Dir: b.TempDir()})
		run(b, db, func(batch []storage.Sample) {
			app := current(db).AppenderV2(ctx)
			for i := range batch {
				s := &batch[i]
				ref, err := app.Append(upstream.SeriesRef(s.Series.Ref), s.Series.Labels, 0, s.T, s.V, nil, nil, upstream.AOptions{})
				if err != nil {
					b.Fatal(err)
				}
				s.Series.Ref = uint64(ref)
			}
			require.NoError(b, app.Commit())
		})
	})
}

// BenchmarkWALCompression shows what walCompression is chosen by.
func BenchmarkWALCompression(b *testing.B) {
	for _, c := range []compression.Type{compression.None, compression.Snappy, compression.Zstd} {
		b.Run(c, func(b *testing.B) {
			o := upstreamtsdb.DefaultOptions()
			o.WALCompression = c
			dir := b.TempDir()
			db, err := upstreamtsdb.Open(dir, nil, nil, o, nil)
			require.NoError(b, err)
			defer db.Close()
			db.DisableCompactions()
			batch := samples(containerSeries(), minuteAgo())
			b.ResetTimer()
			for range b.N {
				advance(batch)
				app := db.Appender(context.Background())
				for i := range batch {
					s := &batch[i]
					ref, err := app.Append(upstream.SeriesRef(s.Series.Ref), s.Series.Labels, s.T, s.V)
					if err != nil {
						b.Fatal(err)
					}
					s.Series.Ref = uint64(ref)
				}
				require.NoError(b, app.Commit())
			}
			b.StopTimer()
			b.ReportMetric(float64(folderBytes(b, filepath.Join(dir, walName)))/float64(b.N)/float64(len(batch)), "bytes/sample")
		})
	}
}

func folderBytes(t testing.TB, dir string) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		n += info.Size()
		return err
	}))
	return n
}

// BenchmarkOpen opens a folder with one hour of 9,000 series at 5 s in its log,
// as after a crash; verify is the part that reads the log before upstream does.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	db, err := Open(context.Background(), Options{Dir: dir})
	require.NoError(b, err)
	batch := samples(containerSeries(), time.Now().Add(-time.Hour).UnixMilli())
	for range 720 {
		for i := range batch {
			batch[i].T += 5000
			batch[i].V += float64(i % 7)
		}
		require.NoError(b, db.Append(context.Background(), batch))
	}
	require.NoError(b, db.Close())
	b.Logf("log: %d MiB", folderBytes(b, filepath.Join(dir, walName))>>20)
	b.Run("all", func(b *testing.B) {
		for range b.N {
			db, err := Open(context.Background(), Options{Dir: dir})
			require.NoError(b, err)
			require.NoError(b, db.Close())
		}
	})
	b.Run("verify", func(b *testing.B) {
		db, err := New(Options{Dir: dir})
		require.NoError(b, err)
		for range b.N {
			require.NoError(b, db.recoverLogs())
		}
	})
}

// BenchmarkEmpty shows what an empty store keeps in memory.
func BenchmarkEmpty(b *testing.B) {
	var before, after runtime.MemStats
	for range b.N {
		runtime.GC()
		runtime.ReadMemStats(&before)
		rss := residentBytes(b)
		db, err := Open(context.Background(), Options{Dir: b.TempDir()})
		require.NoError(b, err)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapInuse)-int64(before.HeapInuse))/mib, "heap-MiB")
		b.ReportMetric(float64(residentBytes(b)-rss)/mib, "RSS-MiB")
		require.NoError(b, db.Close())
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func residentBytes(b *testing.B) int {
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(b, err)
	var size, resident int
	_, err = fmt.Sscan(string(text), &size, &resident)
	require.NoError(b, err, strconv.Quote(string(text)))
	return resident * os.Getpagesize()
}
