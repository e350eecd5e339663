package logdb

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

// benchBytes of text are written by benchmarks.
const benchBytes = 64 * mib

// mixedBatches makes the batches of a corpus.
func mixedBatches(bytes int64) [][]storage.Record {
	m := corpus.NewMixed(200, bytes, time.Now().Add(-5*time.Hour), 4*time.Hour)
	var out [][]storage.Record
	for {
		batch := make([]storage.Record, 1000)
		n := m.Next(batch)
		if n == 0 {
			return out
		}
		for i := range batch[:n] {
			batch[i].Line = append([]byte{}, batch[i].Line...)
		}
		out = append(out, batch[:n])
	}
}

// BenchmarkWrite writes a corpus, the segments included.
func BenchmarkWrite(b *testing.B) {
	batches := mixedBatches(benchBytes)
	lines := 0
	for _, batch := range batches {
		lines += len(batch)
	}
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		db := open(b, Options{})
		for _, batch := range batches {
			require.NoError(b, db.Write(b.Context(), batch))
		}
		require.NoError(b, db.Close())
	}
	b.ReportMetric(float64(lines), "lines/op")
}

func BenchmarkSelect(b *testing.B) {
	db := open(b, Options{})
	for _, batch := range mixedBatches(benchBytes) {
		require.NoError(b, db.Write(b.Context(), batch))
	}
	contains := func(text string, isRegexp bool) []*storage.LineMatcher {
		m, err := storage.NewLineMatcher(false, storage.LinePattern{Text: text, Regexp: isRegexp})
		require.NoError(b, err)
		return []*storage.LineMatcher{m}
	}
	shop := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "namespace", "shop")}
	for _, c := range []struct {
		name string
		q    storage.LogQuery
	}{
		{"needle", storage.LogQuery{Lines: contains(corpus.Needle[3:10], false), Order: storage.Descending, Limit: 100}},
		{"regexp", storage.LogQuery{Matchers: shop, Lines: contains("refused|deadlock", true), Order: storage.Descending, Limit: 1000}},
		{"latest 100", storage.LogQuery{Order: storage.Descending, Limit: 100}},
		{"all in order", storage.LogQuery{Order: storage.Ascending}},
	} {
		c.q.End = time.Now().UnixNano()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				it, err := db.Select(b.Context(), c.q)
				require.NoError(b, err)
				n := 0
				for err == nil {
					var records []storage.Record
					records, err = it.Next()
					n += len(records)
				}
				require.True(b, errors.Is(err, io.EOF))
				require.NoError(b, it.Close())
				require.NotZero(b, n)
			}
		})
	}
}

func BenchmarkCount(b *testing.B) {
	db := open(b, Options{})
	for _, batch := range mixedBatches(benchBytes) {
		require.NoError(b, db.Write(b.Context(), batch))
	}
	now := time.Now()
	for b.Loop() {
		counts, _, err := db.Count(b.Context(), storage.LogQuery{Start: now.Add(-6 * time.Hour).UnixNano(), End: now.UnixNano()}, int64(time.Minute), []string{"level"})
		require.NoError(b, err)
		require.NotEmpty(b, counts)
	}
}
