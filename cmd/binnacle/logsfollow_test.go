package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// followed runs a command line until the server's last answer of tail was
// read, which ends it as Ctrl-C does.
func followed(t *testing.T, f *fakeLogs, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.tails = append(f.tails, func(w io.Writer, r *http.Request) {
		// Whoever asks again has read and printed what came before.
		cancel()
		<-r.Context().Done()
	})
	return execute(t, options{ctx: ctx}, append(args, "--addr", f.URL)...)
}

// sends answers a request of tail with lines and then cuts the connection.
func sends(parts ...string) func(io.Writer, *http.Request) {
	return func(w io.Writer, _ *http.Request) {
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
		}
	}
}

func numbered(n int, seconds float64) testLine {
	return testLine{seconds: seconds, labels: "shop/cart-0/app/0/stdout", text: fmt.Sprintf("line %d", n), id: fmt.Sprintf("%048x", n)}
}

// The lines of several connections come without gap or repeat.
func TestFollowReconnects(t *testing.T) {
	f := newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){
		sends(numbered(1, 3000).wire(), numbered(2, 40).wire(), numbered(3, 39).wire()),
		// The server stops in order; late lines came meanwhile.
		sends(numbered(2, 40).wire(), numbered(9, 39.5).wire(), numbered(3, 39).wire(), numbered(4, 10).wire(), endLine(4, false)),
		// It refuses while it starts.
		func(w io.Writer, _ *http.Request) {
			w.(flushing).WriteHeader(http.StatusServiceUnavailable)
		},
		sends(numbered(9, 39.5).wire(), numbered(3, 39).wire(), numbered(4, 10).wire(), numbered(5, 9).wire()),
	}
	got := followed(t, f, "logs", "-f", "sts/cart", "-o", "raw")
	require.Equal(t, "line 1\nline 2\nline 3\nline 9\nline 4\nline 5\n", got.stdout)
	require.Equal(t, exitInterrupt, got.code)
	require.Equal(t, 3, strings.Count(got.stderr, "; trying again\n"), got.stderr)
	require.Equal(t, 2, strings.Count(got.stderr, "connected to "+f.URL+" again\n"), got.stderr)

	require.Equal(t, []string{"0", "2026-03-01T11:00:00Z"}, []string{f.requests[0].Get("limit"), f.requests[0].Get("start")})
	// A minute before the newest line.
	require.Equal(t, []string{"0", "2026-03-01T11:58:21Z"}, []string{f.requests[1].Get("limit"), f.requests[1].Get("start")})
	require.Equal(t, []string{"0", "2026-03-01T11:58:50Z"}, []string{f.requests[3].Get("limit"), f.requests[3].Get("start")})
}

// Lines without an id that are all the same are repeated as often as they were
// there before, no more and no less.
func TestFollowEqualLines(t *testing.T) {
	same := testLine{seconds: 5, labels: "shop/cart-0/app/0/stdout", text: "tick"}
	other := same
	other.labels = "shop/cart-1/app/0/stdout"
	f := newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){
		sends(same.wire(), same.wire()),
		sends(same.wire(), other.wire(), same.wire(), same.wire()),
	}
	got := followed(t, f, "logs", "-f", "--prefix")
	require.Equal(t, strings.Repeat("shop cart-0 app tick\n", 2)+"shop cart-1 app tick\nshop cart-0 app tick\n", got.stdout)
}

// --tail does not bring older lines after a lost connection.
func TestFollowTail(t *testing.T) {
	f := newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){sends(numbered(7, 20).wire(), numbered(8, 10).wire())}
	got := followed(t, f, "logs", "-f", "--tail", "2", "-o", "raw")
	require.Equal(t, "line 7\nline 8\n", got.stdout)
	require.Equal(t, "2", f.requests[0].Get("limit"))
	require.Equal(t, []string{"0", "2026-03-01T11:59:40Z"}, []string{f.requests[1].Get("limit"), f.requests[1].Get("start")})

	f = newFakeLogs(t)
	followed(t, f, "logs", "-f", "--tail", "0")
	require.Equal(t, []string{"0", "2026-03-01T12:00:00Z"}, []string{f.requests[0].Get("limit"), f.requests[0].Get("start")})
}

