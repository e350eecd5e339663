package loki

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

const pushPath = Prefix + "/push"

// pushEntry is an entry to encode in protobuf.
type pushEntry struct {
	ns       int64
	line     string
	metadata []string // names and values
}

func protoField(b []byte, number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), message)
}

func protoPush(text string, entries ...pushEntry) []byte {
	stream := protoField(nil, streamLabels, []byte(text))
	for _, e := range entries {
		at := protowire.AppendVarint(protowire.AppendTag(nil, timeSeconds, protowire.VarintType), uint64(e.ns/1e9))
		at = protowire.AppendVarint(protowire.AppendTag(at, timeNanos, protowire.VarintType), uint64(e.ns%1e9))
		entry := protoField(nil, entryTime, at)
		entry = protoField(entry, entryLine, []byte(e.line))
		for i := 0; i < len(e.metadata); i += 2 {
			pair := protoField(nil, pairName, []byte(e.metadata[i]))
			entry = protoField(entry, entryMetadata, protoField(pair, pairValue, []byte(e.metadata[i+1])))
		}
		stream = protoField(stream, streamEntries, entry)
	}
	// The hash of a stream, which nobody needs.
	stream = protowire.AppendVarint(protowire.AppendTag(stream, 3, protowire.VarintType), 42)
	return protoField(nil, pushStreams, stream)
}

// records returns what is stored, as text.
func (f *fixture) records(t testing.TB) []string {
	t.Helper()
	it, err := f.store.Select(context.Background(), storage.LogQuery{Start: 0, End: 1 << 62, Order: storage.Ascending})
	require.NoError(t, err)
	records, err := storagetest.AllRecords(it)
	require.NoError(t, err)
	var out []string
	for _, r := range records {
		out = append(out, fmt.Sprintf("%d %s %s %s %s %d", r.Time, r.Stream.Labels, r.Line, r.Level, r.Metadata, r.Flags))
	}
	return out
}

func pack(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw deflate":
		w, err = flate.NewWriter(&b, flate.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "snappy":
		return snappy.Encode(nil, body)
	default:
		return body
	}
	require.NoError(t, err)
	_, err = w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestPushForms(t *testing.T) {
	t.Parallel()
	const ns = 1767322800000000001
	jsonBody := []byte(`{"streams":[{"stream":{"app":"x","env":"é"},"values":[["1767322800000000001","level=warn a"],["1767322800000000002","b",{"trace":"1"}]]}]}`)
	protoBody := protoPush(`{app="x", env="é"}`, pushEntry{ns, "level=warn a", nil}, pushEntry{ns + 1, "b", []string{"trace", "1"}})
	want := []string{
		`1767322800000000001 {app="x", env="é"} level=warn a warn {} 0`,
		`1767322800000000002 {app="x", env="é"} b  {trace="1"} 0`,
	}
	for _, tc := range []struct{ name, contentType, encoding, packed string }{
		{"json", "application/json", "", ""},
		{"json charset", "application/json; charset=utf-8", "identity", ""},
		{"json gzip", "application/json", "gzip", "gzip"},
		{"json deflate", "application/json", "deflate", "deflate"},
		{"json raw deflate", "application/json", "deflate", "raw deflate"},
		{"json zstd", "application/json", "zstd", "zstd"},
		{"json snappy", "application/json", "snappy", "snappy"},
		{"protobuf", "application/x-protobuf", "", "snappy"},
		{"protobuf named", "application/x-protobuf", "snappy", "snappy"},
		{"protobuf gzip", "application/x-protobuf", "gzip", "gzip"},
		{"no type", "", "", "snappy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			body := jsonBody
			if !strings.HasPrefix(tc.contentType, "application/json") {
				body = protoBody
			}
			rec := f.do(http.MethodPost, pushPath, string(pack(t, tc.packed, body)), "Content-Type: "+tc.contentType, "Content-Encoding: "+tc.encoding)
			require.Equal(t, http.StatusNoContent, rec.Code, rec.Body.String())
			require.Equal(t, want, f.records(t))
			require.InDelta(t, 2, f.metric(t, "binnacle_log_ingest_records_total", protocolLoki), 0)
			require.InDelta(t, 13, f.metric(t, "binnacle_log_ingest_bytes_total", protocolLoki), 0)
		})
	}
}

