package demo

import (
	"context"
	"math/rand/v2"
	"time"
)

// runShop is a healthy web service: access logs as web servers write them, its
// own messages as JSON and logfmt.
func runShop(ctx context.Context, o *output) error {
	o.out(`{"time":%q,"level":"info","msg":"ready to serve","addr":":8080","version":"1.14.2"}`, o.stamp())
	for n := 1; o.pause(ctx, 400*time.Millisecond); n++ {
		switch {
		case n%25 == 0:
			o.out(`time=%s level=info caller=stock.go:88 msg="stock refreshed" items=%d took=%dms`, o.stamp(), 400+rand.IntN(20), 5+rand.IntN(30))
		case n%12 == 0:
			accessLine(o, "10.42.0.1", "GET", "/healthz", 200, 2, "kube-probe/1.37")
		case n%3 == 0:
			o.order()
		default:
			accessLine(o, "10.42.3."+pick("7", "12", "31", "118"), "GET", pick("/", "/products", "/products/17", "/products/42?ref=mail", "/search?q=lamp", "/cart"),
				pick(200, 200, 200, 200, 200, 200, 200, 200, 304, 404), 300+rand.IntN(20_000), "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
		}
	}
	o.out(`{"time":%q,"level":"info","msg":"shutting down","reason":"signal"}`, o.stamp())
	return nil
}

// accessLine is a line in the combined log format.
func accessLine(o *output, host, method, path string, status, size int, agent string) {
	o.out(`%s - - [%s] "%s %s HTTP/1.1" %d %d "-" %q`, host, o.now().UTC().Format("02/Jan/2006:15:04:05 -0700"), method, path, status, size, agent)
}

// order is a message with fields.
func (o *output) order() {
	level, message := "info", "order placed"
	if rand.IntN(40) == 0 {
		level, message = "warn", "payment is slow, trying again"
	}
	o.out(`{"time":%q,"level":%q,"msg":%q,"order_id":%d,"customer":"c-%04d","amount_cents":%d,"duration_ms":%d,"trace_id":"%016x"}`,
		o.stamp(), level, message, 100_000+rand.IntN(900_000), rand.IntN(10_000), 99+rand.IntN(30_000), 8+rand.IntN(90), rand.Uint64())
}