func TestFollowJoinsAndDrops(t *testing.T) {
	at := func(labels string) string { return testLine{seconds: 1, labels: labels, text: "x"}.wire() }
	f := newFakeLogs(t)
	f.tails = []func(io.Writer, *http.Request){sends(
		at("shop/cart-0/app/9/stdout"), at("shop/cart-0/app/9/stderr"), at("shop/cart-0/proxy/0/stdout"), at("/var/log/syslog"),
		`{"progress":{"entries":4,"dropped":0}}`+"\n", `{"progress":{"entries":4,"dropped":3}}`+"\n", `{"progress":{"entries":4,"dropped":5}}`+"\n",
		at("shop/cart-0/app/10/stdout"), at("shop/cart-0/app/9/stdout"),
	)}
	got := followed(t, f, "logs", "-f", "-o", "raw")
	require.Contains(t, got.stderr, `+ shop cart-0 › app
+ shop cart-0 › proxy
warning: this reader is too slow, 3 lines are left out
warning: this reader is too slow, 2 lines are left out
- shop cart-0 › app
+ shop cart-0 › app (restart 10)
`)
}

// A pod that is gone from the metrics has left.
func TestLeaves(t *testing.T) {
	api := newFakeAPI(t, always(http.StatusOK, success(`{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"cart-0"},"value":[1,"1"]}]}`)))
	var stderr strings.Builder
	p := &process{stderr: &stderr, now: time.Now, columns: func(io.Writer) int { return 0 }}
	c, err := newLogClient(p, clientSettings{addr: api.URL})
	require.NoError(t, err)
	j := newJoins(c)
	source := func(pod string) *logSource {
		return &logSource{labels: testLabels("shop/" + pod + "/app/0/stdout"), namespace: "shop", pod: pod, container: "app"}
	}
	j.see(source("cart-0"))
	j.see(source("cart-1")) // never in the metrics: nothing is known of it
	pods, err := c.presentPods(t.Context())
	require.NoError(t, err)
	for range 2 {
		j.presence.Store(&pods)
		j.leave()
	}
	none := map[string]bool{}
	for range 2 {
		j.presence.Store(&none)
		j.leave()
	}
	j.see(source("cart-0")) // its last words
	require.Equal(t, "+ shop cart-0 › app\n+ shop cart-1 › app\n- shop cart-0 › app\n", stderr.String())
	for i := range maxJoined + 5 {
		j.see(source(fmt.Sprint("pod-", i)))
	}
	require.LessOrEqual(t, len(j.joined), maxJoined)
}

// What does not pass ends it.
func TestFollowEnds(t *testing.T) {
	for name, tails := range map[string][]func(io.Writer, *http.Request){
		"the query fails": {sends(numbered(1, 1).wire(), `{"end":{"entries":1,"error":"disk on fire"}}`+"\n")},
		"refused later": {sends(numbered(1, 1).wire()), func(w io.Writer, _ *http.Request) {
			w.(flushing).WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "disk on fire")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeLogs(t)
			f.tails = tails
			got := execute(t, options{}, "logs", "-f", "-o", "raw", "--addr", f.URL)
			require.Equal(t, "line 1\n", got.stdout)
			require.Contains(t, got.stderr, "disk on fire")
			require.Contains(t, []int{exitUsage, exitForbidden}, got.code)
		})
	}
}

// No more lines are remembered than there is room for, and what is forgotten
// is not asked for again.
func TestSeenLinesAreBounded(t *testing.T) {
	s := newSeenLines(3)
	entry := func(n int) *logEntry { return &logEntry{id: fmt.Sprint(n), ns: int64(n)} }
	for n := 1; n <= 5; n++ {
		s.add(entry(n))
	}
	require.Len(t, s.ring, 3)
	require.Equal(t, []int64{5, 2}, []int64{s.newest, s.forgotten})
	s.expectRepeats(s.forgotten + 1)
	for n := 3; n <= 5; n++ {
		require.True(t, s.repeats(entry(n)))
		require.False(t, s.repeats(entry(n)), "only once")
	}
	require.False(t, s.repeats(entry(6)))

	f := &follower{c: &logClient{}, query: queryRequest{expr: "{}"}, seen: s, connected: true}
	require.Equal(t, nanoseconds(3), f.params().Get("start"))
}
