package storage

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var levelLines = []struct {
	line string
	want Level
}{
	// logfmt
	{`time="2026-11-27T12:00:00Z" level=error msg="connection refused"`, LevelError},
	{`ts=2026-11-27T12:00:00Z caller=main.go:12 level=warn msg=x`, LevelWarn},
	{`level="info" msg=ok`, LevelInfo},
	{`lvl=eror t=2026 msg=x`, LevelError},
	{`severity=CRITICAL something`, LevelFatal},
	{`level=30 msg=x`, LevelInfo},
	{`errors=0 warnings=0 took=3ms`, LevelUnknown},
	{`msg="no error found" error_count=0`, LevelUnknown},
	{`msg="done" error="" err=nil`, LevelUnknown},
	{`loglevel: debug`, LevelDebug},
	// JSON
	{`{"level":"error","ts":1,"msg":"x"}`, LevelError},
	{`{"time":"2026","severity":"WARNING","message":"x"}`, LevelWarn},
	{`{"level":30,"time":1,"msg":"pino"}`, LevelInfo},
	{`{"level":50,"time":1}`, LevelError},
	{`{"level":10}`, LevelTrace},
	{`{"level":60}`, LevelFatal},
	{`{"level": "Information"}`, LevelInfo},
	{`{"@t":"2026","@l":"Fatal"}`, LevelFatal},
	{`{"t":{"$date":"2026"},"s":"W","c":"NETWORK"}`, LevelWarn},
	{`{"message":"an \"error\" was {not} found","levelname":"INFO"}`, LevelInfo},
	{`{"message":"level\":\"error","log.level":"debug"}`, LevelDebug},
	{`{"inner":{"level":"error"},"level":"info"}`, LevelInfo},
	{`{"list":["level","error"],"lvl":"warn"}`, LevelWarn},
	{`{"version":"1.1","level":3,"short_message":"gelf"}`, LevelError},
	{`{"message":"error"}`, LevelUnknown},
	{`{"error":"none","status":200}`, LevelUnknown},
	{`{"level":`, LevelUnknown},
	{`{"level":"err`, LevelUnknown},
	{`{"level":4000}`, LevelUnknown},
	{`2026-11-27 app {"level":"error","x":1}`, LevelError},
	// klog, syslog
	{`E0102 15:04:05.678901       1 reflector.go:138] failed`, LevelError},
	{`W0102 15:04:05.678901       1 x.go:1] y`, LevelWarn},
	{`I0102 15:04:05.678901       1 x.go:1] ERROR in the text`, LevelInfo},
	{`F0102 15:04:05.678901       1 x.go:1] y`, LevelFatal},
	{`<3>disk failure`, LevelError},
	{`<30>Nov 27 12:00:00 host app: started`, LevelInfo},
	{`<191>x`, LevelDebug},
	{`<p>ERRORS</p>`, LevelUnknown},
	// brackets and capitals
	{`[ERROR] it broke`, LevelError},
	{`[2026-11-27 12:00:00,000] INFO [main] ERROR text (kafka)`, LevelInfo},
	{`[2026-11-27T12:00:00,123][WARN ][o.e.n.Node] [node-1] x`, LevelWarn},
	{`2026-11-27 12:00:00,123 [main] ERROR com.foo.Bar - failed`, LevelError},
	{`2026-11-27 12:00:00.123  WARN 1 --- [main] o.s.Boot : x`, LevelWarn},
	{`2026-11-27 12:00:00,123 - app.module - ERROR - failed`, LevelError},
	{`ERROR:root:failed`, LevelError},
	{`INFO:     127.0.0.1:1234 - "GET / HTTP/1.1" 200 OK`, LevelInfo},
	{`2026/11/27 12:00:00 [error] 7#7: *1 open() failed`, LevelError},
	{`[Fri Nov 27 12:00:00 2026] [core:error] [pid 1] x`, LevelError},
	{`[2026/11/27 12:00:00] [ info] [engine] started`, LevelInfo},
	{`2026-11-27 12:00:00.123 UTC [77] ERROR:  relation "x" does not exist`, LevelError},
	{`2026-11-27 12:00:00.123 UTC [77] FATAL:  password authentication failed`, LevelFatal},
	{`2026.11.27 12:00:00.0 [ 1 ] {} <Error> Application: x`, LevelError},
	{`2026-11-27T12:00:00.0Z 0 [Warning] [MY-010068] [Server] x`, LevelWarn},
	{`2026-11-27T12:00:00.0Z 0 [Note] [MY-1] x`, LevelInfo},
	{"2026-11-27T12:00:00.0Z\tinfo\txdsproxy\tconnected", LevelInfo},
	{"2026-11-27T12:00:00.0Z\tERROR\tmain.go:1\tx", LevelError},
	{"\x1b[31mERROR\x1b[0m[0001] failed", LevelError},
	{"\x1b[90m12:00PM\x1b[0m \x1b[32mINF\x1b[0m started", LevelInfo},
	{`12:00PM WRN slow query`, LevelWarn},
	{`[12:00:00 ERR] Unhandled`, LevelError},
	{`[2026-11-27T12:00:00Z DEBUG my_crate] x`, LevelDebug},
	{`E, [2026-11-27T12:00:00.000000 #1] ERROR -- : boom`, LevelError},
	{`[2026-11-27 12:00:00,0: WARNING/MainProcess] x`, LevelWarn},
	{`WARN: deprecated`, LevelWarn},
	{`INFO  [main] 2026-11-27 Foo.java:1 - x`, LevelInfo},
	{`SEVERE: Servlet.service() threw`, LevelError},
	// words of programs at the beginning
	{`error: cannot open file`, LevelError},
	{`Error: cannot open file`, LevelError},
	{`Warning: deprecated`, LevelWarn},
	{`gcc: error: no input files`, LevelError},
	{`fail: Microsoft.Hosting[0]`, LevelError},
	{`info: Microsoft.Hosting.Lifetime[14]`, LevelInfo},
	{`dbug: Microsoft.Hosting[0]`, LevelDebug},
	{`crit: x`, LevelFatal},
	{`panic: runtime error: index out of range`, LevelFatal},
	{`fatal error: all goroutines are asleep - deadlock!`, LevelFatal},
	// no level
	{``, LevelUnknown},
	{`ok`, LevelUnknown},
	{`no error found`, LevelUnknown},
	{`NO ERROR FOUND`, LevelUnknown},
	{`0 ERROR, 0 WARN`, LevelUnknown},
	{`completed without error in 3ms`, LevelUnknown},
	{`the error was handled: retrying`, LevelUnknown},
	{`GET /error/info HTTP/1.1 200`, LevelUnknown},
	{`opened error.log`, LevelUnknown},
	{`non-fatal condition`, LevelUnknown},
	{`10.0.0.1 - - [27/Nov/2026:12:00:00 +0000] "GET /warn HTTP/1.1" 200 12`, LevelUnknown},
	{strings.Repeat("x ", 100) + " ERROR", LevelUnknown},
	{`infrastructure errors`, LevelUnknown},
}

