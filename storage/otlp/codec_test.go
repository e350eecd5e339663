package otlp

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
)

var update = flag.Bool("update", false, "write golden files")

func podStream(pod, output string) *storage.Stream {
	return &storage.Stream{Labels: labels.FromStrings(
		storage.LabelCluster, "c1", storage.LabelNode, "n1", storage.LabelNamespace, "shop", storage.LabelPod, pod,
		storage.LabelUID, "b1f9", storage.LabelContainer, "main", storage.LabelRestart, "3", storage.LabelStream, output,
		storage.LabelWorkload, "cart", storage.LabelWorkloadType, "deployment", "app", "cart",
	)}
}

// sampleRecords have everything that a record can have, stdout and stderr
// alternating.
func sampleRecords() []storage.Record {
	out, errs := podStream("cart-1", "stdout"), podStream("cart-1", "stderr")
	file := &storage.Stream{Labels: labels.FromStrings(storage.LabelFilename, "/var/log/syslog", storage.LabelRestart, "007")}
	none := &storage.Stream{Labels: labels.EmptyLabels()}
	a, b, c := storage.SourceID{1, 2, 3}, storage.SourceID{4}, storage.SourceID{0xff, 15: 0xee}
	return []storage.Record{
		{Stream: out, Source: a, Offset: 0, Time: 1, Line: []byte("first"), Level: storage.LevelInfo},
		{Stream: errs, Source: b, Offset: 51, Time: 2, Line: []byte("äöü\nsecond line"), Level: storage.LevelFatal, Flags: storage.FlagJoined},
		{Stream: out, Source: a, Offset: 1 << 40, Time: 1 << 62, Line: []byte("")},
		{Stream: errs, Source: b, Offset: 99, Time: -5, Line: []byte("x"), Level: storage.LevelTrace, Flags: storage.FlagRedacted | storage.FlagShed},
		{Stream: out, Source: c, Offset: 7, Time: 3, Line: []byte("the next generation"), Metadata: labels.FromStrings("trace_id", "abc", "with.dot", "1")},
		{Stream: file, Source: c, Offset: 9, Time: 0, Line: bytes.Repeat([]byte("long "), 300_000), Level: storage.LevelWarn},
		{Stream: none, Time: 4, Line: []byte("without a source")},
	}
}

// requireSame compares the records of each stream, in order.
func requireSame(t *testing.T, want, got []storage.Record) {
	t.Helper()
	require.Len(t, got, len(want))
	byStream := func(all []storage.Record) map[string][]storage.Record {
		m := map[string][]storage.Record{}
		for _, r := range all {
			key := r.Stream.Labels.String() + string(r.Source[:])
			r.Stream, r.Size = nil, 0
			if len(r.Line) == 0 {
				r.Line = nil
			}
			m[key] = append(m[key], r)
		}
		return m
	}
	require.Equal(t, byStream(want), byStream(got))
}

func TestOurRecordsComeBack(t *testing.T) {
	want := sampleRecords()
	body := Encode([]byte("before"), want)
	require.Equal(t, "before", string(body[:6]))
	got, err := Decode(body[6:], DecodeOptions{Now: 77})
	require.NoError(t, err)
	require.Zero(t, got.Replaced+got.Truncated)
	requireSame(t, want, got.Records)

	// The protocol's own implementation reads it, and what it writes is read.
	logs, err := new(plog.ProtoUnmarshaler).UnmarshalLogs(body[6:])
	require.NoError(t, err)
	require.Equal(t, len(want), logs.LogRecordCount())
	attributes := logs.ResourceLogs().At(0).Resource().Attributes()
	restart, _ := attributes.Get("k8s.container.restart_count")
	require.EqualValues(t, 3, restart.Int())
	json, err := new(plog.JSONMarshaler).MarshalLogs(logs)
	require.NoError(t, err)
	got, err = DecodeJSON(json, DecodeOptions{})
	require.NoError(t, err)
	requireSame(t, want, got.Records)
}

