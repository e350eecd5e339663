package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	firstPod  = "cart-7d9f8c6b5d-x2x4k"
	secondPod = "cart-7d9f8c6b5d-q8zvn"
)

// cartLines are those of two pods of a Deployment.
var cartLines = []testLine{
	{seconds: 50, labels: "shop/" + firstPod + "/app/0/stdout", level: "info", text: "GET /cart 200"},
	{seconds: 40.5, labels: "shop/" + secondPod + "/app/2/stdout", level: "debug", text: "cache miss for user 42"},
	{seconds: 40, labels: "shop/" + firstPod + "/app/0/stderr", level: "error", text: "timeout: bank refused\n\tat Bank.post(Bank.java:7)", flags: []string{"joined"}},
	{seconds: 30, labels: "shop/" + secondPod + "/proxy/0/stderr", level: "warn", text: "slow \x1b[31mred\x1b[0m answer\x07"},
	{seconds: 20, labels: "/var/log/syslog", text: "kernel: <tag> & \u00e9"},
	{seconds: 10, labels: "shop/" + firstPod + "/app/0/stdout", level: "fatal", text: "out of memory", flags: []string{"truncated"}},
}

// newCartLogs answers every query with cartLines.
func newCartLogs(t *testing.T) *fakeLogs {
	t.Helper()
	f := newFakeLogs(t)
	for _, l := range cartLines {
		f.series = append(f.series, l.labels)
	}
	f.queries = func(url.Values) string { return answerOf(cartLines...) }
	return f
}

func TestLogsGolden(t *testing.T) {
	f := newCartLogs(t)
	for name, c := range map[string]struct {
		args    string
		columns int
	}{
		"default":         {"deploy/cart -n shop", 0},
		"all-namespaces":  {"cart", 0},
		"terminal":        {"deploy/cart -n shop --highlight 'time\\w+' --include cart", 80},
		"colors-to-pipe":  {"deploy/cart -n shop --color always", 0},
		"no-colors":       {"deploy/cart -n shop --color never", 80},
		"timestamps":      {"deploy/cart -t --timezone Europe/Oslo --prefix=false", 0},
		"prefix-and-time": {"deploy/cart -n shop -t --prefix", 80},
		"json":            {"deploy/cart -o json --color always", 80},
		"jsonl":           {"deploy/cart -o jsonl -q", 80},
		"raw":             {"deploy/cart -o raw --color always -t --prefix", 80},
		"template":        {"deploy/cart -o 'template={{.Timestamp}} {{.Pod}}/{{.Container}} {{.Level}} {{.Labels.stream}} {{.Message}}'", 80},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"logs"}, shellFields(c.args)...)
			got := execute(t, options{columns: c.columns}, append(args, "--addr", f.URL)...)
			requireGolden(t, "logs/"+name+".txt", got.golden())
		})
	}
}

