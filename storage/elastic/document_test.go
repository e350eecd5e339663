package elastic

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func goldenRecords() []storage.Record {
	pod := &storage.Stream{Labels: labels.FromStrings(
		storage.LabelCluster, "prod", storage.LabelNode, "node-1", storage.LabelNamespace, "shop", storage.LabelPod, "cart-1",
		storage.LabelUID, "0f8fad5b", storage.LabelContainer, "app", labelContainerID, "f00d", storage.LabelRestart, "2",
		storage.LabelStream, "stderr", storage.LabelWorkload, "cart", "app.kubernetes.io/name", `a "quoted" one`,
	)}
	file := &storage.Stream{Labels: labels.FromStrings(storage.LabelNode, "node-1", storage.LabelFilename, "/var/log/syslog")}
	none := &storage.Stream{}
	start := time.Date(2026, 11, 27, 23, 59, 59, 999_999_999, time.UTC).UnixNano()
	return []storage.Record{
		{Stream: pod, Time: start, Source: storage.SourceID{1, 15: 255}, Offset: 4711, Line: []byte("plain"), Level: storage.LevelError},
		{
			Stream: pod, Time: start + 1, Source: storage.SourceID{1, 15: 255}, Offset: 4800, Line: []byte("a\n\tb \"c\" \\ \x01 é 漢 \U0001F600"),
			Flags: storage.FlagJoined | storage.FlagRedacted, Metadata: labels.FromStrings("trace_id", "abc", "user", "bób"),
		},
		{Stream: file, Time: start + 2, Source: storage.SourceID{2}, Offset: math.MaxInt64},
		{Stream: none, Time: 0, Line: []byte("pushed")},
	}
}

func TestDocuments(t *testing.T) {
	e := encoder{forms: &forms{}}
	var got []byte
	for _, r := range goldenRecords() {
		got = e.append(got, &r)
	}
	path := filepath.Join("testdata", "documents.ndjson")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	for line := range bytes.Lines(got) {
		require.True(t, json.Valid(line), "%s", line)
	}
}

// answerOf is a search's answer with documents as the encoder writes them.
func answerOf(records ...storage.Record) []byte {
	answer := []byte(`{"took":1,"hits":{"max_score":null,"hits":[`)
	e := encoder{forms: &forms{}}
	for i := range records {
		r := &records[i]
		e.stream, e.form = r.Stream, e.forms.of(r.Stream)
		answer = fmt.Appendf(answer, `{"_index":".ds-logs","_id":"%s","_seq_no":%d,"_source":`, documentID(r), i)
		answer = e.appendDocument(answer, appendSource(nil, r), r)
		answer = fmt.Appendf(answer, `,"sort":[%d,"x"]},`, i)
	}
	return append(bytes.TrimSuffix(answer, []byte(",")), `]}}`...)
}

func requireRoundTrip(t *testing.T, records ...storage.Record) {
	t.Helper()
	var c streamCache
	var got []hit
	n, err := c.parseHits(answerOf(records...), func(h hit) error {
		got = append(got, h)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, len(records), n)
	for i, want := range records {
		r := got[i].record
		require.Equal(t, want.Stream.Labels.String(), r.Stream.Labels.String())
		require.Equal(t, want.Time, r.Time)
		require.Equal(t, want.ID(), r.ID())
		require.Equal(t, string(want.Line), string(r.Line))
		require.EqualValues(t, len(want.Line), r.Size)
		require.Equal(t, want.Level, r.Level)
		require.Equal(t, want.Flags, r.Flags)
		require.Equal(t, want.Metadata.String(), r.Metadata.String())
		require.EqualValues(t, i, got[i].seqNo)
		require.Equal(t, fmt.Sprintf(`[%d,"x"]`, i), string(got[i].sort))
	}
}

func TestDocumentsRoundTrip(t *testing.T) {
	requireRoundTrip(t, goldenRecords()...)
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("line \"x\"\n", int64(1e18+5), "name", "va\\lue", int64(7), uint8(3))
	f.Fuzz(func(t *testing.T, line string, ns int64, name, value string, offset int64, bits uint8) {
		if !utf8.ValidString(line) || !utf8.ValidString(name) || !utf8.ValidString(value) || ns < 0 || offset < 0 || value == "" {
			return // no record has these
		}
		requireRoundTrip(t, storage.Record{
			Stream: &storage.Stream{Labels: labels.FromStrings(storage.LabelPod, value, "x"+name, value)}, Time: ns, Source: storage.SourceID{bits | 1},
			Offset: offset, Line: []byte(line), Level: storage.Level(int(bits) % storage.Levels), Flags: storage.RecordFlags(bits),
			Metadata: labels.FromStrings("y"+name, value),
		})
	})
}

func TestEscape(t *testing.T) {
	for _, text := range []string{"", "plain", "12345678\"", "1234567\\x", "\x00\x1f\x7f", "é漢\U0001F600", "bad \xff\xc3 utf8 12345678", "\u2028\u2029"} {
		var got string
		require.NoError(t, json.Unmarshal(append(appendEscaped([]byte{'"'}, []byte(text)), '"'), &got))
		want := text
		if !utf8.ValidString(text) {
			want = string([]rune(text))
		}
		require.Equal(t, want, got)
	}
}

func TestTime(t *testing.T) {
	var e encoder
	for _, ns := range []int64{0, 1, 999_999_999, 1e9, -1, 1795813634000000001, math.MaxInt64} {
		text := string(e.appendTime(nil, ns))
		require.Len(t, text, len("2006-01-02T15:04:05.000000000Z"))
		got, err := parseTime(text)
		require.NoError(t, err)
		require.Equal(t, ns, got)
	}
}

func TestFormsAreBounded(t *testing.T) {
	var f forms
	for range maxForms + 10 {
		f.of(&storage.Stream{})
	}
	require.LessOrEqual(t, len(f.made), maxForms)
	var c streamCache
	for i := range maxStreams + 10 {
		c.put(fmt.Sprint(i), labels.EmptyLabels())
	}
	require.LessOrEqual(t, len(c.known), maxStreams)
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	e := encoder{forms: &forms{}}
	r := goldenRecords()[0]
	buf := e.append(nil, &r)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = e.append(buf[:0], &r) }))
}
