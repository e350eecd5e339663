package loki

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// epoch is the time that golden answers are about; the tests' clock stands one
// minute later.
var epoch = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// fixture is a Handler over a store.
type fixture struct {
	*Handler

	store *storagetest.Memory
	fake  *faultyEngine
	reg   *prometheus.Registry
}

func newFixture(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{store: storagetest.NewMemory(), reg: prometheus.NewRegistry()}
	engine, err := logql.New(logql.Options{Store: f.store})
	require.NoError(t, err)
	f.fake = &faultyEngine{Engine: engine}
	o := Options{Store: f.store, Evaluator: f.fake, Registerer: f.reg, Version: "1.2.3"}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	require.NoError(t, err)
	h.now = func() time.Time { return epoch.Add(time.Minute) }
	f.Handler = h
	return f
}

// fill stores records of two pods and of a file.
func (f *fixture) fill(t testing.TB) {
	t.Helper()
	var batch []storage.Record
	for i, pod := range []string{"cart-1", "cart-2"} {
		s := &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", pod, "container", "app", "restart", "0", "stream", "stderr")}
		for n := range 3 {
			batch = append(batch, storage.Record{
				Stream: s, Time: epoch.Add(time.Duration(n)*10*time.Second + time.Duration(i)*time.Second + 123456789).UnixNano(),
				Source: storage.SourceID{byte(i + 1)}, Offset: int64(100 * n), Level: storage.LevelError,
				Line: fmt.Appendf(nil, "msg=\"payment refused\" status=50%d took=1.5s", n),
			})
		}
	}
	file := &storage.Stream{Labels: labels.FromStrings("filename", "/var/log/syslog", "node", "n1")}
	batch = append(batch,
		storage.Record{
			Stream: file, Time: epoch.Add(5 * time.Second).UnixNano(), Line: []byte(`{"a":{"b":1},"ok":true}` + "\t<é>"),
			Level: storage.LevelInfo, Metadata: labels.FromStrings("trace_id", "abc"),
		},
		storage.Record{Stream: file, Time: epoch.Add(6 * time.Second).UnixNano(), Line: []byte("one\ntwo \"three\" \\"), Flags: storage.FlagJoined | storage.FlagRedacted},
	)
	require.NoError(t, f.store.Write(context.Background(), batch))
}

// do sends a request with headers given as "Name: value".
func (f *fixture) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, req)
	return rec
}