// What the flags ask the server for.
func TestLogsQueries(t *testing.T) {
	const (
		letter = `[bcdfghjklmnpqrstvwxz2456789]`
		hash   = letter + `{6,10}-` + letter + `{5}`
	)
	owned := func(kind, pods string) string {
		return `(workload=\"cart\" and workload_type=~\"(?i)` + kind + `\") or (workload=\"\" and pod=~\"` + pods + `\")`
	}
	for _, c := range []struct{ args, want string }{
		{"", `{}`},
		{"-n shop", `{namespace="shop"}`},
		{"-n shop -n bank,mail", `{namespace=~"shop|bank|mail"}`},
		{"-n shop -A", `{}`},
		{"deploy/cart", `{pod=~"cart.+"} | ` + owned("deployment", "cart-"+hash)},
		{"Deployments.apps/cart -n shop", `{namespace="shop", pod=~"cart.+"} | ` + owned("deployment", "cart-"+hash)},
		{"sts/cart", `{pod=~"cart.+"} | ` + owned("statefulset", "cart-[0-9]+")},
		{"ds/cart", `{pod=~"cart.+"} | ` + owned("daemonset", "cart-"+letter+"{5}")},
		{"cj/cart", `{pod=~"cart.+"} | ` + owned("cronjob", "cart-[0-9]{8,10}-"+letter+"{5}")},
		{"job/cart", `{pod=~"cart.+"} | (workload="cart" and workload_type=~"(?i)job") or (workload_type=~"|(?i)cronjob" and pod=~"cart-(?:[0-9]+-)?` + letter + `{5}")`},
		{"rs/cart-7d9f8c6b5d", `{pod=~"cart-7d9f8c6b5d-` + letter + `{5}"}`},
		{"pod/" + firstPod, `{pod="` + firstPod + `"}`},
		{firstPod, `{pod="` + firstPod + `"}`},
		{"cart", `{pod=~".*(?:cart).*"}`},
		{"^cart-.*[kn]$", `{pod=~".*(?:^cart-.*[kn]$).*"}`},
		{"syslog", `{filename=~".*(?:syslog).*"}`},
		{"/var/log/syslog", `{filename="/var/log/syslog"}`},
		{"/var/log/.*", `{filename=~".*(?:/var/log/.*).*"}`},
		{"nowhere", `{pod=~".*(?:nowhere).*"}`},
		{"-c app --node a", `{node="a", container=~"app"}`},
		{"-c app -c 'side.*' --restart 2", `{container=~"(?:app)|(?:side.*)", restart="2"}`},
		{"-l stream=stderr,node!=b", `{stream="stderr", node!="b"}`},
		{"-l 'pod in (a.b, c), container notin (d),uid,!filename,node==x'", `{pod=~"a\\.b|c", container!~"d", uid!="", filename="", node="x"}`},
		{"--include 'a\"b' --include c --exclude d --exclude e", `{} |~ "(?:a\"b)|(?:c)" !~ "d" !~ "e"`},
		{"--level warn", `{} | level=~"warn|error|fatal"`},
		{"--level fatal sts/cart --exclude x", `{pod=~"cart.+"} !~ "x" | level=~"fatal" | ` + owned("statefulset", "cart-[0-9]+")},
	} {
		t.Run(c.args, func(t *testing.T) {
			f := newCartLogs(t)
			got := execute(t, options{}, append([]string{"logs", "--addr", f.URL}, shellFields(c.args)...)...)
			require.Equal(t, exitOK, got.code, got.stderr)
			require.Equal(t, strings.ReplaceAll(c.want, `\"`, `"`), strings.ReplaceAll(f.last().Get("query"), `\"`, `"`))
		})
	}
}

func TestLogsWindow(t *testing.T) {
	for _, c := range []struct{ args, start, end, note string }{
		{"", "2026-03-01T11:00:00Z", "", "the last 1h, since 2026-03-01 11:00:00, all namespaces"},
		{"--since 1d -n shop", "2026-02-28T12:00:00Z", "", "the last 1d, since 2026-02-28 12:00:00, namespace shop"},
		{"--since 0", "1970-01-01T00:00:00Z", "", "everything stored, all namespaces"},
		{"--since-time -90m", "2026-03-01T10:30:00Z", "", "the last 1h30m, since 2026-03-01 10:30:00, all namespaces"},
		{"--since-time 2026-03-01T08:00:00Z --until 2026-03-01T09:00:00.5Z", "2026-03-01T08:00:00Z", "2026-03-01T09:00:00.5Z", "2026-03-01 08:00:00 to 2026-03-01 09:00:00, all namespaces"},
		{"--until -1h --since 10m --timezone Europe/Oslo", "2026-03-01T10:50:00Z", "2026-03-01T11:00:00Z", "2026-03-01 11:50:00 to 2026-03-01 12:00:00, all namespaces"},
		{"--until -1h --since 0", "1970-01-01T00:00:00Z", "2026-03-01T11:00:00Z", "everything stored before 2026-03-01 11:00:00, all namespaces"},
	} {
		f := newCartLogs(t)
		got := execute(t, options{}, append([]string{"logs", "--addr", f.URL}, strings.Fields(c.args)...)...)
		require.Equal(t, exitOK, got.code, got.stderr)
		require.Equal(t, []string{c.start, c.end}, []string{f.last().Get("start"), f.last().Get("end")}, c.args)
		require.Contains(t, got.stderr, "searching "+c.note+"\n")
	}
}

func TestLogsTail(t *testing.T) {
	f := newCartLogs(t)
	f.queries = func(q url.Values) string {
		if q.Get("direction") != "backward" || q.Get("limit") != "2" {
			return answerOf()
		}
		return cartLines[5].wire() + cartLines[2].wire() + endLine(2, true)
	}
	got := execute(t, options{}, "logs", "deploy/cart", "--tail", "2", "-o", "raw", "--addr", f.URL)
	require.Equal(t, "timeout: bank refused\n\tat Bank.post(Bank.java:7)\nout of memory\n", got.stdout)
	require.Contains(t, got.stderr, "the last 2 lines; earlier ones are left out\n")

	f.queries = func(url.Values) string { return answerOf(cartLines...) }
	got = execute(t, options{}, "logs", "--tail=-1", "--addr", f.URL)
	require.Equal(t, exitOK, got.code)
	require.Equal(t, []string{"0", "forward"}, []string{f.last().Get("limit"), f.last().Get("direction")})
}

