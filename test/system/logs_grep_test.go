//go:build system

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// client runs a client command and returns what it printed on both outputs,
// and its exit code.
func client(t testing.TB, addr string, args ...string) (out, messages string, code int) {
	t.Helper()
	cmd := exec.Command(build+"/binnacle", append(args, "--addr", "http://"+addr)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// grepped are the pods of the corpus: those of deploy/cart in the namespace
// shop, and some that look alike.
var grepped = []struct {
	dir  string
	cart bool
}{
	{"shop_cart-7d9f8b6c5d-x2x4z_00000000-0000-0000-0000-000000000001/app", true},
	{"shop_cart-7d9f8b6c5d-x2x4z_00000000-0000-0000-0000-000000000001/proxy", true},
	{"shop_cart-7d9f8b6c5d-k9w7q_00000000-0000-0000-0000-000000000002/app", true},
	{"shop_cart-66b5d4f9c8-vvz2n_00000000-0000-0000-0000-000000000003/app", true}, // of the ReplicaSet before
	{"shop_cart-db-7d9f8b6c5d-x2x4z_00000000-0000-0000-0000-000000000004/app", false},
	{"shop_cart-0_00000000-0000-0000-0000-000000000005/app", false}, // of a StatefulSet
	{"shop_cartoon-7d9f8b6c5d-x2x4z_00000000-0000-0000-0000-000000000006/app", false},
	{"billing_cart-7d9f8b6c5d-x2x4z_00000000-0000-0000-0000-000000000007/app", false},
}

// writeCorpus writes 4,000 lines a container, of which the agent reads what
// the pattern of the tests matches and what looks alike.
func writeCorpus(t testing.TB, root string) {
	t.Helper()
	texts := []string{
		"GET /cart 200 12ms", "dial tcp 10.0.0.7:5432: connection refused", "context deadline exceeded (timeout 5s)", "Timeout in capitals",
		"level=error msg=\"upstream refused\" code=503", "retry 3 of 5", "time out in two words", "größe=4 支付 timeout", "refuse", "\trefused, indented",
		"payload={\"state\":\"refused\"}", "a.b|c*d timeout$^ [x]",
	}
	at := time.Now().Add(-30 * time.Minute)
	for _, p := range grepped {
		dir := filepath.Join(root, p.dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for restart := range 2 {
			var b bytes.Buffer
			for n := range 2000 {
				at = at.Add(time.Duration(1+rand.IntN(1_000_000)) * time.Nanosecond)
				stream := []string{"stdout", "stderr"}[n%2]
				fmt.Fprintf(&b, "%s %s F %s n=%d %s\n", at.UTC().Format(time.RFC3339Nano), stream, texts[rand.IntN(len(texts))], n, p.dir)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(restart, ".log")), b.Bytes(), 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// grepFiles asks the real grep for the same lines.
func grepFiles(t testing.TB, root string, args ...string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "shop_cart-*", "*", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	var wanted []string
	for _, path := range files {
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range grepped {
			if p.dir == dir && p.cart {
				wanted = append(wanted, path)
			}
		}
	}
	cut := exec.Command("sh", append([]string{"-c", `cut -d " " -f 4- -- "$@"`, "cut"}, wanted...)...)
	texts, err := cut.Output()
	if err != nil {
		t.Fatal(err)
	}
	grep := exec.Command("grep", args...)
	grep.Env = append(os.Environ(), "LC_ALL=C")
	grep.Stdin = bytes.NewReader(texts)
	out, err := grep.Output()
	if err != nil {
		t.Fatal(err)
	}
	return sorted(string(out))
}

// sorted are the lines of a text in order.
func sorted(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// TestLogsGrep compares "binnacle grep" with grep over the files.
func TestLogsGrep(t *testing.T) {
	f := &fleet{t: t, root: t.TempDir()}
	writeCorpus(t, f.root)
	p := newPipeline(t, f.root)
	p.startServer(t)
	p.startAgent(t)
	settle(t, len(grepped)*4000, func() int { return count(p.server) })
	compareGrep(t, p.server, f.root)
}

// compareGrep runs several patterns over a store that holds the corpus.
func compareGrep(t *testing.T, addr, root string) {
	for _, c := range []struct {
		ours, peer []string
	}{
		{[]string{"timeout|refused"}, []string{"-aE", "timeout|refused"}},
		{[]string{"-i", "timeout|refused"}, []string{"-aiE", "timeout|refused"}},
		{[]string{"-v", "timeout|refused"}, []string{"-avE", "timeout|refused"}},
		{[]string{"-F", "c*d timeout$^ [x]"}, []string{"-aF", "c*d timeout$^ [x]"}},
		{[]string{"-e", "refused", "-e", "支付"}, []string{"-a", "-e", "refused", "-e", "支付"}},
		{[]string{"^context .*5s\\)"}, []string{"-aE", "^context .*5s\\)"}},
		{[]string{"efus"}, []string{"-a", "efus"}},
		{[]string{"n=17[0-9]{2} "}, []string{"-aE", "n=17[0-9]{2} "}},
	} {
		t.Run(strings.Join(c.ours, " "), func(t *testing.T) {
			args := append([]string{"grep", "-n", "shop"}, c.ours...)
			out, messages, code := client(t, addr, append(args, "deploy/cart", "--since", "1h", "-o", "raw")...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, messages)
			}
			got, want := sorted(out), grepFiles(t, root, c.peer...)
			if !slices.Equal(got, want) {
				t.Errorf("%d lines, grep finds %d\n%s", len(got), len(want), firstDifference(got, want))
			}
			t.Logf("%d lines", len(want))
		})
	}
}

// firstDifference shows where two sorted lists part.
func firstDifference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("line %d: %q, grep finds %q", i, got[i], want[i])
		}
	}
	return ""
}

// TestLogsExitCodes requires the exit codes that scripts rely on.
func TestLogsExitCodes(t *testing.T) {
	root := t.TempDir()
	writeCorpus(t, root)
	p := newPipeline(t, root)
	p.serverArgs = append(p.serverArgs, "--logs-query-max-bytes", "2MB")
	p.startServer(t)
	p.startAgent(t)
	stored := func() int {
		params, n := all(), 0
		params.Set("query", `{cluster="ledger", namespace="billing"}`)
		_, err := logLines(context.Background(), p.server, "/loki/api/v1/query_range", params, func(found) error { n++; return nil })
		if err != nil {
			return 0
		}
		return n
	}
	settle(t, 4000, stored)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"found", []string{"grep", "-n", "billing", "refused", "deploy/cart"}, 0, ""},
		{"not found", []string{"grep", "-n", "billing", "no such text", "deploy/cart"}, 1, ""},
		{"no lines are no error", []string{"logs", "-n", "nowhere"}, 0, ""},
		{"not a regular expression", []string{"grep", "("}, 2, "regular expression"},
		{"unknown flag", []string{"grep", "x", "--no-such-flag"}, 2, "no-such-flag"},
		{"unknown type", []string{"logs", "deplyo/cart"}, 2, "deplyo"},
		{"a limit of the server", []string{"logs", "-o", "raw", "--tail=-1"}, 5, "limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, messages, code := client(t, p.server, c.args...)
			if code != c.code || !strings.Contains(messages, c.says) {
				t.Errorf("exit code %d, want %d, and a message with %q:\n%s", code, c.code, c.says, tail(messages))
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		if _, messages, code := client(t, address(t), "grep", "x"); code != 2 {
			t.Errorf("exit code %d, want 2: %s", code, messages)
		}
	})
}
