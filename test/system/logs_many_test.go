//go:build system

package system

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLogsManyPods stores 10,000 pods of 100 lines each.
func TestLogsManyPods(t *testing.T) {
	const pods, lines = 10_000, 100
	root := t.TempDir()
	writePods(t, root, pods, lines)
	p := newPipeline(t, root)
	server := p.startServer(t)
	agent := p.startAgent(t)
	begin := time.Now()
	settle(t, pods*lines, func() int { return count(p.server) })
	t.Logf("%d lines of %d pods stored in %v", count(p.server), pods, time.Since(begin).Round(100*time.Millisecond))
	for name, process := range map[string]*process{"server": server, "agent": agent} {
		peak := peakMemory(t, process)
		t.Logf("peak memory of the %s: %d MiB", name, peak>>20)
		if peak > 1<<30 {
			t.Errorf("the %s took %d MiB", name, peak>>20)
		}
	}
	var data struct{ Result []series }
	err := get(p.server, "/loki/api/v1/query", url.Values{
		"query": {`count(sum by (pod) (count_over_time({cluster="` + cluster + `"}[2h])) == ` + fmt.Sprint(lines) + `)`},
		"time":  {until(time.Now().Add(time.Minute))},
	}, &data)
	if err != nil || len(data.Result) != 1 || data.Result[0].Value.number() != pods {
		t.Errorf("pods with %d lines: %+v, %v", lines, data.Result, err)
	}
	for range 20 {
		pod := fmt.Sprintf("pod-%05d", rand.IntN(pods))
		out, messages, code := client(t, p.server, "logs", pod, "-n", "many", "-o", "raw")
		if got := strings.Count(out, "\n"); got != lines || strings.Count(out, pod+" ") != lines || code != 0 {
			t.Errorf("%s has %d lines, exit code %d: %s", pod, got, code, messages)
		}
	}
}

// writePods writes lines in time order over all pods, as they would come.
func writePods(t testing.TB, root string, pods, lines int) {
	t.Helper()
	at := time.Now().Add(-10 * time.Minute)
	for i := range pods {
		pod := fmt.Sprintf("pod-%05d", i)
		dir := filepath.Join(root, fmt.Sprintf("many_%s_5f3c1a52-8f0e-4c7b-9d55-%012x", pod, i), "app")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var b []byte
		for n := range lines {
			when := at.Add(time.Duration(n)*time.Second + time.Duration(i)*time.Microsecond)
			b = fmt.Appendf(b, "%s stdout F %s line %d of a pod that does not say much, order=%d took=%dms\n",
				when.UTC().Format(time.RFC3339Nano), pod, n, rand.Int64(), rand.IntN(500))
		}
		if err := os.WriteFile(filepath.Join(dir, "0.log"), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// peakMemory is the most resident memory that a process had, in bytes.
func peakMemory(t testing.TB, p *process) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
