package loki

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

func TestAppendPoint(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]float64{
		`[1767322800.123,"1.5"]`: 1.5, `[1767322800.123,"+Inf"]`: math.Inf(1), `[1767322800.123,"-Inf"]`: math.Inf(-1), `[1767322800.123,"NaN"]`: math.NaN(),
		`[1767322800.123,"1000000000000000000000"]`: 1e21,
	} {
		require.Equal(t, want, string(appendPoint(nil, 1767322800123, v)))
	}
	require.Equal(t, `[1767322800,"0"]`, string(appendPoint(nil, 1767322800000, 0)))
}

// FuzzAppendString holds the writer against encoding/json.
func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\n\r\t\b\x00\x1f\x7f é \xff\xc3 \u2028 <&>")
	f.Fuzz(func(t *testing.T, text string) {
		got := appendString(nil, text)
		var back string
		require.NoError(t, json.Unmarshal(got, &back))
		plain, err := json.Marshal(text)
		require.NoError(t, err)
		var want string
		require.NoError(t, json.Unmarshal(plain, &want))
		require.Equal(t, want, back)
		require.Equal(t, got, appendString(nil, []byte(text)))
	})
}

func TestLabelsCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c labelsCache
	for i := range 3 * maxEncoded {
		l := labels.FromStrings("n", fmt.Sprint(i%(maxEncoded+10)), "q", `"`)
		require.Equal(t, string(appendLabels(nil, l)), string(c.append(nil, l)))
		require.LessOrEqual(t, len(c.known), maxEncoded)
	}
	require.Equal(t, "{}", string(c.append(nil, labels.EmptyLabels())))
}

func TestAppendID(t *testing.T) {
	t.Parallel()
	id := storage.RecordID{Source: storage.SourceID{1, 2, 255}, Offset: 1 << 40}
	require.Equal(t, id.String(), string(appendID(nil, id)))
}

func benchmarkEntry() *logql.Entry {
	line := []byte(strings.Repeat("GET /api/v1/items?id=42 \"agent\" 200 ", 5))
	stream := labels.FromStrings("namespace", "shop", "pod", "cart-7d9f8c6b5d-x2x4k", "container", "app", "restart", "0", "stream", "stderr", "node", "n1")
	return &logql.Entry{
		Time: epoch.UnixNano(), Line: line, Stream: stream, Labels: stream, Metadata: labels.FromStrings("level", "info"),
		Record: &storage.Record{Source: storage.SourceID{1}, Offset: 42},
	}
}

func BenchmarkAppendLine(b *testing.B) {
	e := benchmarkEntry()
	var l lineWriter
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = l.appendLine(buf[:0], e)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkStreamSet(b *testing.B) {
	e := benchmarkEntry()
	set := newStreamSet(nil, math.MaxInt)
	b.ReportAllocs()
	for b.Loop() {
		if set.bytes > 1<<20 {
			set = newStreamSet(nil, math.MaxInt)
		}
		if err := set.add(e); err != nil {
			b.Fatal(err)
		}
	}
}