func TestOneContainerNeedsNoPrefix(t *testing.T) {
	for _, c := range []struct {
		args, prefix string
		series       []string
	}{
		{firstPod, "", []string{"shop/" + firstPod + "/app/0/stdout", "shop/" + firstPod + "/app/0/stderr", "shop/" + firstPod + "/app/1/stdout"}},
		{firstPod + " --prefix", "shop " + firstPod + " app ", []string{"shop/" + firstPod + "/app/0/stdout"}},
		{firstPod, "shop " + firstPod + " app ", []string{"shop/" + firstPod + "/app/0/stdout", "shop/" + firstPod + "/proxy/0/stdout"}},
		{firstPod + " -c app", "", []string{"shop/" + firstPod + "/app/0/stdout", "shop/" + firstPod + "/proxy/0/stdout"}},
		{firstPod, "shop " + firstPod + " app ", []string{"shop/" + firstPod + "/app/0/stdout", "bank/" + firstPod + "/app/0/stdout"}},
	} {
		f := newFakeLogs(t)
		f.series = c.series
		f.queries = func(url.Values) string { return answerOf(cartLines[0]) }
		got := execute(t, options{}, append([]string{"logs", "--addr", f.URL}, strings.Fields(c.args)...)...)
		require.Equal(t, c.prefix+cartLines[0].text+"\n", got.stdout, c.args)
	}
}

func TestPreviousRun(t *testing.T) {
	f := newFakeLogs(t)
	f.series = []string{
		"shop/cart-0/app/0/stdout", "shop/cart-0/app/9/stderr", "shop/cart-0/app/10/stdout", "shop/cart-0/app/10/stderr",
		"shop/cart-0/once/0/stdout", "shop/cart-1/app/3/stdout", "shop/cart-1/app/2/stdout", "/var/log/syslog",
	}
	f.queries = func(url.Values) string { return answerOf(cartLines[0]) }
	got := execute(t, options{}, "logs", "sts/cart", "-p", "-n", "shop", "--addr", f.URL)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Contains(t, got.stderr, "searching everything stored, namespace shop")
	require.True(t, strings.HasSuffix(f.last().Get("query"),
		` | (namespace="shop" and pod="cart-0" and uid="uid-cart-0" and container="app" and restart="9")`+
			` or (namespace="shop" and pod="cart-1" and uid="uid-cart-1" and container="app" and restart="2")`), f.last().Get("query"))

	f.series = []string{"shop/cart-0/once/0/stdout"}
	got = execute(t, options{}, "logs", "cart-0", "-p", "--addr", f.URL)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "no earlier run is stored")

	f.series = nil
	for range maxPrevious + 1 {
		name := "shop/cart-" + strings.Repeat("0", len(f.series)/2+1)
		f.series = append(f.series, name+"/app/0/stdout", name+"/app/1/stdout")
	}
	got = execute(t, options{}, "logs", "-p", "--addr", f.URL)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "--previous of 201 containers is too much for one query")
}

func TestNothingFound(t *testing.T) {
	f := newFakeLogs(t)
	f.queries = func(q url.Values) string {
		if q.Get("limit") == "1" {
			require.Equal(t, "1970-01-01T00:00:00Z", q.Get("start"))
			return testLine{seconds: 3 * 3600, labels: "shop/cart-0/app/0/stdout", text: "bye"}.wire() + endLine(1, true)
		}
		return answerOf()
	}
	got := execute(t, options{}, "logs", "sts/cart", "--addr", f.URL)
	require.Equal(t, exitOK, got.code)
	require.Empty(t, got.stdout)
	require.Contains(t, got.stderr, "nothing found; the last line before is of 2026-03-01 09:00:00: give --since 3h1m\n")

	got = execute(t, options{}, "logs", "sts/cart", "--include", "x", "-o", "json", "--addr", f.URL)
	require.Equal(t, "[]\n", got.stdout)
	require.Contains(t, got.stderr, "nothing found\n")

	f.queries = func(url.Values) string { return answerOf() }
	got = execute(t, options{}, "logs", "--addr", f.URL)
	require.Contains(t, got.stderr, "nothing found\n")
}