func TestPushFaults(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) {
		o.MaxBodyBytes, o.MaxLineBytes, o.MaxLabels, o.MaxEntriesPerPush = 2000, 20, 3, 5
		o.MaxLabelName, o.MaxLabelValue = 10, 12
	})
	stream := func(labels string, values string) string {
		return `{"streams":[{"stream":` + labels + `,"values":[` + values + `]}]}`
	}
	const value = `["1767322800000000000","x"]`
	bomb := pack(t, "gzip", bytes.Repeat([]byte(" "), 3000))
	for _, tc := range []struct {
		name, body string
		headers    []string
		code       int
		text       string
	}{
		{"not json", `{"streams":[}`, nil, 400, "byte 13: invalid character '}'"},
		{"no streams", `{}`, nil, 400, `the body has no "streams"`},
		{"deprecated form", `{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"2026-01-02T03:00:00Z","line":"x"}]}]}`, nil, 400, `streams[0] has no "values"`},
		{"cut off", `{"streams":[{"stream":{"a":"b"}`, nil, 400, "cut off after 31 bytes"},
		{"wrong type", `{"streams":{}}`, nil, 400, "cannot unmarshal object"},
		{"time as number", stream(`{"a":"b"}`, `[1767322800000000000,"x"]`), nil, 400, "streams[0].values[0]: the time must be a string of nanoseconds"},
		{"time as text", stream(`{"a":"b"}`, value+`,["noon","x"]`), nil, 400, `streams[0].values[1]: the time must be a string of nanoseconds since the Unix epoch, not "noon"`},
		{"no line", stream(`{"a":"b"}`, `["1"]`), nil, 400, "streams[0].values[0]: an array of a time"},
		{"null line", stream(`{"a":"b"}`, `["1",null]`), nil, 400, "the line must be a string"},
		{"nested metadata", stream(`{"a":"b"}`, `["1","x",{"a":{}}]`), nil, 400, "metadata must be an object whose values are strings"},
		{"no labels", stream(`{}`, value), nil, 400, "error at least one label pair is required per stream"},
		{"too many labels", stream(`{"a":"1","b":"2","c":"3","d":"4"}`, value), nil, 400, "has 4 label names; limit 3"},
		{"long name", stream(`{"abcdefghijk":"1"}`, value), nil, 400, "label name too long: 'abcdefghijk'"},
		{"long value", stream(`{"a":"1234567890123"}`, value), nil, 400, "label value too long: label name 'a', label value '1234567890123'"},
		{"NUL in label", stream(`{"a":"1\u0000"}`, value), nil, 400, "NUL byte"},
		{
			"long line", stream(`{"a":"b"}`, `["1767322800000000000","123456789012345678901"]`), nil, 400,
			`Max entry size '20' bytes exceeded for stream '{a="b"}' while adding an entry with length '21' bytes`,
		},
		{"too new", stream(`{"a":"b"}`, `["1767323460000000001","x"]`), nil, 400, `entry for stream '{a="b"}' has timestamp too new: 2026-01-02T03:11:00Z`},
		{"metadata", stream(`{"a":"b"}`, `["1767322800000000000","x",{"abcdefghijk":"1"}]`), nil, 400, "structured metadata has label name too long"},
		{"too many entries", stream(`{"a":"b"}`, strings.Repeat(value+",", 5)+value), nil, 413, "more than 5 entries"},
		{"too large", strings.Repeat(" ", 2001), nil, 413, "larger than 2000 bytes"},
		{"bomb", string(bomb), []string{"Content-Encoding: gzip"}, 413, "larger than 2000 bytes"},
		{"not gzip", "{}", []string{"Content-Encoding: gzip"}, 400, "not gzip as its Content-Encoding says"},
		{"not zstd", "{\"streams\":[]}", []string{"Content-Encoding: zstd"}, 400, "cannot read the body"},
		{"unknown coding", "{}", []string{"Content-Encoding: br"}, 415, `"br" is not supported; gzip, deflate, snappy, zstd and none are`},
		{"unknown type", "{}", []string{"Content-Type: text/plain"}, 400, `"text/plain" is not supported`},
		{"broken type", "{}", []string{"Content-Type: ;"}, 400, "cannot read the Content-Type"},
		{"not snappy", "{}", []string{"Content-Type: application/x-protobuf"}, 400, "not packed by snappy"},
		{"snappy bomb", string(snappy.Encode(nil, make([]byte, 2001))), []string{"Content-Type: application/x-protobuf"}, 413, "larger than 2000 bytes"},
		{"not protobuf", string(snappy.Encode(nil, []byte{0x0f})), []string{"Content-Type: application/x-protobuf"}, 400, "byte 1 of 1"},
		{"proto labels", string(snappy.Encode(nil, protoPush(`{a=b}`, pushEntry{1, "x", nil}))), []string{"Content-Type: application/x-protobuf"}, 400, "streams[0]: error parsing labels"},
		{"proto too many", string(snappy.Encode(nil, protoPush(`{a="b"}`, make([]pushEntry, 6)...))), []string{"Content-Type: application/x-protobuf"}, 413, "more than 5 entries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			headers := tc.headers
			if len(headers) == 0 || !strings.HasPrefix(headers[0], "Content-Type") {
				headers = append([]string{jsonHeader}, headers...)
			}
			rec := f.do(http.MethodPost, pushPath, tc.body, headers...)
			require.Equal(t, tc.code, rec.Code, rec.Body.String())
			require.Contains(t, rec.Body.String(), tc.text)
		})
	}
	require.Empty(t, f.records(t))
	require.InDelta(t, 6, f.metric(t, "binnacle_http_rejected_total", "too_large")+1, 0)
	require.InDelta(t, 1, f.metric(t, "binnacle_log_ingest_rejected_records_total", reasonLineTooLong), 0)
	require.InDelta(t, 1, f.metric(t, "binnacle_log_ingest_rejected_records_total", reasonTooNew), 0)
	require.InDelta(t, 6, f.metric(t, "binnacle_log_ingest_rejected_records_total", reasonLabels), 0)
}