// TestGoldenBody keeps agents and servers of different versions together.
func TestGoldenBody(t *testing.T) {
	const file = "testdata/request.hex"
	var want []storage.Record
	for _, r := range sampleRecords() {
		if len(r.Line) < 100 {
			want = append(want, r)
		}
	}
	if *update {
		dump := hex.Dump(Encode(nil, want))
		require.NoError(t, os.WriteFile(file, []byte(dump), 0o644))
	}
	dump, err := os.ReadFile(file)
	require.NoError(t, err, "go test ./storage/otlp -update writes it")
	require.Equal(t, string(dump), hex.Dump(Encode(nil, want)))
	got, err := Decode(undump(t, string(dump)), DecodeOptions{})
	require.NoError(t, err)
	requireSame(t, want, got.Records)
}

// undump is the inverse of hex.Dump.
func undump(t *testing.T, dump string) (body []byte) {
	for line := range strings.Lines(dump) {
		const digits, text = 10, 60
		line = strings.ReplaceAll(line[digits:min(text, len(line))], " ", "")
		line, _, _ = strings.Cut(line, "|")
		part, err := hex.DecodeString(strings.TrimSpace(line))
		require.NoError(t, err)
		body = append(body, part...)
	}
	return body
}

func TestAnyRecordsComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	streams := []*storage.Stream{podStream("a", "stdout"), podStream("a", "stderr"), podStream("b", "stdout")}
	for range 200 {
		var want []storage.Record
		for range random.IntN(50) {
			want = append(want, storage.Record{
				Stream: streams[random.IntN(len(streams))], Source: storage.SourceID{byte(random.IntN(3))}, Time: random.Int64(),
				Line: []byte(strings.Repeat("ü", random.IntN(300))), Level: storage.Level(random.IntN(storage.Levels)), Flags: storage.RecordFlags(random.IntN(64)),
			})
			if r := &want[len(want)-1]; !r.Source.IsZero() {
				r.Offset = random.Int64() - random.Int64()
			}
		}
		got, err := Decode(Encode(nil, want), DecodeOptions{})
		require.NoError(t, err)
		requireSame(t, want, got.Records)
	}
}

// foreignLogs are what a collector might send.
func foreignLogs() plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	for k, v := range map[string]string{
		"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.deployment.name": "cart", "service.name": "cart", "9lives": "yes", "empty": "",
	} {
		rl.Resource().Attributes().PutStr(k, v)
	}
	rl.Resource().Attributes().PutInt("k8s.container.restart_count", 2)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("com.example.Cart")
	sl.Scope().Attributes().PutStr("library", "slf4j")

	r := sl.LogRecords().AppendEmpty()
	r.SetTimestamp(1000)
	r.SetSeverityNumber(plog.SeverityNumberWarn2)
	r.SetTraceID([16]byte{1, 15: 2})
	r.SetSpanID([8]byte{3})
	r.Body().SetStr("slow")
	r.Attributes().PutStr("log.iostream", "stderr")
	r.Attributes().PutDouble("seconds", 1.5)
	r.Attributes().PutEmptyBytes("raw").FromRaw([]byte{1, 2})
	r.Attributes().PutEmptySlice("list").AppendEmpty().SetStr("<a>")

	r = sl.LogRecords().AppendEmpty()
	r.SetObservedTimestamp(2000)
	r.SetSeverityText("CRITICAL")
	body := r.Body().SetEmptyMap()
	body.PutStr("msg", "quo\"te")
	body.PutBool("ok", true)
	body.PutEmpty("nothing")
	body.PutEmptySlice("numbers").AppendEmpty().SetInt(-7)

	r = sl.LogRecords().AppendEmpty()
	r.SetSeverityText("audit")
	r.Body().SetStr("level=error nul \x00 and bad \xff\xfe utf-8")

	r = sl.LogRecords().AppendEmpty()
	r.SetSeverityNumber(99)
	r.Body().SetInt(42)
	return logs
}

