package corpus

import (
	"strings"

	"github.com/binnacle-obs/binnacle/storage"
)

var (
	mixedNouns = []string{"cart", "checkout", "catalog", "gateway", "ledger", "indexer", "mailer", "session", "pricing", "stock", "crawler"}
	mixedVerbs = []string{
		"request completed", "request started", "cache miss, loading from database", "cache hit", "message published to topic",
		"message consumed from topic", "job scheduled", "job finished", "reconciling object", "object is up to date",
		"connection accepted", "connection closed by peer", "token validated", "feature flag evaluated", "retrying after backoff",
	}
	mixedFailures = []string{
		"connection refused by upstream", "timeout while waiting for response headers", "deadlock found when trying to get lock",
		"no such host", "context deadline exceeded", "unexpected end of JSON input", "duplicate key value violates unique constraint",
	}
	mixedPaths  = []string{"/api/v1/cart/items", "/api/v1/orders", "/healthz", "/api/v2/search", "/static/app.js", "/login", "/api/v1/users/"}
	mixedAgents = []string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
		"kube-probe/1.31", "Go-http-client/2.0", "curl/8.8.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
	}
)

// mixedFormats append a line to the arena of m, each in the way of a kind of
// application.
var mixedFormats = []func(m *Mixed, level storage.Level){mixedAccess, mixedJSON, mixedLogfmt, mixedKlog, mixedPlain, mixedJSON}

func mixedMessage(m *Mixed, level storage.Level) {
	if level >= storage.LevelWarn {
		m.pick(mixedFailures)
		return
	}
	m.pick(mixedVerbs)
}

func mixedAccess(m *Mixed, level storage.Level) {
	m.address()
	m.text(" - - [")
	m.time("02/Jan/2006:15:04:05 -0700")
	m.text(`] "GET `)
	m.pick(mixedPaths)
	m.number(100_000)
	m.text(" HTTP/1.1\" ")
	m.text([]string{"200", "204", "301", "404", "500"}[int(level)%5])
	m.text(" ")
	m.number(60_000)
	m.text(` "-" "`)
	m.pick(mixedAgents)
	m.text(`" rt=0.`)
	m.number(1000)
	m.text(" req=")
	m.hex(16)
}

func mixedJSON(m *Mixed, level storage.Level) {
	m.text(`{"ts":"`)
	m.time("2006-01-02T15:04:05.000000Z")
	m.text(`","level":"`)
	m.text(level.String())
	m.text(`","logger":"com.example.`)
	m.pick(mixedNouns)
	m.text(`","msg":"`)
	mixedMessage(m, level)
	m.text(`","trace_id":"`)
	m.trace()
	m.text(`","user_id":`)
	m.number(90_000)
	m.text(`,"duration_ms":`)
	m.number(3000)
	m.text(`,"path":"`)
	m.pick(mixedPaths)
	m.text(`"}`)
}

// trace appends the trace's id; a trace has several lines.
func (m *Mixed) trace() {
	if m.rnd.IntN(4) == 0 || m.traced[0] == 0 {
		at := len(m.arena)
		m.hex(16)
		copy(m.traced[:], m.arena[at:])
		return
	}
	m.arena = append(m.arena, m.traced[:]...)
}

func mixedLogfmt(m *Mixed, level storage.Level) {
	m.text("ts=")
	m.time("2006-01-02T15:04:05.000Z")
	m.text(" level=")
	m.text(level.String())
	m.text(" caller=")
	m.pick(mixedNouns)
	m.text(".go:")
	m.number(400)
	m.text(" msg=\"")
	mixedMessage(m, level)
	m.text("\" component=")
	m.pick(mixedNouns)
	m.text(" peer=")
	m.address()
	m.text(":8443 attempt=")
	m.number(5)
	m.text(" took=")
	m.number(900)
	m.text("ms trace=")
	m.trace()
	m.text(" bytes=")
	m.number(1 << 20)
}

func mixedKlog(m *Mixed, level storage.Level) {
	m.text(strings.ToUpper(level.String()[:1]))
	m.time("0102 15:04:05.000000")
	m.text("       1 ")
	m.pick(mixedNouns)
	m.text("_controller.go:")
	m.number(300)
	m.text(`] "`)
	mixedMessage(m, level)
	m.text(`" object="`)
	m.pick(mixedNamespaces)
	m.text("/")
	m.pick(mixedNouns)
	m.text("-")
	m.hex(5)
	m.text(`" resourceVersion="`)
	m.number(9_000_000)
	m.text(`" generation=`)
	m.number(40)
	m.text(" queue=\"")
	m.pick(mixedNouns)
	m.text(`" elapsed="`)
	m.number(999)
	m.text(`µs"`)
}

func mixedPlain(m *Mixed, level storage.Level) {
	m.time("2006-01-02 15:04:05,000")
	m.text(" [worker-")
	m.number(16)
	m.text("] ")
	m.text(strings.ToUpper(level.String()))
	m.text("  o.e.")
	m.pick(mixedNouns)
	m.text(".Service - ")
	mixedMessage(m, level)
	m.text(" for customer ")
	m.number(90_000)
	m.text(" order ORD-")
	m.number(9_000_000)
	m.text(" amount ")
	m.number(400)
	m.text(".")
	m.number(99)
	m.text(" EUR, correlation ")
	m.trace()
	m.text(", node ")
	m.address()
}
