// Package corpus writes container logs whose every line can be checked: the
// text of a line follows from its container and its number alone.
package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

// Shape says what lines look like. The zero value is that of the benchmarks.
type Shape struct {
	// MinLine and MaxLine bound the length of ordinary lines; 0 means 100 and
	// 300 bytes.
	MinLine, MaxLine int
	// LongEvery makes every so manieth line a long one, of LongLine bytes; 0
	// means 100 and 900 bytes. LongEvery -1 makes none.
	LongEvery, LongLine int
	// Fragment is the length at which a runtime splits a line; 0 means 400
	// bytes, so that long lines are split. Real runtimes split at 16 KiB.
	Fragment int
}

func (s Shape) withDefaults() Shape {
	for _, field := range []struct {
		value  *int
		preset int
	}{{&s.MinLine, 100}, {&s.MaxLine, 300}, {&s.LongEvery, 100}, {&s.LongLine, 900}, {&s.Fragment, 400}} {
		if *field.value == 0 {
			*field.value = field.preset
		}
	}
	return s
}

// least is the shortest line that holds the container, the number and a level.
const least = 64

var (
	levels = [...]string{"INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARN", "ERROR"}
	events = [...]string{
		"request served", "connection accepted", "cache miss", "query finished", "retrying upstream call", "session created",
		"message published", "lease renewed", "object reconciled", "token refreshed", "timeout while waiting for", "payment authorized",
	}
	keys = [...]string{
		"method=GET", "method=POST", "status=200", "status=404", "status=503", "path=/api/v1/orders/", "path=/api/v1/users/",
		"path=/healthz?probe=", "duration_ms=", "bytes=", "user=", "trace_id=", "span_id=", "peer=10.42.", "shard=", "attempt=",
		"queue=checkout-events", "topic=inventory", "region=eu-central-1", "cache=hit", "component=gateway", "caller=server.go:",
	}
)

// AppendText appends the text of line n, counted from 0, of a container.
func (s Shape) AppendText(dst []byte, container int, n int64) []byte {
	s = s.withDefaults()
	random := mix(uint64(container)<<40 ^ uint64(n))
	size := max(least, s.MinLine+int(random%uint64(s.MaxLine-s.MinLine+1)))
	if s.LongEvery > 0 && n%int64(s.LongEvery) == int64(s.LongEvery)-1 {
		size = s.LongLine
	}
	start := len(dst)
	dst = append(dst, "container="...)
	dst = strconv.AppendInt(dst, int64(container), 10)
	dst = append(dst, " line="...)
	dst = strconv.AppendInt(dst, n, 10)
	random = mix(random)
	dst = append(dst, " level="...)
	dst = append(dst, levels[random%uint64(len(levels))]...)
	dst = append(dst, " msg=\""...)
	dst = append(dst, events[random>>8%uint64(len(events))]...)
	dst = append(dst, '"')
	for len(dst)-start < size {
		random = mix(random)
		dst = append(dst, ' ')
		key := keys[random%uint64(len(keys))]
		dst = append(dst, key...)
		switch {
		case key == "trace_id=":
			dst = strconv.AppendUint(dst, random, 16)
		case key[len(key)-1] == '=':
			dst = strconv.AppendUint(dst, random>>32%1000, 10)
		case key[len(key)-1] == '/':
			dst = strconv.AppendUint(dst, random>>32%10000, 10)
		}
	}
	return dst[:start+size]
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return bits.ReverseBytes64(x ^ x>>31)
}

// Check tells which line of which container text is, or what is wrong with it.
func (s Shape) Check(text []byte) (container int, n int64, err error) {
	rest, ok := bytes.CutPrefix(text, []byte("container="))
	number, rest, ok2 := bytes.Cut(rest, []byte(" line="))
	line, _, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || !ok3 {
		return 0, 0, fmt.Errorf("%.80q is no line of a corpus", text)
	}
	container, err1 := strconv.Atoi(string(number))
	n, err2 := strconv.ParseInt(string(line), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("%.80q is no line of a corpus: %w", text, err)
	}
	if want := s.AppendText(nil, container, n); !bytes.Equal(text, want) {
		return container, n, fmt.Errorf("line %d of container %d is %.300q, not %.300q", n, container, text, want)
	}
	return container, n, nil
}
