package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const patience = 60 * time.Second

// logBuffer is a writer that a test reads while a command writes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// daemon is a long-running command in this process.
type daemon struct {
	url    string
	stderr *logBuffer
	hangup chan os.Signal
	stop   context.CancelFunc
	code   chan int
}

var listening = regexp.MustCompile(`msg=Listening\. url=(\S+)`)

// start runs a long-running command on a free port until the test ends.
func start(t *testing.T, columns int, args ...string) *daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{stderr: &logBuffer{}, hangup: make(chan os.Signal), stop: cancel, code: make(chan int, 1)}
	p := &process{
		// GOGC keeps an agent from changing the garbage collector of the test.
		environ: []string{"GOGC=100", "BINNACLE_INTERVAL=1s"},
		stdout:  io.Discard,
		stderr:  d.stderr,
		columns: func(io.Writer) int { return columns },
		hangup:  func() <-chan os.Signal { return d.hangup },
		now:     time.Now,
		zone:    time.UTC,
	}
	go func() { d.code <- run(ctx, p, append(args, "--listen", "127.0.0.1:0", "--data-dir", t.TempDir())) }()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Log(d.stderr.String())
		}
	})
	require.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(d.stderr.String())
		if m != nil {
			d.url = m[1]
		}
		return m != nil
	}, patience, 10*time.Millisecond, "%s", d.stderr)
	return d
}

// finish stops the command and wants a graceful end.
func (d *daemon) finish(t *testing.T) {
	t.Helper()
	d.stop()
	select {
	case code := <-d.code:
		require.Equal(t, exitOK, code, "%s", d.stderr)
	case <-time.After(patience):
		t.Fatalf("did not stop: %s", d.stderr)
	}
	require.Contains(t, d.stderr.String(), "msg=Stopped.")
}

// eventually runs a client command until its output satisfies ok.
func (d *daemon) eventually(t *testing.T, ok func(string) bool, args ...string) {
	t.Helper()
	var last outcome
	require.Eventually(t, func() bool {
		last = execute(t, options{}, append(args, "--addr", d.url)...)
		return last.code == exitOK && ok(last.stdout)
	}, patience, 100*time.Millisecond, "%v", &last)
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
	return string(body)
}

func notEmpty(text string) bool { return text != "" }

func TestRunServesWhatItReads(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yml")
	writeRule := func(name string) {
		require.NoError(t, os.WriteFile(rules, []byte("groups:\n- name: g\n  interval: 1s\n  rules:\n  - record: "+name+"\n    expr: vector(7)\n"), 0o600))
	}
	writeRule("test:first")
	d := start(t, 100, "run", "--rules", rules, "--node-name", "here")

	welcome := d.stderr.String()
	require.Contains(t, welcome, "Starting binnacle.")
	d.eventually(t, notEmpty, "query", "instant", "count(container_memory_working_set_bytes)")
	d.eventually(t, func(out string) bool { return out == "VALUE\n7\n" }, "query", "instant", "max(test:first)")
	d.eventually(t, func(out string) bool {
		return strings.Contains(out, "here") && !strings.Contains(out, unknown)
	}, "top", "node")
	require.Contains(t, d.stderr.String(), "Listening on  "+d.url)

	require.Contains(t, get(t, d.url+"/metrics/cadvisor"), "container_memory_working_set_bytes{")
	require.Contains(t, get(t, d.url+"/metrics"), "binnacle_build_info{")
	var flags struct{ Data map[string]string }
	require.NoError(t, json.Unmarshal([]byte(get(t, d.url+"/api/v1/status/flags")), &flags))
	require.Equal(t, "1s", flags.Data["interval"])
	require.Equal(t, "here", flags.Data["node-name"])

	writeRule("test:second")
	d.hangup <- syscall.SIGHUP
	d.eventually(t, func(out string) bool { return out == "VALUE\n7\n" }, "query", "instant", "max(test:second)")
	require.NoError(t, os.WriteFile(rules, []byte("groups: ["), 0o600))
	d.hangup <- syscall.SIGHUP
	require.Eventually(t, func() bool { return strings.Contains(d.stderr.String(), "Reload failed") }, patience, 10*time.Millisecond)
	d.finish(t)
}

