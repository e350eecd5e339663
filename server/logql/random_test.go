package logql

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// overTime are range aggregations done the plain way.
var overTime = map[string]func(values []float64, seconds float64) float64{
	opCountOverTime: func(v []float64, _ float64) float64 { return float64(len(v)) },
	opSumOverTime:   func(v []float64, _ float64) float64 { return sumOf(v) },
	opRate:          func(v []float64, s float64) float64 { return sumOf(v) / s },
	opAvgOverTime:   func(v []float64, _ float64) float64 { return sumOf(v) / float64(len(v)) },
	opMinOverTime:   func(v []float64, _ float64) float64 { return slices.Min(v) },
	opMaxOverTime:   func(v []float64, _ float64) float64 { return slices.Max(v) },
	opFirstOverTime: func(v []float64, _ float64) float64 { return v[0] },
	opLastOverTime:  func(v []float64, _ float64) float64 { return v[len(v)-1] },
	opStdvarOverTime: func(v []float64, _ float64) float64 {
		mean, sum := sumOf(v)/float64(len(v)), 0.0
		for _, x := range v {
			sum += (x - mean) * (x - mean)
		}
		return sum / float64(len(v))
	},
	opQuantileOverTime: func(v []float64, _ float64) float64 {
		v = slices.Sorted(slices.Values(v))
		rank := 0.3 * float64(len(v)-1)
		low := int(rank)
		high := min(low+1, len(v)-1)
		return v[low] + (v[high]-v[low])*(rank-float64(low))
	},
}

func sumOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum
}

// TestRandomRanges compares windows of random ranges, steps and offsets with
// what the plain way gives, with and without a store that counts.
func TestRandomRanges(t *testing.T) {
	ops := slices.Sorted(func(yield func(string) bool) {
		for op := range overTime {
			if !yield(op) {
				return
			}
		}
	})
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		op := ops[rnd.IntN(len(ops))]
		records := randomRecords(rnd)
		store := storagetest.NewMemory()
		require.NoError(t, store.Write(t.Context(), records))
		opts := Options{Store: store}
		if seed%2 == 0 {
			opts.Store = struct{ storage.LogStore }{store}
		}
		e, err := New(opts)
		require.NoError(t, err)
		width := time.Duration(1+rnd.IntN(100)) * time.Second / time.Duration(1+rnd.IntN(3))
		width = width.Truncate(time.Millisecond)
		offset := time.Duration(rnd.IntN(3)*7) * time.Second
		q := Query{
			Start: rnd.Int64N(100) * second, Step: time.Duration(1+rnd.IntN(60)) * time.Second,
			Text: randomQuery(op, width, offset),
		}
		q.End = q.Start + rnd.Int64N(200)*second
		if rnd.IntN(4) == 0 {
			q.Step = 0
		}
		got, _, err := e.Metric(t.Context(), q)
		require.NoError(t, err, q.Text)
		requireWindows(t, q, got, func(end int64) (float64, bool) {
			var values []float64
			for i := range records {
				end := end - int64(offset)
				if at := records[i].Time; at > end-int64(width) && at <= end {
					values = append(values, float64(records[i].Offset))
				}
			}
			if len(values) == 0 {
				return 0, false
			}
			return overTime[op](values, width.Seconds()), true
		})
	}
}

func randomRecords(rnd *rand.Rand) []storage.Record {
	records := make([]storage.Record, 1+rnd.IntN(80))
	at := int64(0)
	for i := range records {
		at += rnd.Int64N(6) * second / 2
		records[i] = storage.Record{
			Stream: &storage.Stream{Labels: labels.FromStrings("pod", "a")}, Time: at, Source: storage.SourceID{1}, Offset: int64(i),
			Line: fmt.Appendf(nil, "n=%d", i),
		}
	}
	return records
}

func randomQuery(op string, width, offset time.Duration) string {
	if op == opCountOverTime {
		return fmt.Sprintf("sum(count_over_time({}[%s] offset %s))", width, offset)
	}
	param, by := "", " by ()"
	switch op {
	case opQuantileOverTime:
		param = "0.3, "
	case opSumOverTime, opRate:
		by = ""
	}
	text := fmt.Sprintf("%s(%s{} | logfmt | unwrap n [%s] offset %s)%s", op, param, width, offset, by)
	if by == "" {
		text = "sum(" + text + ")"
	}
	return text
}

func requireWindows(t *testing.T, q Query, got any, want func(end int64) (float64, bool)) {
	t.Helper()
	points := map[int64]float64{}
	switch v := got.(type) {
	case promql.Matrix:
		require.LessOrEqual(t, len(v), 1, q.Text)
		for _, s := range v {
			for _, p := range s.Floats {
				points[p.T] = p.F
			}
		}
	case promql.Vector:
		require.LessOrEqual(t, len(v), 1, q.Text)
		for _, s := range v {
			points[s.T] = s.F
		}
	}
	start, step := q.Start, int64(q.Step)
	if step == 0 {
		start, step = q.End, 1
	}
	for end := start; end <= q.End; end += step {
		w, ok := want(end)
		g, there := points[toMillis(end)]
		require.Equal(t, ok, there, "%s at %d", q.Text, end)
		require.LessOrEqual(t, math.Abs(w-g), 1e-9*max(1, math.Abs(w)), "%s at %d: want %v, got %v", q.Text, end, w, g)
	}
}