func TestPushStoresWhatIsRight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *Options) { o.MaxLineBytes = 5 })
	rec := f.do(http.MethodPost, pushPath, `{"streams":[{"stream":{"a":"b"},"values":[["1","fine"],["2","too long"]]},{"stream":{},"values":[["3","x"]]}]}`, jsonHeader)
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), "2 entries were refused (1 labels, 1 line_too_long), the others are stored")
	require.Equal(t, []string{`1 {a="b"} fine  {} 0`}, f.records(t))
}

func TestPushReplacesWhatIsNoText(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	require.Equal(t, http.StatusNoContent, f.do(http.MethodPost, pushPath,
		"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"a\\u0000b\"],[\"2\",\"a\xffb\"],[\"3\",\"plain\"]]}]}", jsonHeader).Code)
	require.Equal(t, http.StatusNoContent, f.do(http.MethodPost, pushPath,
		string(snappy.Encode(nil, protoPush(`{a="b"}`, pushEntry{4, "a\xff\x00b", nil}))), "Content-Type: application/x-protobuf").Code)
	require.Equal(t, []string{
		"1 {a=\"b\"} a\ufffdb  {} 4", "2 {a=\"b\"} a\ufffdb  {} 4", "3 {a=\"b\"} plain  {} 0", "4 {a=\"b\"} a\ufffd\ufffdb  {} 4",
	}, f.records(t))
	require.InDelta(t, 3, f.metric(t, "binnacle_log_ingest_changed_records_total", changeReplaced), 0)
}

func TestLevelOfPushedRecords(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		metadata, stream, line string
		want                   storage.Level
	}{
		{"level", "info", "ERROR x", storage.LevelWarn},
		{"detected_level", "info", "ERROR x", storage.LevelWarn},
		{"other", "level", "ERROR x", storage.LevelWarn},
		{"other", "other", "ERROR x", storage.LevelError},
		{"other", "other", "x", storage.LevelUnknown},
	} {
		r := storage.Record{
			Metadata: labels.FromStrings(tc.metadata, "Warning"),
			Stream:   &storage.Stream{Labels: labels.FromStrings(tc.stream, "warn")}, Line: []byte(tc.line),
		}
		require.Equal(t, tc.want, levelOfRecord(&r), "%+v", tc)
	}
}

// scriptedStore answers writes by a script, then stores.
type scriptedStore struct {
	*storagetest.Memory

	script []func(batch []storage.Record) error
	sizes  []int
}

func (s *scriptedStore) Write(ctx context.Context, batch []storage.Record) error {
	s.sizes = append(s.sizes, len(batch))
	if len(s.script) > 0 {
		step := s.script[0]
		s.script = s.script[1:]
		return step(batch)
	}
	return s.Memory.Write(ctx, batch)
}

func failing(err error) []func([]storage.Record) error {
	return []func([]storage.Record) error{func([]storage.Record) error { return err }}
}

const threeEntries = `{"streams":[{"stream":{"a":"b"},"values":[["1","x"],["2","y"],["3","z"]]}]}`

