//go:build system

package system

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPromtool uses Debian's promtool, and for push and check the one of
// go.mod's Prometheus, against a server and its data folder.
func TestPromtool(t *testing.T) {
	addr, dir := address(t), t.TempDir()
	p := binnacle(t, addr, "run", "--data-dir", dir, "--interval", "1s", "--enable-admin-api")
	up := `container_cpu_usage_seconds_total{id="/"}`
	await(t, up, func() bool { return len(query(t, addr, up, time.Time{})) == 1 })
	url := "http://" + addr
	now := time.Now()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"query", "instant", url, up}, `id="/"`},
		{[]string{"query", "range", "--start", stamp(now.Add(-time.Minute)), "--end", stamp(now.Add(2 * time.Second)), "--step", "1s", url, up}, `id="/"`},
		{[]string{"query", "series", "--match", up, url}, `id="/"`},
		{[]string{"query", "labels", url, "job"}, "cadvisor"},
	} {
		if out := tool(t, "promtool", c.args...); !strings.Contains(out, c.want) {
			t.Errorf("promtool %s does not say %q:\n%s", strings.Join(c.args, " "), c.want, tail(out))
		}
	}

	recent, err := exec.Command("bash", "../promtool.sh").Output()
	if err != nil {
		t.Fatalf("build promtool: %v", err)
	}
	metrics := filepath.Join(t.TempDir(), "metrics.prom")
	if err := os.WriteFile(metrics, []byte("# TYPE pushed gauge\npushed{by=\"promtool\"} 42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool := strings.TrimSpace(string(recent))
	tool(t, promtool, "check", "healthy", "--url", url)
	tool(t, promtool, "check", "ready", "--url", url)
	tool(t, promtool, "push", "metrics", url, metrics)
	await(t, "the pushed metric", func() bool {
		s := query(t, addr, "pushed", time.Time{})
		return len(s) == 1 && s[0].Value.number() == 42
	})

	// A block, which analyze and list want, comes after hours or by a snapshot.
	resp, err := http.Post(url+"/api/v1/admin/tsdb/snapshot", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	snapshots, err := filepath.Glob(filepath.Join(dir, "tsdb", "snapshots", "*"))
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("snapshots: %v, %v", snapshots, err)
	}
	p.stop(t, syscall.SIGTERM)
	for _, command := range []string{"analyze", "list", "dump"} {
		args, folder := []string{"tsdb", command}, snapshots[0]
		if command == "dump" {
			args, folder = append(args, `--match={__name__="pushed"}`), filepath.Join(dir, "tsdb")
		}
		out := tool(t, "promtool", append(args, folder)...)
		if command == "dump" && !strings.Contains(out, "42") {
			t.Errorf("promtool tsdb dump does not have the pushed sample:\n%s", tail(out))
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