func TestForeignRecords(t *testing.T) {
	body, err := new(plog.ProtoMarshaler).MarshalLogs(foreignLogs())
	require.NoError(t, err)
	got, err := Decode(body, DecodeOptions{Now: 3000})
	require.NoError(t, err)
	require.Equal(t, 1, got.Replaced)
	require.Len(t, got.Records, 4)
	stream := got.Records[0].Stream
	require.Equal(t, `{_9lives="yes", k8s_deployment_name="cart", namespace="shop", pod="cart-1", restart="2", service_name="cart", workload="cart", workload_type="deployment"}`,
		stream.Labels.String())
	for i, want := range []struct {
		time     int64
		level    storage.Level
		line     string
		metadata string
		flags    storage.RecordFlags
	}{
		{1000, storage.LevelWarn, "slow", `{library="slf4j", list="[\"<a>\"]", raw="AQI=", scope_name="com.example.Cart", seconds="1.5", ` +
			`span_id="0300000000000000", stream="stderr", trace_id="01000000000000000000000000000002"}`, 0},
		{2000, storage.LevelFatal, `{"msg":"quo\"te","ok":true,"nothing":null,"numbers":[-7]}`, `{library="slf4j", scope_name="com.example.Cart"}`, 0},
		{3000, storage.LevelError, "level=error nul \uFFFD and bad \uFFFD utf-8", `{library="slf4j", scope_name="com.example.Cart", severity_text="audit"}`, storage.FlagReplaced},
		{3000, storage.LevelUnknown, "42", `{library="slf4j", scope_name="com.example.Cart"}`, 0},
	} {
		r := got.Records[i]
		require.Same(t, stream, r.Stream)
		require.True(t, r.Source.IsZero())
		require.Equal(t, want.time, r.Time)
		require.Equal(t, want.level, r.Level, i)
		require.Equal(t, want.line, string(r.Line))
		require.Equal(t, want.metadata, r.Metadata.String())
		require.Equal(t, want.flags, r.Flags)
		require.EqualValues(t, len(want.line), r.Size)
	}

	json, err := new(plog.JSONMarshaler).MarshalLogs(foreignLogs())
	require.NoError(t, err)
	fromJSON, err := DecodeJSON(json, DecodeOptions{Now: 3000})
	require.NoError(t, err)
	require.Len(t, fromJSON.Records, 4)
	require.Equal(t, got.Records[0].Metadata.String(), fromJSON.Records[0].Metadata.String())
	require.Equal(t, stream.Labels.String(), fromJSON.Records[0].Stream.Labels.String())
}

func TestLongForeignTextIsCut(t *testing.T) {
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.Body().SetStr("x" + strings.Repeat("ü", maxLine))
	r.Attributes().PutStr("long", strings.Repeat("y", maxValue+1))
	body, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
	require.NoError(t, err)
	got, err := Decode(body, DecodeOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, got.Truncated)
	require.Len(t, got.Records[0].Line, maxLine-1) // not in the middle of ü
	require.Len(t, got.Records[0].Metadata.Get("long"), maxValue)
	require.Equal(t, storage.FlagTruncated, got.Records[0].Flags)
}

func TestBadBodies(t *testing.T) {
	good := Encode(nil, sampleRecords()[:3])
	regrouped := func() []byte {
		logs, err := new(plog.ProtoUnmarshaler).UnmarshalLogs(good)
		require.NoError(t, err)
		n := 0
		logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().RemoveIf(func(plog.LogRecord) bool { n++; return n == 1 })
		body, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
		require.NoError(t, err)
		return body
	}
	deep := plog.NewLogs()
	value := deep.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body()
	for range maxDepth + 1 {
		list := value.SetEmptySlice()
		value = list.AppendEmpty()
	}
	nested, err := new(plog.ProtoMarshaler).MarshalLogs(deep)
	require.NoError(t, err)
	for want, body := range map[string][]byte{
		"byte 0 of 5":    []byte("\xff\xff\xff\xff\xff"),
		"unexpected EOF": good[:len(good)-3],
		"resource_logs[0]: ResourceLogs has wire type":  {requestResourceLogs << 3, 1},
		"binnacle.offsets has 2 offsets for 1 records":  regrouped(),
		"log_records[0]: body: lists and maps are nest": nested,
	} {
		_, err := Decode(body, DecodeOptions{})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "not a request of OTLP logs")
	}
	_, err = Decode(good, DecodeOptions{MaxRecords: 2})
	require.ErrorIs(t, err, storage.ErrTooLarge)
}

