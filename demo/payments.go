package demo

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// quietSteps is how many messages come between two bursts of errors.
const quietSteps = 15

// runPayments works quietly until its bank does not answer: then it logs a
// burst of errors with stack traces on stderr.
func runPayments(ctx context.Context, o *output) error {
	o.out("%s INFO  [main] ready to serve", o.stamp())
	for n := 1; o.pause(ctx, 2*time.Second); n++ {
		if n%quietSteps != 0 {
			o.out("%s INFO  [worker-%d] payment settled id=%d took=%dms", o.stamp(), rand.IntN(4), 1000+n, 40+rand.IntN(200))
			continue
		}
		if !o.burst(ctx) {
			break
		}
	}
	o.out("%s INFO  [main] shutting down", o.stamp())
	return nil
}

// burst logs errors in a short time.
func (o *output) burst(ctx context.Context) bool {
	o.out("%s WARN  [worker-0] bank does not answer, retrying", o.stamp())
	for range 4 + rand.IntN(8) {
		if !o.pause(ctx, 150*time.Millisecond) {
			return false
		}
		trace := pick(javaTrace, pythonTrace, goTrace)
		o.err("%s", strings.ReplaceAll(trace, "TIME", o.stamp()))
	}
	o.err("%s ERROR [worker-0] giving up on batch %d: connection refused", o.stamp(), rand.IntN(1000))
	return true
}

// Traces as the runtimes of these languages print them.
const (
	javaTrace = `TIME ERROR [worker-2] payment failed
java.lang.IllegalStateException: could not settle payment
	at com.example.payments.Settlement.settle(Settlement.java:118)
	at com.example.payments.Worker.run(Worker.java:57)
	at java.base/java.lang.Thread.run(Thread.java:1583)
Caused by: java.net.ConnectException: Connection refused
	at java.base/sun.nio.ch.Net.pollConnect(Native Method)
	at java.base/sun.nio.ch.NioSocketImpl.connect(NioSocketImpl.java:592)
	at com.example.payments.BankClient.post(BankClient.java:74)
	... 2 more`

	pythonTrace = `Traceback (most recent call last):
  File "/app/payments/risk.py", line 64, in score
    answer = session.post(RISK_URL, json=payload, timeout=2)
  File "/usr/lib/python3/dist-packages/requests/sessions.py", line 637, in post
    return self.request("POST", url, data=data, json=json, **kwargs)
requests.exceptions.ConnectTimeout: HTTPConnectionPool(host='risk', port=80): timed out`

	goTrace = `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x6d4a2f]

goroutine 42 [running]:
example.com/payments/ledger.(*Book).Append(0x0, {0xc0001a2000, 0x3})
	/src/ledger/book.go:91 +0x2f
example.com/payments/ledger.Replay({0x7f3c18, 0xc000118000})
	/src/ledger/replay.go:40 +0x1b4
created by example.com/payments/worker.Start in goroutine 1
	/src/worker/worker.go:28 +0x6e`
)