func TestPushAnswersForTheStore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		err   error
		code  int
		text  string
		retry string
	}{
		{"full", fmt.Errorf("disk: %w", storage.ErrFull), 503, "no room", "5"},
		{"closed", storage.ErrClosed, 503, "try again later: store is closed", "5"},
		{"too large", fmt.Errorf("segment: %w", storage.ErrTooLarge), 413, "batch is too large", ""},
		{"fault", errors.New("disk on fire"), 500, "disk on fire", ""},
		{"refused", &storage.PartialError{Refused: map[string]int{storage.ReasonTooOld: 3}, First: errors.New("timestamp too old")}, 400, "3 refused as too_old", ""},
		{"wait too long", &storage.PartialError{Retry: []int{0}, RetryAfter: time.Minute, First: errors.New("busy")}, 503, "", "5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := &scriptedStore{Memory: storagetest.NewMemory(), script: failing(tc.err)}
			f := newFixture(t, func(o *Options) { o.Store = store })
			rec := f.do(http.MethodPost, pushPath, threeEntries, jsonHeader)
			require.Equal(t, tc.code, rec.Code)
			require.Contains(t, rec.Body.String(), tc.text)
			require.Equal(t, tc.retry, rec.Header().Get("Retry-After"))
			if tc.name == "refused" {
				require.InDelta(t, 3, f.metric(t, "binnacle_log_ingest_rejected_records_total", storage.ReasonTooOld), 0)
			}
		})
	}
}

func TestPushTriesAgainWhatTheStoreCouldNotTake(t *testing.T) {
	t.Parallel()
	store := &scriptedStore{Memory: storagetest.NewMemory()}
	store.script = []func([]storage.Record) error{func(batch []storage.Record) error {
		if err := store.Memory.Write(context.Background(), batch[1:2]); err != nil {
			return err
		}
		return &storage.PartialError{Retry: []int{0, 2}, First: errors.New("busy")}
	}}
	f := newFixture(t, func(o *Options) { o.Store = store })
	rec := f.do(http.MethodPost, pushPath, threeEntries, jsonHeader)
	require.Equal(t, http.StatusNoContent, rec.Code, rec.Body.String())
	require.Equal(t, []int{3, 2}, store.sizes)
	f.store = store.Memory
	require.Equal(t, []string{`1 {a="b"} x  {} 0`, `2 {a="b"} y  {} 0`, `3 {a="b"} z  {} 0`}, f.records(t), "each is stored once")
	require.InDelta(t, 3, f.metric(t, "binnacle_log_ingest_records_total", protocolLoki), 0)
	require.InDelta(t, 2, f.metric(t, "binnacle_log_ingest_retried_records_total"), 0)
}

func TestStreamCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newStreamCache(10)
	first := c.get(labels.FromStrings("n", "0"))
	for i := range 1000 {
		c.get(labels.FromStrings("n", strconv.Itoa(i%15)))
		require.Same(t, first, c.get(labels.FromStrings("n", "0")), "what is in use stays")
		require.LessOrEqual(t, c.len(), 20)
	}
	long := labels.FromStrings("n", strings.Repeat("x", maxCachedKey))
	before := c.len()
	require.NotNil(t, c.get(long))
	require.Equal(t, before, c.len())
}

func FuzzPushJSON(f *testing.F) {
	f.Add([]byte(threeEntries))
	f.Add([]byte(`{"streams":[{"stream":{"a":"b"},"values":[["1","x",{"c":"d"}]]}]}`))
	f.Add([]byte(`{"streams":[{"stream":{"":""},"values":[["-1","\u0000",null]]}]}`))
	fuzzPush(f, func(body []byte) []byte { return body }, jsonHeader)
}

func FuzzPushProto(f *testing.F) {
	f.Add(protoPush(`{a="b"}`, pushEntry{1, "x", []string{"c", "d"}}))
	f.Add(protoPush(`{}`, pushEntry{1 << 60, "\xff", []string{"", ""}}))
	fuzzPush(f, func(body []byte) []byte { return snappy.Encode(nil, body) }, "Content-Type: application/x-protobuf")
}

// fuzzPush checks that any body is either stored as valid records or refused
// with a reason.
func fuzzPush(f *testing.F, wrap func([]byte) []byte, header string) {
	f.Fuzz(func(t *testing.T, body []byte) {
		h := newFixture(t, func(o *Options) { o.MaxBodyBytes = 1 << 20 })
		rec := h.do(http.MethodPost, pushPath, string(wrap(body)), header)
		switch rec.Code {
		case http.StatusNoContent:
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			require.NotEmpty(t, strings.TrimSpace(rec.Body.String()))
		default:
			t.Fatalf("%d %s", rec.Code, rec.Body.String())
		}
		for _, record := range h.records(t) {
			require.True(t, json.Valid(appendString(nil, record)))
			require.True(t, valid(record), "%q", record)
		}
	})
}
