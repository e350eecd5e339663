package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// workload is a program of the demo and the pod that it runs in. The names of
// pods are such as a Deployment's get.
type workload struct {
	name           string
	pod, container string
	limits         limits
	// run writes log lines until ctx ends.
	run func(ctx context.Context, o *output) error
}

// workloads are all of the demo.
var workloads = []*workload{
	{name: "shop", pod: "shop-7d9f8c6b5d-x2x4k", container: "web", limits: limits{memory: 128 << 20, cpu: 200}, run: runShop},
	{name: "cart", pod: "cart-5c6d8f9b47-q8zvn", container: "app", limits: limits{memory: leakLimit, cpu: 200}, run: runCart},
	{name: "payments", pod: "payments-6f7b9d5c48-lw5tz", container: "worker", limits: limits{memory: 128 << 20, cpu: 200}, run: runPayments},
}

// RunWorkload is the program of a container: it runs the workload called name,
// speed times as fast as usual, until it is told to stop. It begins when a byte
// comes on stdin and ends when that is closed, as its parent is gone then.
func RunWorkload(ctx context.Context, name, speed string, stdin io.Reader, stdout, stderr io.Writer) error {
	factor, err := strconv.ParseFloat(speed, 64)
	if err != nil || !(factor > 0) { // NaN is not
		return fmt.Errorf("%q is not a speed, such as 1", speed)
	}
	for _, w := range workloads {
		if w.name == name {
			return w.start(ctx, stdin, &output{stdout: stdout, stderr: stderr, speed: factor, now: time.Now})
		}
	}
	return fmt.Errorf("no demo workload is called %q", name)
}

// start waits for the byte and runs the workload.
func (w *workload) start(ctx context.Context, stdin io.Reader, o *output) error {
	if _, err := stdin.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the parent is gone before the start: %w", err)
	}
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	return w.run(ctx, o)
}

// output is where a workload writes to, and its clock.
type output struct {
	stdout, stderr io.Writer
	speed          float64
	now            func() time.Time
}

// out and err write a line.
func (o *output) out(format string, args ...any) {
	_, _ = fmt.Fprintf(o.stdout, format+"\n", args...)
}

func (o *output) err(format string, args ...any) {
	_, _ = fmt.Fprintf(o.stderr, format+"\n", args...)
}

// stamp is the time as most programs write it.
func (o *output) stamp() string { return o.now().UTC().Format("2006-01-02T15:04:05.000Z") }

// pause waits for about d and tells whether to go on.
func (o *output) pause(ctx context.Context, d time.Duration) bool {
	jittered := time.Duration(float64(d) / o.speed * (0.5 + rand.Float64()))
	select {
	case <-ctx.Done():
		return false
	case <-time.After(jittered):
		return true
	}
}

// pick returns one of choices.
func pick[T any](choices ...T) T { return choices[rand.IntN(len(choices))] }
