//go:build system

package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build is the folder of the binaries.
const build = "../../build"

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is a running program that ends with the test at the latest.
type process struct {
	cmd *exec.Cmd
	out *output
	// ended is closed when the program has ended; err is then set.
	ended chan struct{}
	err   error
}

// start runs a program; what it printed is shown if the test fails.
func start(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), out: &output{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v: the packages of test/packages.txt and make build are needed", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", filepath.Base(name), strings.Join(args, " "), tail(p.out.String()))
		}
	})
	return p
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// stop ends the program with a signal and waits for it.
func (p *process) stop(t testing.TB, s syscall.Signal) {
	t.Helper()
	p.signal(s)
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not end after %v", p.cmd.Path, s)
	}
}

// address is a loopback address that nothing listens on.
func address(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// binnacle starts build/binnacle and waits until it is ready.
func binnacle(t testing.TB, addr string, args ...string) *process {
	t.Helper()
	p := start(t, nil, build+"/binnacle", append(args, "--listen", addr)...)
	p.awaitReady(t, "http://"+addr+"/-/ready")
	return p
}

// awaitReady waits until url answers 200 or the process ends.
func (p *process) awaitReady(t testing.TB, target string) {
	t.Helper()
	await(t, target, func() bool {
		select {
		case <-p.ended:
			t.Fatalf("ended early: %v\n%s", p.err, tail(p.out.String()))
		default:
		}
		resp, err := http.Get(target)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// await polls until condition holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// series is one element of a query's result.
type series struct {
	Metric map[string]string
	Value  point
	Values []point
}

// point is a [time, "value"] pair of the API.
type point struct {
	T float64
	V string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&p.T, &p.V})
}

// number is the value; it is 0 if there is none.
func (p point) number() float64 {
	var v float64
	_, _ = fmt.Sscan(p.V, &v)
	return v
}

// get decodes the data of an API answer.
func get(addr, path string, params url.Values, data any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path+"?"+params.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Data  json.RawMessage
		Error string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %s: %w", resp.Status, tail(string(body)), err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// query evaluates an instant query; at is the present when it is zero.
func query(t testing.TB, addr, expr string, at time.Time) []series {
	t.Helper()
	params := url.Values{"query": {expr}}
	if !at.IsZero() {
		params.Set("time", fmt.Sprintf("%.3f", float64(at.UnixMilli())/1e3))
	}
	var data struct{ Result []series }
	if err := get(addr, "/api/v1/query", params, &data); err != nil {
		t.Fatalf("query %s: %v", expr, err)
	}
	return data.Result
}

// tool runs a program to its end and returns what it printed.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(string(out)))
	}
	return string(out)
}