// metric returns the value of a counter or gauge whose labels have the given
// values.
func (f *fixture) metric(t testing.TB, name string, values ...string) float64 {
	t.Helper()
	families, err := f.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var got []string
			for _, pair := range m.GetLabel() {
				got = append(got, pair.GetValue())
			}
			if family.GetName() == name && strings.Join(got, ",") == strings.Join(values, ",") {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	require.Fail(t, "no such metric", "%s %v", name, values)
	return 0
}

const (
	formHeader  = "Content-Type: application/x-www-form-urlencoded"
	jsonHeader  = "Content-Type: application/json"
	linesHeader = "Accept: application/x-ndjson"
	flagsHeader = "X-Loki-Response-Encoding-Flags: categorize-labels"
)

var goVersion = regexp.MustCompile(`go1\.[0-9.]+`)

func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.fill(t)
	const span = "start=2026-01-02T03:00:00Z&end=2026-01-02T03:01:00Z"
	const shop = "%7Bnamespace%3D%22shop%22%7D"
	for _, tc := range []struct {
		name, method, path, body string
		headers                  []string
	}{
		{"query", "GET", "/loki/api/v1/query?query=sum+by(pod)(rate(" + shop + "[1m]))&time=1767322860.5", "", nil},
		{"query_post", "POST", "/loki/api/v1/query", "query=vector(1)&time=1767322860000000000", []string{formHeader}},
		{"query_health", "GET", "/loki/api/v1/query?direction=backward&query=vector(1)%2Bvector(1)&time=4000000000", "", nil},
		{"query_scalar", "GET", "/loki/api/v1/query?query=1%2B1&time=1767322860", "", nil},
		{"query_logs", "GET", "/loki/api/v1/query?query=" + shop, "", nil},
		{"query_syntax", "GET", "/loki/api/v1/query?query=%7Bnamespace%3D%7D", "", nil},
		{"query_range_matrix", "GET", "/loki/api/v1/query_range?query=sum+by(pod)(rate(" + shop + "[1m]))&step=20s&" + span, "", nil},
		{"query_range_streams", "GET", "/loki/api/v1/query_range?query=%7B%7D&" + span, "", nil},
		{"query_range_forward", "GET", "/loki/api/v1/query_range?query=" + shop + "&direction=forward&limit=4&" + span, "", nil},
		{"query_range_interval", "GET", "/loki/api/v1/query_range?query=" + shop + "&direction=forward&interval=10s&" + span, "", nil},
		{"query_range_categorized", "GET", "/loki/api/v1/query_range?query=%7B%7D+|+logfmt&limit=20&" + span, "", []string{flagsHeader}},
		{"query_range_parsed", "GET", "/loki/api/v1/query_range?query=" + shop + "+|+logfmt&limit=2&" + span, "", nil},
		{"query_range_empty", "GET", "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&" + span, "", nil},
		{"query_range_post", "POST", "/loki/api/v1/query_range", "query=" + shop + "&limit=1&since=1h", []string{formHeader}},
		{"query_range_lines", "GET", "/loki/api/v1/query_range?query=%7B%7D&direction=forward&" + span, "", []string{linesHeader}},
		{"query_range_lines_limit", "GET", "/loki/api/v1/query_range?query=" + shop + "+|+logfmt&limit=2&" + span, "", []string{linesHeader}},
		{"query_range_lines_metric", "GET", "/loki/api/v1/query_range?query=vector(1)&" + span, "", []string{linesHeader}},
		{"labels", "GET", "/loki/api/v1/labels?" + span, "", nil},
		{"labels_query", "GET", "/loki/api/v1/labels?query=" + shop + "&" + span, "", nil},
		{"labels_none", "GET", "/loki/api/v1/labels?start=1&end=2", "", nil},
		{"label_values", "GET", "/loki/api/v1/label/pod/values?" + span, "", nil},
		{"series", "GET", "/loki/api/v1/series?match[]=" + shop + "&match[]=%7Bnode%3D%22n1%22%7D&" + span, "", nil},
		{"series_post", "POST", "/loki/api/v1/series", "match[]=%7Bpod%3D%22cart-2%22%7D&" + span, []string{formHeader}},
		{"index_stats", "GET", "/loki/api/v1/index/stats?query=" + shop + "&" + span, "", nil},
		{"index_stats_pipeline", "GET", "/loki/api/v1/index/stats?query=" + shop + "+|%3D+%22x%22&" + span, "", nil},
		{"index_volume", "GET", "/loki/api/v1/index/volume?query=" + shop + "&" + span, "", nil},
		{"index_volume_target", "GET", "/loki/api/v1/index/volume?query=%7B%7D&targetLabels=pod,node&limit=2&" + span, "", nil},
		{"index_volume_labels", "GET", "/loki/api/v1/index/volume?query=" + shop + "&aggregateBy=labels&" + span, "", nil},
		{"index_volume_all", "GET", "/loki/api/v1/index/volume?query=%7B%7D&" + span, "", nil},
		{"index_volume_range", "GET", "/loki/api/v1/index/volume_range?query=" + shop + "&targetLabels=pod&step=15s&" + span, "", nil},
		{"patterns", "GET", "/loki/api/v1/patterns?query=%7B%7D&step=10s&" + span, "", nil},
		{"detected_fields", "GET", "/loki/api/v1/detected_fields?query=%7B%7D&" + span, "", nil},
		{"detected_field_values", "GET", "/loki/api/v1/detected_field/status/values?query=%7B%7D&limit=2&" + span, "", nil},
		{"detected_labels", "GET", "/loki/api/v1/detected_labels?" + span, "", nil},
		{"format_query", "GET", "/loki/api/v1/format_query?query=%7Ba%3D++%22b%22%7D%7C%3D%22x%22", "", nil},
		{"buildinfo", "GET", "/loki/api/v1/status/buildinfo", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := f.do(tc.method, tc.path, tc.body, tc.headers...)
			var b strings.Builder
			fmt.Fprintf(&b, "%s %s\n", tc.method, tc.path)
			for _, header := range tc.headers {
				fmt.Fprintln(&b, header)
			}
			if tc.body != "" {
				fmt.Fprintf(&b, "\n%s\n", tc.body)
			}
			fmt.Fprintf(&b, "\n%d %s\n", rec.Code, http.StatusText(rec.Code))
			for _, name := range []string{"Content-Type", incompleteHeader} {
				if value := rec.Header().Get(name); value != "" {
					fmt.Fprintf(&b, "%s: %s\n", name, value)
				}
			}
			fmt.Fprintf(&b, "\n%s", goVersion.ReplaceAllString(rec.Body.String(), "go1.x"))
			golden(t, tc.name, speed.ReplaceAllString(b.String(), `"$1":0`))
		})
	}
}

// speed differs from run to run.
var speed = regexp.MustCompile(`"(bytesProcessedPerSecond|linesProcessedPerSecond|execTime|seconds)":[0-9.e-]+`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test -update to write golden files")
	require.Equal(t, string(want), got)
}
