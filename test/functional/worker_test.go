//go:build system

package functional

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// workerPath is the program of the folder worker, which test/system.sh puts
// beside the test binary.
func workerPath(t testing.TB) string {
	t.Helper()
	path := "/worker"
	if !inMachine() {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(filepath.Dir(self), "worker")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run the tests by make test-system", err)
	}
	return path
}

// startWorker starts a worker in group and returns without waiting for it to
// be ready.
func startWorker(t testing.TB, g *group, job string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(workerPath(t), strings.Fields(job)...)
	cmd.Env = []string{"BINNACLE_TEST_JOIN=" + strings.Join(g.directories(), " "), "GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start worker %q: %v", job, err)
	}
	return cmd, bufio.NewReader(out)
}

// awaitReady returns when the worker says so.
func awaitReady(t testing.TB, job string, out *bufio.Reader) {
	t.Helper()
	line, err := out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) || strings.TrimSpace(line) != "ready" {
		t.Fatalf("worker %q: %q, %v", job, line, err)
	}
}