func TestDetectLevel(t *testing.T) {
	for _, tt := range levelLines {
		require.Equal(t, tt.want.String(), DetectLevel([]byte(tt.line)).String(), tt.line)
	}
}

func TestParseLevel(t *testing.T) {
	for name, want := range map[string]Level{
		"warning": LevelWarn, "WARN": LevelWarn, "Critical": LevelFatal, "err": LevelError, "notice": LevelInfo,
		"verbose": LevelTrace, "": LevelUnknown, "loud": LevelUnknown, "errors": LevelUnknown,
	} {
		require.Equal(t, want, ParseLevel(name), name)
	}
	for l := LevelTrace; int(l) < Levels; l++ {
		require.Equal(t, l, ParseLevel(l.String()))
	}
}

func TestDetectLevelDoesNotAllocate(t *testing.T) {
	for _, tt := range levelLines {
		line := []byte(tt.line)
		require.Zero(t, testing.AllocsPerRun(10, func() { DetectLevel(line) }), tt.line)
	}
}

func FuzzDetectLevel(f *testing.F) {
	for _, tt := range levelLines {
		f.Add([]byte(tt.line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if l := DetectLevel(line); int(l) >= Levels {
			t.Errorf("level %d of %q", l, line)
		}
	})
}

func BenchmarkDetectLevel(b *testing.B) {
	for name, line := range map[string]string{
		"logfmt": `time="2026-11-27T12:00:00Z" level=error msg="connection to 10.0.0.7:5432 refused" attempt=3`,
		"json":   `{"level":"info","ts":1764244800.123,"caller":"http/server.go:88","msg":"request","path":"/cart","status":200}`,
		"log4j":  `2026-11-27 12:00:00,123 [http-nio-8080-exec-7] ERROR com.shop.Cart - cannot load cart 8f3a for user 12345`,
		"klog":   `I1127 12:00:00.123456       1 reflector.go:138] listing and watching *v1.Pod`,
		"access": `10.0.0.1 - - [27/Nov/2026:12:00:00 +0000] "GET /api/v1/cart/8f3a HTTP/1.1" 200 1234 "-" "curl/8.5.0" 0.012`,
		"prose":  `Accepted connection from upstream after waiting for the pool to become available again, queue length is now 17 of 100`,
	} {
		b.Run(name, func(b *testing.B) {
			line := []byte(line)
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				DetectLevel(line)
			}
			b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