func TestLogsUsage(t *testing.T) {
	f := newCartLogs(t)
	f.names = []string{"namespace", "pod", "service_name"}
	for _, c := range []struct{ args, want string }{
		{"logs a b", `too many arguments, from "b" on`},
		{"logs deploymnt/cart", `deploymnt/cart: pods are not found by "deploymnt" (did you mean "deployment"?); types are cronjob, daemonset,`},
		{"logs svc/cart", "a Service finds its pods by their labels, which are not stored with logs: name the workload behind it, such as deploy/cart"},
		{"logs deploy/Cart!", `"Cart!" is not the name of a deployment`},
		{"logs (", `"(" is neither a pod, nor TYPE/NAME, nor a regular expression`},
		{"logs /var/(", `no file "/var/(" has lines, and it is no regular expression`},
		{"logs -l app=cart", `"app" is no label of log streams. Labels of Kubernetes pods are not stored with logs: name a workload instead (deploy/NAME)`},
		{"logs -l app.kubernetes.io/name=cart", `"app.kubernetes.io/name" is no label of log streams`},
		{"logs -l app=", `"app" is no label`},
		{"logs -l a=b=c", `"a=b=c" is not a selector, such as container=app,stream!=stdout`},
		{"logs -c [", `"[" is not a regular expression of RE2's syntax: missing closing ]`},
		{"logs --include \xff", "is not UTF-8: no line matches it"},
		{"logs --level loud", `"loud" is not one of trace, debug, info, warn, error, fatal`},
		{"logs --restart -1", `"-1" is not a restart number: want 0, 1, 2, …`},
		{"logs --tail -2", `"-2" is not a number of lines`},
		{"logs --tail 0", "--tail 0 prints nothing without -f"},
		{"logs --since 1h --since-time -1h", "[since since-time]"},
		{"logs -f --until -1h", "[follow until]"},
		{"logs -f -p", "[follow previous]"},
		{"logs -f -o json", "-o json is one document, which -f would never end: use -o jsonl"},
		{"logs --since-time tomorrow", `flag --since-time: "tomorrow" is not a time`},
		{"logs --until x", `flag --until: "x" is not a time`},
		{"logs --since-time -1h --until -2h", "the range is empty"},
		{"logs --timezone Mars", `"Mars" is not a time zone known here, such as Local, UTC or Europe/Oslo`},
		{"logs -o yaml", `"yaml" is not one of default, json, jsonl, raw or template=…`},
		{"logs -o template={{.Foo}}", "fields are .Timestamp .Namespace"},
		{"logs -o template={{", "unclosed action"},
	} {
		got := execute(t, options{}, append(strings.Fields(c.args), "--addr", f.URL)...)
		require.Contains(t, got.stderr, c.want, c.args)
		require.Equal(t, exitUsage, got.code, c.args)
		require.Empty(t, got.stdout, c.args)
	}
	got := execute(t, options{}, "logs", "-l", "service_name=cart", "--addr", f.URL)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, `{service_name="cart"}`, f.last().Get("query"))
}

func TestLogsEnvironment(t *testing.T) {
	f := newCartLogs(t)
	environ := []string{"BINNACLE_ADDR=" + f.URL, "BINNACLE_NAMESPACE=shop,bank"}
	got := execute(t, options{environ: environ}, "logs")
	require.Equal(t, exitOK, got.code, got.stderr)
	require.Equal(t, `{namespace=~"shop|bank"}`, f.last().Get("query"))
	execute(t, options{environ: environ}, "logs", "-A")
	require.Equal(t, `{}`, f.last().Get("query"))
	got = execute(t, options{environ: append(environ, "BINNACLE_LEVEL=loud")}, "logs")
	require.Contains(t, got.stderr, `environment variable BINNACLE_LEVEL: "loud" is not one of`)
	require.Equal(t, exitUsage, got.code)
}

