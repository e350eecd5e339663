package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Environment of a process of this test binary that is a server.
const (
	envDir   = "BINNACLE_TEST_SERVER_DIR"
	envRules = "BINNACLE_TEST_SERVER_RULES"
)

// serveForever is the main function of such a process: it prints its address
// and waits for its end.
func serveForever(dir, rules string) error {
	s, err := New(Options{DataDir: dir, RuleGlobs: []string{rules}})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	return errors.Join(s.Run(context.Background()), srv.Close())
}

// process is a server in a process of its own.
type process struct {
	cmd *exec.Cmd
	url string
}

func spawn(t *testing.T, dir, rules string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envDir+"="+dir, envRules+"="+rules)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	p.url = strings.TrimSpace(line)
	eventually(t, "the server is ready", func() bool {
		code, _ := get(t, p.url+"/-/ready")
		return code == http.StatusOK
	})
	return p
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

type activeAlert struct {
	State    string    `json:"state"`
	ActiveAt time.Time `json:"activeAt"`
}

func (p *process) alerts(t *testing.T) []activeAlert {
	t.Helper()
	_, body := get(t, p.url+"/api/v1/alerts")
	var a struct {
		Data struct {
			Alerts []activeAlert `json:"alerts"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	return a.Data.Alerts
}

// TestKillKeepsPendingAlert kills a server with an alert in its `for`, which is
// shorter than upstream's default grace period, below which upstream forgets.
func TestKillKeepsPendingAlert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yml")
	require.NoError(t, os.WriteFile(rules, []byte(`groups:
- name: a
  interval: 100ms
  rules:
  - alert: Always
    expr: vector(1)
    for: 5m
`), 0o600))
	p := spawn(t, filepath.Join(dir, "data"), rules)
	var before activeAlert
	eventually(t, "the alert has been pending for three seconds", func() bool {
		active := p.alerts(t)
		if len(active) == 1 {
			before = active[0]
		}
		return len(active) == 1 && time.Since(active[0].ActiveAt) > 3*time.Second
	})
	require.Equal(t, "pending", before.State)
	p.kill()

	restarted := time.Now()
	p = spawn(t, filepath.Join(dir, "data"), rules)
	eventually(t, "the alert counts from before the restart", func() bool {
		active := p.alerts(t)
		return len(active) == 1 && active[0].ActiveAt.Before(restarted.Add(-time.Second))
	})
	after := p.alerts(t)[0]
	require.Equal(t, "pending", after.State)
	// Upstream stores whole seconds; time that the server was away is added.
	require.False(t, after.ActiveAt.Before(before.ActiveAt.Truncate(time.Second)))
}

// TestKillKeepsAcknowledgedSamples kills a server at once after it has
// acknowledged samples.
func TestKillKeepsAcknowledgedSamples(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sent := 0
	for round := range 3 {
		p := spawn(t, filepath.Join(dir, "data"), filepath.Join(dir, "none*.yml"))
		for i := range 50 {
			sendSample(t, p.url, fmt.Sprintf("series_%d_%d", round, i), float64(i))
			sent++
		}
		p.kill()
	}
	p := spawn(t, filepath.Join(dir, "data"), filepath.Join(dir, "none*.yml"))
	_, body := get(t, p.url+"/api/v1/query?query=count({__name__=~%22series_.*%22})")
	require.Contains(t, body, fmt.Sprintf(`"%d"`, sent))
}