func TestAgentSendsToServer(t *testing.T) {
	server := start(t, 0, "server")
	agent := start(t, 0, "agent", "--server", server.url, "--node-name", "there")
	server.eventually(t, notEmpty, "query", "instant", `container_memory_working_set_bytes{id="/",node="there"}`)
	server.eventually(t, func(out string) bool { return strings.Contains(out, "there") }, "top", "node")
	require.Contains(t, get(t, agent.url+"/metrics"), "binnacle_build_info{")
	require.Contains(t, get(t, agent.url+"/metrics/cadvisor"), "container_memory_working_set_bytes{")
	agent.finish(t)
	server.finish(t)
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return writeFile(t, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		writeFile(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestTLSAndToken(t *testing.T) {
	cert, key := selfSigned(t)
	token := writeFile(t, "token", "s3cret-s3cret-s3cret-s3cret-s3cret\n")
	server := start(t, 0, "server", "--tls-cert-file", cert, "--tls-key-file", key, "--auth-token-file", token)
	require.True(t, strings.HasPrefix(server.url, "https://"), server.url)
	agent := start(t, 0, "agent", "--server", server.url, "--server-ca-file", cert, "--server-token-file", token)
	server.eventually(t, notEmpty, "query", "instant", `container_memory_working_set_bytes{id="/"}`, "--ca-file", cert, "--token-file", token)

	ask := []string{"query", "instant", "1", "--addr", server.url}
	got := execute(t, options{}, ask...)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "is signed by an unknown authority: give its certificate with --ca-file")

	got = execute(t, options{}, append(ask, "--ca-file", cert)...)
	require.Equal(t, exitForbidden, got.code)
	require.Contains(t, got.stderr, "asks for a credential (401): give --token-file")

	plain := "http://" + strings.TrimPrefix(server.url, "https://")
	got = execute(t, options{}, "query", "instant", "1", "--addr", plain)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "speaks HTTPS: give --addr "+server.url)

	got = execute(t, options{}, "query", "instant", "1", "--addr", "https://"+strings.TrimPrefix(agent.url, "http://"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "does not speak HTTPS: give --addr "+agent.url)
	agent.finish(t)
	server.finish(t)
}

func TestRefusedStarts(t *testing.T) {
	data := t.TempDir()
	for _, c := range []struct{ args, want string }{
		{"run --listen 0.0.0.0:0", "give --tls-cert-file and --tls-key-file, and --auth-token-file or --tls-client-ca-file (or --insecure"},
		{"run --cgroup-root /does/not/exist --listen 127.0.0.1:0", "/does/not/exist"},
		{"server --rules /does/not/exist/[ --listen 127.0.0.1:0", "/does/not/exist/["},
		{"server --data-dir /dev/null --listen 127.0.0.1:0", "/dev/null"},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := strings.Fields(c.args)
			if !strings.Contains(c.args, "--data-dir") {
				args = append(args, "--data-dir", data)
			}
			got := execute(t, options{}, args...)
			require.Equal(t, exitUsage, got.code)
			require.Contains(t, got.stderr, "binnacle: ")
			require.Contains(t, got.stderr, c.want)
		})
	}
}

func TestTwoOnOnePort(t *testing.T) {
	d := start(t, 0, "server")
	got := execute(t, options{}, "server", "--data-dir", t.TempDir(), "--listen", strings.TrimPrefix(d.url, "http://"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.stderr, "address already in use")
	d.finish(t)
}

func TestWriteURL(t *testing.T) {
	for server, want := range map[string]string{
		"http://a:7070":                 "http://a:7070/api/v1/write",
		"https://a/":                    "https://a/api/v1/write",
		"https://mimir/api/v1/push":     "https://mimir/api/v1/push",
		"https://a/prefix/api/v1/write": "https://a/prefix/api/v1/write",
	} {
		require.Equal(t, want, writeURL(server))
	}
}