// Answers that are not what they should be.
func TestLogsBadAnswers(t *testing.T) {
	line := cartLines[0].wire()
	for _, c := range []struct {
		name, answer string
		code         int
		want         string
	}{
		{"cut off", line, exitPartial, "partial result: the answer of http"},
		{"cut off within a line", line + line[:50], exitPartial, "was cut off: unexpected EOF"},
		{"empty", "", exitUsage, "was cut off: unexpected EOF"},
		{"warning", line + endLine(1, false, "reached the limit of 10 GiB"), exitPartial, "partial result: reached the limit of 10 GiB"},
		{"error after lines", line + `{"end":{"entries":1,"error":"disk on fire"}}` + "\n", exitPartial, "disk on fire"},
		{"error at once", `{"end":{"entries":0,"error":"disk on fire"}}` + "\n", exitUsage, "disk on fire"},
		{"not JSON", "<html>\n", exitUsage, "does not answer as binnacle's log API does"},
		{"no time", `{"ns":"now","labels":{},"line":"x"}` + "\n", exitUsage, `sent the time "now": want nanoseconds`},
		{"no labels", `{"ns":"1","labels":[],"line":"x"}` + "\n", exitUsage, "sent labels that are none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newCartLogs(t)
			f.queries = func(url.Values) string { return c.answer }
			got := execute(t, options{}, "logs", "--addr", f.URL, "-o", "raw")
			require.Equal(t, c.code, got.code)
			require.Contains(t, got.stderr, c.want)
			require.Equal(t, c.code == exitPartial, got.stdout == cartLines[0].text+"\n", got.stdout)
		})
	}
	f := newCartLogs(t)
	f.queries = func(url.Values) string { return `{"news":1}` + "\n" + line + endLine(1, false) }
	got := execute(t, options{}, "logs", "--addr", f.URL, "-o", "raw")
	require.Equal(t, cartLines[0].text+"\n", got.stdout, "unknown lines are passed over")
}

func TestLogsRefused(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		code   int
		want   string
	}{
		{http.StatusUnauthorized, "", exitForbidden, "asks for a credential (401)"},
		{http.StatusForbidden, "no access to namespace shop", exitForbidden, "forbids this (403): no access to namespace shop"},
		{http.StatusNotFound, "404 page not found", exitUsage, "has no such API (404)"},
		{http.StatusBadRequest, "parse error at line 1, col 5: unexpected }", exitUsage, "answers 400: parse error at line 1, col 5"},
		{http.StatusServiceUnavailable, "", exitUsage, "answers 503: Service Unavailable"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		for _, command := range []string{"logs", "logs cart", "logs -p", "logs -l app=x", "logs -f", "grep x", "grep x --context 1"} {
			got := execute(t, options{}, append(strings.Fields(command), "--addr", server.URL)...)
			require.Equal(t, c.code, got.code, command)
			require.Contains(t, got.stderr, c.want, command)
		}
		server.Close()
	}
	got := execute(t, options{}, "logs", "--addr", "http://127.0.0.1:1")
	require.Contains(t, got.stderr, "nothing listens at http://127.0.0.1:1")
	prometheus := newFakeAPI(t, always(http.StatusOK, success("[]")))
	got = execute(t, options{}, "logs", "--addr", prometheus.URL)
	require.Contains(t, got.stderr, `does not answer as binnacle's log API does: it sent "application/json" instead of application/x-ndjson`)
}

// Ctrl-C while the server is still looking.
func TestLogsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ndjson)
		_, _ = w.Write([]byte(cartLines[0].wire()))
		w.(http.Flusher).Flush()
		cancel()
		<-release
	}))
	defer server.Close()
	defer close(release)
	got := execute(t, options{ctx: ctx}, "logs", "-q", "--addr", server.URL)
	require.Equal(t, exitInterrupt, got.code)
	require.Empty(t, got.stderr)
}

// head has seen enough.
func TestLogsClosedPipe(t *testing.T) {
	f := newCartLogs(t)
	many := make([]testLine, 0, 3000)
	for range cap(many) {
		many = append(many, cartLines[0])
	}
	f.queries = func(url.Values) string { return answerOf(many...) }
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	defer w.Close()
	p := testProcess(nil, w)
	require.Equal(t, exitOK, run(t.Context(), p, []string{"logs", "-q", "--addr", f.URL}))
}

// All lines of a long answer arrive, in order, and lines longer than any buffer.
func TestLogsLongAnswer(t *testing.T) {
	f := newCartLogs(t)
	long := cartLines[0]
	long.text = strings.Repeat("é\n\x1b", 300_000)
	var lines []testLine
	var want strings.Builder
	for i := range 5000 {
		l := cartLines[0]
		l.text = strings.Repeat("x", i%700)
		if i == 2500 {
			l = long
		}
		lines = append(lines, l)
		want.WriteString(l.text + "\n")
	}
	f.queries = func(url.Values) string { return answerOf(lines...) }
	got := execute(t, options{}, "logs", "-o", "raw", "--addr", f.URL)
	require.Equal(t, exitOK, got.code, got.stderr)
	require.True(t, want.String() == got.stdout)
}

// testProcess is a process that writes to stdout.
func testProcess(environ []string, stdout *os.File) *process {
	return &process{
		environ: environ, stdout: stdout, stderr: os.Stderr, columns: terminalColumns,
		now: func() time.Time { return testNow }, zone: time.UTC,
	}
}