func TestMemoryIsBounded(t *testing.T) {
	logs := plog.NewLogs()
	scope := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	scope.Scope().Attributes().PutStr("long", strings.Repeat("x", maxValue))
	for range 2000 {
		scope.LogRecords().AppendEmpty()
	}
	body, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
	require.NoError(t, err)
	require.Less(t, len(body), 100_000)
	_, err = Decode(body, DecodeOptions{})
	require.ErrorIs(t, err, storage.ErrTooLarge)

	for field, level := range map[protowire.Number]int{resourceLogsScope: 1, recordAttributes: 3} {
		body := bytes.Repeat([]byte{byte(field<<3 | 2), 0}, maxParts+1)
		for _, outer := range []protowire.Number{scopeLogsRecords, resourceLogsScope, requestResourceLogs}[3-level:] {
			body = protowire.AppendBytes(protowire.AppendTag(nil, outer, protowire.BytesType), body)
		}
		_, err = Decode(body, DecodeOptions{})
		require.ErrorContains(t, err, "more than 16384")
	}
}

func TestBadJSON(t *testing.T) {
	for want, body := range map[string]string{
		"nested too deep":  strings.Repeat(`{"resourceLogs":[`, 1000),
		"more than":        `{"resourceLogs":[` + strings.Repeat("{},", maxJSONObjects) + "{}]}",
		"a bracket":        "}",
		"not a request of": "<html>",
	} {
		_, err := DecodeJSON([]byte(body), DecodeOptions{})
		require.ErrorContains(t, err, want)
	}
}

func TestStreamsAreShared(t *testing.T) {
	known := NewStreams(2)
	streamOf := func(pod string) *storage.Stream {
		body := Encode(nil, []storage.Record{{Stream: podStream(pod, "stdout"), Line: []byte("x")}})
		got, err := Decode(body, DecodeOptions{Streams: known})
		require.NoError(t, err)
		return got.Records[0].Stream
	}
	first := streamOf("a")
	require.Same(t, first, streamOf("a"))
	for i := range 100 {
		streamOf(string(rune('b' + i)))
		require.Same(t, first, streamOf("a"))
		require.LessOrEqual(t, known.Len(), 4)
	}
	for i := range 5 {
		streamOf(string(rune('b' + i)))
	}
	require.NotSame(t, first, streamOf("a"))
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(nil, sampleRecords()[:5]))
	foreign, err := new(plog.ProtoMarshaler).MarshalLogs(foreignLogs())
	require.NoError(f, err)
	f.Add(foreign)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkDecoded(t, Decode, body)
	})
}

func FuzzDecodeJSON(f *testing.F) {
	foreign, err := new(plog.JSONMarshaler).MarshalLogs(foreignLogs())
	require.NoError(f, err)
	f.Add(foreign)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkDecoded(t, DecodeJSON, body)
	})
}

// checkDecoded holds what is decoded against the rules for records; what is
// encoded again must come back.
func checkDecoded(t *testing.T, decode func([]byte, DecodeOptions) (Batch, error), body []byte) {
	got, err := decode(body, DecodeOptions{Now: 1, MaxRecords: 1000})
	if err != nil {
		require.Empty(t, got.Records)
		return
	}
	require.LessOrEqual(t, len(got.Records), 1000)
	for _, r := range got.Records {
		require.NotNil(t, r.Stream)
		again, replaced := clean(r.Line)
		require.False(t, replaced, "%q", again)
		require.EqualValues(t, len(r.Line), r.Size)
	}
	again, err := Decode(Encode(nil, got.Records), DecodeOptions{MaxRecords: 1000})
	require.NoError(t, err)
	require.Len(t, again.Records, len(got.Records))
}

func TestSpecialNumbers(t *testing.T) {
	logs := plog.NewLogs()
	list := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetEmptySlice()
	list.AppendEmpty().SetDouble(math.Inf(1))
	pcommon.NewValueBytes().CopyTo(list.AppendEmpty())
	body, err := new(plog.ProtoMarshaler).MarshalLogs(logs)
	require.NoError(t, err)
	got, err := Decode(body, DecodeOptions{})
	require.NoError(t, err)
	require.Equal(t, `["+Inf",""]`, string(got.Records[0].Line))
}
