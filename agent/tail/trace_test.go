package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// traces are one record each; lines between them stand alone.
var traces = map[string]string{
	"java": `Exception in thread "main" java.lang.IllegalStateException: cart is gone
	at com.shop.Cart.load(Cart.java:42)
	at java.base/java.lang.Thread.run(Thread.java:833)
Caused by: java.io.IOException: connection reset
	at com.shop.Db.read(Db.java:7)
	... 2 more
	Suppressed: java.lang.RuntimeException: close
		at com.shop.Db.close(Db.java:9)`,
	"java logger": `2026-11-27 12:00:00 ERROR com.shop.Cart - java.lang.NullPointerException: x
	at com.shop.Cart.load(Cart.java:42)
	... 3 common frames omitted`,
	"python": `Traceback (most recent call last):
  File "/app/main.py", line 7, in <module>
    load()
    ^^^^^^
  File "/app/main.py", line 3, in load
    raise KeyError("cart")
KeyError: 'cart'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 9, in <module>
    fail()
shop.errors.CartError: no cart`,
	"go panic": `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f1a5]

goroutine 1 [running]:
main.load(...)
	/app/main.go:12
main.main()
	/app/main.go:8 +0x1d

goroutine 7 [select]:
net/http.(*Server).Serve(0xc000, {0x1, 0x2})
	/usr/lib/go/net/http/server.go:3056 +0x364
created by main.main in goroutine 1
	/app/main.go:6 +0x7a`,
	"go fatal": `fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.main()
	/app/main.go:4 +0x2c`,
	"ruby": `app.rb:3:in ` + "`load'" + `: no cart (RuntimeError)
	from app.rb:7:in ` + "`<main>'",
	"rails": `NoMethodError (undefined method 'x' for nil:NilClass):
  
app/models/cart.rb:12:in 'load'
app/controllers/carts_controller.rb:7:in 'show'`,
	"node": `TypeError: Cannot read properties of undefined (reading 'cart')
    at load (/app/index.js:3:11)
    at Object.<anonymous> (/app/index.js:7:1) {
  code: 'ERR_CART'
}`,
	"node plain": `Error: connect ECONNREFUSED 127.0.0.1:5432
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1495:16)`,
	"dotnet": `Unhandled exception. System.InvalidOperationException: no cart
 ---> System.IO.IOException: reset
   at Shop.Db.Read() in /app/Db.cs:line 7
   --- End of inner exception stack trace ---
   at Shop.Program.Main() in /app/Program.cs:line 3`,
}

var ordinary = []string{
	"2026-11-27 INFO started", `{"level":"error","error":"java.io.IOException: x"}`, "no Error here", "  indented", "",
	"Errors: 0", "GET /Error 200", "at noon", "panic mode is off", "Traceback", "goroutine count 7", "}",
}

// groups runs lines through the state machine as a joiner does.
func groups(lines []string) []string {
	var out []string
	state := noTrace
	for _, line := range lines {
		if state != noTrace {
			if next, ok := state.next([]byte(line)); ok {
				state = next
				out[len(out)-1] += "\n" + line
				continue
			}
		}
		state = traceStart([]byte(line))
		out = append(out, line)
	}
	return out
}

func TestTraces(t *testing.T) {
	for name, text := range traces {
		lines := append(append([]string{"before"}, strings.Split(text, "\n")...), "after: ordinary")
		require.Equal(t, []string{"before", text, "after: ordinary"}, groups(lines), name)
	}
	require.Equal(t, ordinary, groups(ordinary))
	for _, line := range ordinary {
		require.Equal(t, noTrace, traceStart([]byte(line)), line)
	}
}

