//go:build system

package system

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// pushed is a line that a client sends.
type pushed struct {
	at   int64
	line string
}

// pushLines are some lines, among them what breaks careless encoders.
func pushLines(n int) []pushed {
	begin := time.Now().Add(-time.Minute).UnixNano()
	lines := []pushed{{begin, `{"quoted":"\"text\"\n"}`}, {begin + 1, "two\nlines"}, {begin + 1, "the same time, größe 支付"}, {begin + 2, "\ttab "}}
	for i := len(lines); i < n; i++ {
		lines = append(lines, pushed{begin + int64(i)*1000, fmt.Sprintf("line %d", i)})
	}
	return lines
}

// TestLogsPush sends lines by each protocol that servers of logs take and finds
// them again.
func TestLogsPush(t *testing.T) {
	addr := address(t)
	binnacle(t, addr, "server", "--data-dir", t.TempDir())
	lines := pushLines(500)
	for _, c := range []struct {
		name, path, contentType, query string
		body                           []byte
	}{
		{"Loki's JSON", "/loki/api/v1/push", "application/json", `{app="json"}`, lokiJSON(t, lines)},
		{"Loki's protobuf", "/loki/api/v1/push", "application/x-protobuf", `{app="protobuf"}`, lokiProtobuf(lines)},
		{"OTLP protobuf", "/otlp/v1/logs", "application/x-protobuf", `{service_name="otlp-protobuf"}`, otlp(t, "otlp-protobuf", lines, plogotlp.ExportRequest.MarshalProto)},
		{"OTLP JSON", "/otlp/v1/logs", "application/json", `{service_name="otlp-json"}`, otlp(t, "otlp-json", lines, plogotlp.ExportRequest.MarshalJSON)},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := http.Post("http://"+addr+c.path, c.contentType, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode/100 != 2 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			params := all()
			params.Set("query", c.query)
			var got []pushed
			if _, err := logLines(context.Background(), addr, "/loki/api/v1/query_range", params, func(r found) error {
				got = append(got, pushed{r.time, *r.Line})
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, lines) {
				t.Errorf("%d lines of %d, or others: %s", len(got), len(lines), tail(fmt.Sprint(got)))
			}
			comparePages(t, addr, c.query, lines)
		})
	}
}

// comparePages reads the same lines in Loki's form, page by page from the
// newest on, as Grafana and logcli do.
func comparePages(t *testing.T, addr, expr string, lines []pushed) {
	t.Helper()
	end, seen := time.Now().Add(time.Minute).UnixNano(), map[pushed]bool{}
	for page := 0; len(seen) < len(lines) && page < 100; page++ {
		var data struct {
			Result []struct{ Values [][2]string }
		}
		err := get(addr, "/loki/api/v1/query_range", url.Values{
			"query": {expr}, "limit": {"50"}, "direction": {"backward"},
			"start": {until(time.Now().Add(-time.Hour))}, "end": {strconv.FormatInt(end, 10)},
		}, &data)
		if err != nil {
			t.Fatal(err)
		}
		before := len(seen)
		for _, s := range data.Result {
			for _, v := range s.Values {
				at, err := strconv.ParseInt(v[0], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				seen[pushed{at, v[1]}] = true
				end = min(end, at+1) // lines of the same time as the last may be on the next page
			}
		}
		if len(seen) == before {
			break
		}
	}
	for _, l := range lines {
		if !seen[l] {
			t.Errorf("no page has %q", l.line)
		}
	}
	if len(seen) != len(lines) {
		t.Errorf("%d lines on all pages, want %d", len(seen), len(lines))
	}
}

func lokiJSON(t testing.TB, lines []pushed) []byte {
	t.Helper()
	var values [][2]string
	for _, l := range lines {
		values = append(values, [2]string{strconv.FormatInt(l.at, 10), l.line})
	}
	b, err := json.Marshal(map[string]any{"streams": []any{map[string]any{"stream": map[string]string{"app": "json"}, "values": values}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lokiProtobuf encodes logproto.PushRequest: streams (1) of labels (1) and
// entries (2) of a timestamp (1: seconds 1, nanoseconds 2) and a line (2).
func lokiProtobuf(lines []pushed) []byte {
	stream := protowire.AppendTag(nil, 1, protowire.BytesType)
	stream = protowire.AppendString(stream, `{app="protobuf"}`)
	for _, l := range lines {
		at := protowire.AppendTag(nil, 1, protowire.VarintType)
		at = protowire.AppendVarint(at, uint64(l.at/1e9))
		at = protowire.AppendTag(at, 2, protowire.VarintType)
		at = protowire.AppendVarint(at, uint64(l.at%1e9))
		e := protowire.AppendTag(nil, 1, protowire.BytesType)
		e = protowire.AppendBytes(e, at)
		e = protowire.AppendTag(e, 2, protowire.BytesType)
		e = protowire.AppendString(e, l.line)
		stream = protowire.AppendTag(stream, 2, protowire.BytesType)
		stream = protowire.AppendBytes(stream, e)
	}
	request := protowire.AppendTag(nil, 1, protowire.BytesType)
	return snappy.Encode(nil, protowire.AppendBytes(request, stream))
}

func otlp(t testing.TB, service string, lines []pushed, encode func(plogotlp.ExportRequest) ([]byte, error)) []byte {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", service)
	scope := resource.ScopeLogs().AppendEmpty()
	for _, l := range lines {
		r := scope.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.Timestamp(l.at))
		r.Body().SetStr(l.line)
	}
	b, err := encode(plogotlp.NewExportRequestFromLogs(logs))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLogsQueryLimits requires of queries that are cut short that they say so.
func TestLogsQueryLimits(t *testing.T) {
	addr := address(t)
	binnacle(t, addr, "server", "--data-dir", t.TempDir(), "--logs-query-max-bytes", "600KiB")
	lines := pushLines(5000)
	for i := range lines {
		lines[i].line += strings.Repeat(" and so on", 20)
	}
	resp, err := http.Post("http://"+addr+"/loki/api/v1/push", "application/json", bytes.NewReader(lokiJSON(t, lines)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	ask := func(change func(url.Values)) (int, *answerEnd, error) {
		params, n := all(), 0
		params.Set("query", `{app="json"}`)
		change(params)
		end, err := logLines(context.Background(), addr, "/loki/api/v1/query_range", params, func(found) error { n++; return nil })
		return n, end, err
	}
	for _, c := range []struct {
		name   string
		change func(url.Values)
		want   func(n int, end *answerEnd) bool
	}{
		{"lines", func(p url.Values) { p.Set("limit", "10") }, func(n int, end *answerEnd) bool { return n == 10 && end.More }},
		{"no line", func(p url.Values) { p.Set("query", `{app="none"}`) }, func(n int, end *answerEnd) bool { return n == 0 && !end.More && len(end.Warnings) == 0 }},
		{"bytes", func(url.Values) {}, func(n int, end *answerEnd) bool {
			return n < len(lines) && (len(end.Warnings) > 0 || end.Error != "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, end, err := ask(c.change)
			if err != nil || !c.want(n, end) {
				t.Errorf("%d lines, %+v, %v", n, end, err)
			}
		})
	}
	for _, bad := range []string{`{app=`, `{app="json"} | nonsense`, `{app="json"} |~ "("`} {
		if _, _, err := ask(func(p url.Values) { p.Set("query", bad) }); err == nil || err.Error()[:3] != "400" {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
