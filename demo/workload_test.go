package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// untilFull ends a workload when there is enough output.
type untilFull struct {
	mu     sync.Mutex
	b      bytes.Buffer
	most   int
	cancel func()
}

func (u *untilFull) Write(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.b.Len() > u.most {
		u.cancel()
	}
	return u.b.Write(b)
}

// collect runs a workload until it has written about size bytes.
func collect(t *testing.T, name string, size int) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	parent, child := io.Pipe()
	defer child.Close()
	go func() { _, _ = child.Write([]byte{'\n'}) }()
	out, err := &untilFull{most: size, cancel: cancel}, &untilFull{most: size, cancel: cancel}
	require.NoError(t, RunWorkload(ctx, name, "100000", parent, out, err))
	return out.b.String(), err.b.String()
}

func TestShopIsHealthy(t *testing.T) {
	stdout, stderr := collect(t, "shop", 40_000)
	require.Empty(t, stderr)
	for _, kind := range []string{`" 200 `, `level=info caller=stock.go:88`, `"msg":"order placed"`, "/healthz", "ready to serve", "shutting down"} {
		require.Contains(t, stdout, kind)
	}
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, "{") {
			require.True(t, json.Valid([]byte(line)), line)
		}
		require.NotContains(t, line, "rror")
	}
}

func TestPaymentsFailsInBursts(t *testing.T) {
	stdout, stderr := collect(t, "payments", 60_000)
	require.Contains(t, stdout, "payment settled")
	for _, trace := range []string{"Caused by: java.net.ConnectException", "Traceback (most recent call last):", "goroutine 42 [running]:"} {
		require.Contains(t, stderr, trace)
	}
	require.NotContains(t, stderr, "TIME ")
	require.NotContains(t, stdout, "ERROR")
}

func TestRunWorkloadRefuses(t *testing.T) {
	for _, c := range []struct{ name, speed, want string }{
		{"shop", "fast", `"fast" is not a speed, such as 1`},
		{"shop", "0", `"0" is not a speed`},
		{"shop", "NaN", `"NaN" is not a speed`},
		{"shoe", "1", `no demo workload is called "shoe"`},
		{"shop", "1", "the parent is gone before the start: EOF"},
	} {
		err := RunWorkload(t.Context(), c.name, c.speed, strings.NewReader(""), io.Discard, io.Discard)
		require.ErrorContains(t, err, c.want)
	}
}

// A workload ends with the pipe that its parent holds.
func TestParentGone(t *testing.T) {
	err := RunWorkload(t.Context(), "shop", "1", strings.NewReader("\n"), io.Discard, io.Discard)
	require.NoError(t, err)
}
