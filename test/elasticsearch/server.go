//go:build system

// Package elasticsearch runs storage/elastic against real Elasticsearch and
// OpenSearch servers. README.md tells what they are and what they can do.
package elasticsearch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startTime bounds how long a server may take to start, downloads included.
const startTime = 5 * time.Minute

// Server is one node on loopback. Its data outlives Kill and Restart.
type Server struct {
	Engine, Version string
	// URL stays the same over restarts.
	URL string

	dir      string
	port     int
	settings []string
	command  *exec.Cmd
	ended    chan struct{}
}

// Start starts a server of an empty data folder and waits until it answers. It
// ends with the test. Settings are the node's, key=value.
func Start(t testing.TB, engine, version string, settings ...string) *Server {
	t.Helper()
	s := &Server{Engine: engine, Version: version, dir: t.TempDir(), port: freePort(t), settings: settings}
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	s.Restart(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// IsOpenSearch tells which option the client needs.
func (s *Server) IsOpenSearch() bool { return s.Engine == "opensearch" }

// Restart starts a server that was killed, over its data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	require.Nil(t, s.command, "the server runs")
	arguments := append([]string{"up.sh", s.Engine, s.Version, s.dir, fmt.Sprint(s.port)}, s.settings...)
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	c := exec.Command("bash", arguments...)
	c.Stdout, c.Stderr = log, log
	// It dies with the test, however that ends.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(t, c.Start())
	s.command, s.ended = c, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = c.Wait() // killed, mostly
	}()
	deadline := time.Now().Add(startTime)
	for !s.isReady() {
		select {
		case <-s.ended:
			t.Fatalf("%s %s did not start:\n%s", s.Engine, s.Version, s.log())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s is not ready after %v:\n%s", s.Engine, s.Version, startTime, s.log())
		}
	}
}

// isReady tells whether all primary shards are there.
func (s *Server) isReady() bool {
	resp, err := http.Get(s.URL + "/_cluster/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var health struct{ Status string }
	return json.NewDecoder(resp.Body).Decode(&health) == nil && (health.Status == "green" || health.Status == "yellow")
}

// Kill ends the server as a crash does. A server that is not running stays so.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.command == nil {
		return
	}
	// The group: up.sh becomes the server, Maven may run before.
	if err := syscall.Kill(-s.command.Process.Pid, syscall.SIGKILL); err != nil {
		require.ErrorIs(t, err, syscall.ESRCH)
	}
	<-s.ended
	s.command = nil
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "output") }

func (s *Server) log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Call sends a request and returns the answer, which must have a status of 2xx.
func (s *Server) Call(t testing.TB, method, path, body string) []byte {
	t.Helper()
	status, answer := s.Try(t, method, path, body)
	require.Equal(t, 2, status/100, "%s %s: %d %s", method, path, status, answer)
	return answer
}

// Try sends a request and returns whatever the answer is.
func (s *Server) Try(t testing.TB, method, path, body string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, bytes.TrimSpace(answer)
}
