package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Output streams of a container.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Source is the container that writes a log.
type Source struct {
	Namespace, Pod, UID, Container string
	// Restart is the kubelet's restart number, the name of the log file.
	Restart int
}

// String is how entries name their source: namespace/pod/container/restart.
func (s Source) String() string {
	return fmt.Sprintf("%s/%s/%s/%d", s.Namespace, s.Pod, s.Container, s.Restart)
}

// Entry is one log record that a container writes: a line, or the several
// lines of a stack trace.
type Entry struct {
	Source Source
	// Stream is Stdout or Stderr.
	Stream string
	// Number counts the entries of the stream from 0.
	Number int
	// Time is nanoseconds since the Unix epoch.
	Time int64
}

// mark opens what identifies an entry within its text.
const mark = "ledger="

// shape is what an entry looks like.
type shape uint8

const (
	short shape = iota // 100 to 300 bytes
	long               // 17 to 60 KiB: container runtimes split it
	trace              // a stack trace of several lines
	dirty              // has a byte that is no UTF-8, and a NUL
)

// shape follows from the number alone. The strides are primes: every
// combination of neighbours comes up.
func (e *Entry) shape() shape {
	switch {
	case e.Number%101 == 50:
		return long
	case e.Number%37 == 20:
		return trace
	case e.Number%89 == 33:
		return dirty
	}
	return short
}

// head identifies the entry; its checksum covers all that the text follows
// from.
func (e *Entry) head() string {
	id := mark + e.Source.String() + "/" + e.Stream + "/" + strconv.Itoa(e.Number) + "/" + strconv.FormatInt(e.Time, 10)
	return fmt.Sprintf("%s/%08x", id, crc32.ChecksumIEEE([]byte(id)))
}

// Text is what the container writes, without the line feed at its end.
func (e *Entry) Text() []byte {
	if e.shape() == trace {
		return []byte(e.trace())
	}
	r := random(crc32.ChecksumIEEE([]byte(e.Source.String()+e.Stream)))<<20 + random(e.Number)
	size := 100 + r.below(200)
	if e.shape() == long {
		size = 17<<10 + r.below(43<<10)
	}
	b := make([]byte, 0, size+64)
	b = append(b, levels[r.below(len(levels))]...)
	b = append(b, e.head()...)
	for len(b) < size {
		b = append(b, ' ')
		b = append(b, words[r.below(len(words))]...)
	}
	if e.shape() == dirty {
		b = append(b, " \xff and \x00 end"...)
	}
	return b
}

// Stored is Text as a store keeps it: each byte that is no UTF-8 and each NUL
// replaced by U+FFFD.
func (e *Entry) Stored() []byte {
	text := e.Text()
	if e.shape() != dirty {
		return text
	}
	return bytes.ReplaceAll(bytes.ToValidUTF8(text, []byte(string(utf8.RuneError))), []byte{0}, []byte(string(utf8.RuneError)))
}

var levels = []string{"", "level=info ", "level=warn ", "level=error ", "[DEBUG] ", "INFO "}

// words have several lengths and some are not ASCII: splits at 16 KiB hit the
// middle of a character.
var words = []string{
	"timeout", "refused", "order", "cart", "Größe", "支付", "200", "503", "user_id=4711", "path=/api/v2/items",
	"connection", "to", "10.0.3.17:5432", "took", "12.5ms", "{\"ok\":true}", "\\n", "\"quoted\"", "ünïcode", "retry",
	"GET", "https://shop.example/checkout?step=2", "🚢", "a", "of", "attempt", "caused", "at", "from", "cache",
}

// random is a small generator (splitmix64): the same bytes for the same seed
// on every machine and in every version of Go.
type random uint64

func (r *random) below(n int) int {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// traces are stack traces of six languages; %s is where the head goes.
var traces = []string{
	"java.lang.IllegalStateException: %s\n\tat shop.Cart.add(Cart.java:42)\n\tat shop.Main.main(Main.java:7)\n" +
		"Caused by: java.io.IOException: refused\n\tat shop.Net.open(Net.java:9)\n\t... 2 more",
	"Traceback (most recent call last):\n  File \"cart.py\", line 12, in add\n    raise ValueError(item)\nValueError: %s",
	"panic: %s\n\ngoroutine 1 [running]:\nmain.add(0xc000012345)\n\t/app/cart.go:42 +0x1d\nmain.main()\n\t/app/main.go:7 +0x25",
	"cart.rb:12:in `add': %s (RuntimeError)\n\tfrom cart.rb:40:in `block in run'\n\tfrom main.rb:7:in `<main>'",
	"TypeError: %s\n    at add (/app/cart.js:42:13)\n    at Object.<anonymous> (/app/main.js:7:1)",
	"Unhandled exception. System.InvalidOperationException: %s\n   at Shop.Cart.Add(Item item) in /app/Cart.cs:line 42\n" +
		"   at Shop.Program.Main(String[] args) in /app/Program.cs:line 7",
}

func (e *Entry) trace() string {
	return fmt.Sprintf(traces[e.Number/37%len(traces)], e.head())
}

var errNoEntry = errors.New("no entry of a ledger")

// parse finds the head of an entry in a line; the error wraps errNoEntry when
// there is none that is whole.
func parse(line []byte) (Entry, error) {
	_, rest, found := bytes.Cut(line, []byte(mark))
	if !found {
		return Entry{}, fmt.Errorf("%w: %q", errNoEntry, clip(line))
	}
	if end := bytes.IndexAny(rest, " \n"); end >= 0 {
		rest = rest[:end]
	}
	f := strings.Split(string(rest), "/")
	if len(f) != 8 {
		return Entry{}, fmt.Errorf("%w: head %q", errNoEntry, clip(rest))
	}
	e := Entry{Source: Source{Namespace: f[0], Pod: f[1], Container: f[2]}, Stream: f[4]}
	var err1, err2, err3 error
	e.Source.Restart, err1 = strconv.Atoi(f[3])
	e.Number, err2 = strconv.Atoi(f[5])
	e.Time, err3 = strconv.ParseInt(f[6], 10, 64)
	if errors.Join(err1, err2, err3) != nil || e.head() != mark+string(rest) {
		return Entry{}, fmt.Errorf("%w: head %q", errNoEntry, clip(rest))
	}
	return e, nil
}

// clip shortens what is printed of a line.
func clip(line []byte) []byte { return line[:min(len(line), 200)] }