func FuzzTrace(f *testing.F) {
	for _, text := range traces {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := strings.Join(groups(strings.Split(text, "\n")), "\n"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// writeTrace interleaves a stack trace with lines of the other output.
func writeTrace(a *app, text string) {
	var b strings.Builder
	a.want = append(a.want, text)
	for i, line := range strings.Split(text, "\n") {
		b.WriteString(criText(a.n, "stderr", "F", line))
		other := fmt.Sprintf("%s other %06d %d", a.name, a.n, i)
		b.WriteString(criText(a.n, "stdout", "F", other))
		a.want = append(a.want, other)
		a.n++
	}
	_, err := a.f.WriteString(b.String())
	require.NoError(a.t, err)
}

func TestTraceBecomesOneRecord(t *testing.T) {
	r := newRig(t, ackNow)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	writeTrace(a, traces["java"])
	r.requireLines(a) // without a line after it
	for _, rec := range r.sink.all() {
		if strings.Contains(string(rec.Line), "\n") {
			require.Equal(t, storage.FlagJoined, rec.Flags)
			require.Equal(t, storage.LevelError, rec.Level)
			require.Equal(t, "stderr", rec.Stream.Labels.Get(storage.LabelStream))
			require.Zero(t, rec.Offset)
		}
	}
}

// An idle trace is cut. Whatever follows, and however often the agent is
// killed, the records are the same.
func TestCutsSurviveCrashes(t *testing.T) {
	r := newRig(t, ackNever)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	lines := strings.Split(traces["java"], "\n")
	for i, line := range lines {
		_, err := a.f.WriteString(criText(a.n, "stderr", "F", line))
		require.NoError(t, err)
		a.n++
		if i == 2 { // the rest comes after the cut
			a.want = append(a.want, strings.Join(lines[:3], "\n"))
			r.waitRecords(1)
			r.crash()
			r.start()
		}
	}
	a.want = append(a.want, groups(lines[3:])...)
	r.requireLines(a)
	for range 3 {
		r.crash()
		r.start()
		a.write(1)
		r.requireLines(a)
	}
}

// Traces, parts of long lines and rotations under crashes at random moments:
// every record is stored once and is the same as without crashes.
func TestRecordsAreTheSameAfterCrashes(t *testing.T) {
	r := newRig(t, ackLate)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	for round := range 12 {
		for _, name := range []string{"java", "python", "go panic", "node", "dotnet"} {
			writeTrace(a, traces[name])
			a.writeParts(3)
			a.write(7)
		}
		if round%3 == 2 {
			a.rotate(fmt.Sprintf("%s.20261127-%06d", a.path, round))
		}
		for range round % 4 {
			time.Sleep(5 * time.Millisecond)
			r.sink.ackSome(false)
		}
		r.crash()
		r.start()
	}
	r.requireLines(a)
}

// writeParts writes a line of n parts, with a line of the other output between.
func (a *app) writeParts(n int) {
	var b, whole strings.Builder
	for i := range n {
		part := fmt.Sprintf("%s part %d of %06d|", a.name, i, a.n)
		whole.WriteString(part)
		tag := "P"
		if i == n-1 {
			tag = "F"
		}
		b.WriteString(criText(a.n, "stdout", tag, part))
		other := fmt.Sprintf("%s between %06d %d", a.name, a.n, i)
		b.WriteString(criText(a.n, "stderr", "F", other))
		a.want = append(a.want, other)
		a.n++
	}
	a.want = append(a.want, whole.String())
	_, err := a.f.WriteString(b.String())
	require.NoError(a.t, err)
}

func TestTraceBounds(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.MaxTraceLines = 3
	path := filepath.Join(r.container("cart", "app"), "0.log")
	var b strings.Builder
	for i, line := range []string{"java.lang.Error: x", "\tat a", "\tat b", "\tat c", "\tat d", "end"} {
		b.WriteString(criText(i, "stdout", "F", line))
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	r.start()
	r.waitRecords(4)
	require.Equal(t, []string{"java.lang.Error: x\n\tat a\n\tat b", "\tat c", "\tat d", "end"}, r.sink.texts())
	require.Equal(t, 1.0, r.counter("binnacle_tail_traces_cut_total"))
}
