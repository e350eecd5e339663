//go:build system

package system

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
)

// TestBadCommandLines requires of what cannot start: exit code 2 and words
// that say what is wrong.
func TestBadCommandLines(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yml")
	writeFile(t, broken, "retention: [\n")
	unknown := filepath.Join(dir, "unknown.yml")
	writeFile(t, unknown, "retentoin: 3d\n")
	rules := filepath.Join(dir, "rules.yml")
	writeFile(t, rules, "groups: [{name: a, rules: [{alert: b, expr: '1 +'}]}]\n")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"malformed configuration", []string{"run", "--config", broken}, []string{"broken.yml"}},
		{"unknown key", []string{"run", "--config", unknown}, []string{"retentoin", "unknown.yml"}},
		{"unknown flag", []string{"run", "--retentoin", "3d"}, []string{"retentoin"}},
		{"no cgroups", []string{"run", "--data-dir", filepath.Join(dir, "d"), "--cgroup-root", "/nowhere"}, []string{"/nowhere"}},
		{"broken rules", []string{"server", "--data-dir", filepath.Join(dir, "e"), "--rules", rules}, []string{"rules.yml"}},
		{
			"open to all",
			[]string{"server", "--data-dir", filepath.Join(dir, "f"), "--listen", "0.0.0.0:0"},
			[]string{"--tls-cert-file", "--tls-key-file", "--auth-token-file", "--tls-client-ca-file", "--insecure"},
		},
		{"agent without a server", []string{"agent", "--data-dir", filepath.Join(dir, "g")}, []string{"--server"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			if !strings.Contains(strings.Join(args, " "), "--listen") {
				args = append(args, "--listen", address(t))
			}
			p := start(t, nil, build+"/binnacle", args...)
			select {
			case <-p.ended:
			case <-time.After(time.Minute):
				t.Fatal("it runs")
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range c.want {
				if !strings.Contains(p.out.String(), want) {
					t.Errorf("the message does not name %q:\n%s", want, p.out)
				}
			}
		})
	}
}

// writeFile makes a file with the permissions of a secret.
func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBadRequests requires a client error and a process that lives on.
func TestBadRequests(t *testing.T) {
	addr := address(t)
	p := binnacle(t, addr, "server", "--data-dir", t.TempDir(), "--query-max-samples", "1000")
	for i := range 50 {
		if status, err := remoteWrite(addr, "many", 100, time.Now().Add(time.Duration(i-50)*time.Second), 1); err != nil || status/100 != 2 {
			t.Fatalf("remote write: %d, %v", status, err)
		}
	}
	whole := snappy.Encode(nil, bytes.Repeat([]byte{0xff}, 1000))
	for _, c := range []struct {
		name string
		body []byte
		want int
	}{
		{"truncated body", whole[:len(whole)/2], http.StatusBadRequest},
		{"no protobuf", whole, http.StatusBadRequest},
		{"100 MB", make([]byte, 100<<20), http.StatusRequestEntityTooLarge},
		{"100 MB packed", snappy.Encode(nil, make([]byte, 100<<20)), http.StatusRequestEntityTooLarge},
	} {
		if status, err := post(addr, c.body); err != nil || status != c.want {
			t.Errorf("%s: status %d, %v; want %d", c.name, status, err, c.want)
		}
	}
	for expr, want := range map[string]string{
		"many[1h]": "too many samples",
		"sum(":     "parse error",
	} {
		var data any
		err := get(addr, "/api/v1/query", url.Values{"query": {expr}}, &data)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("query %s: %v, want %q", expr, err, want)
		}
	}
	select {
	case <-p.ended:
		t.Fatal("the server ended:", p.err)
	default:
	}
	if got := query(t, addr, "count(many)", time.Time{}); len(got) != 1 || got[0].Value.V != "100" {
		t.Errorf("after the bad requests count(many) is %v", got)
	}
}

// TestAccess serves all addresses with TLS and a token, and only so.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	key, cert, token := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "token")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost").CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	writeFile(t, token, "secret\n")
	_, port, _ := strings.Cut(address(t), ":")
	start(t, nil, build+"/binnacle", "server", "--data-dir", filepath.Join(dir, "data"), "--listen", "0.0.0.0:"+port,
		"--tls-cert-file", cert, "--tls-key-file", key, "--auth-token-file", token)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	status := func(token string) int {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%s/api/v1/query?query=1", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	await(t, "an answer with the token", func() bool { return status("secret") == http.StatusOK })
	for _, wrong := range []string{"", "guess"} {
		if got := status(wrong); got != http.StatusUnauthorized {
			t.Errorf("token %q: status %d, want 401", wrong, got)
		}
	}
}

// TestReload changes the rules and sends SIGHUP; broken rules change nothing.
func TestReload(t *testing.T) {
	addr, dir := address(t), t.TempDir()
	rules := filepath.Join(dir, "rules.yml")
	rule := "groups: [{name: g, interval: 1s, rules: [{record: %s, expr: vector(1)}]}]\n"
	writeFile(t, rules, fmt.Sprintf(rule, "first"))
	p := binnacle(t, addr, "server", "--data-dir", filepath.Join(dir, "data"), "--rules", rules)
	await(t, "the first rule", func() bool { return len(query(t, addr, "first", time.Time{})) == 1 })
	writeFile(t, rules, "groups: [")
	p.signal(syscall.SIGHUP)
	await(t, "a complaint", func() bool { return strings.Contains(p.out.String(), "rules.yml") })
	writeFile(t, rules, fmt.Sprintf(rule, "second"))
	p.signal(syscall.SIGHUP)
	await(t, "the second rule", func() bool { return len(query(t, addr, "second", time.Time{})) == 1 })
}
