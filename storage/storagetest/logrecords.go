package storagetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// oddLines are texts that a store may stumble over.
var oddLines = []string{
	"",
	" ",
	"x",
	"ab",
	"Grüße aus Köln, 100 % — ✓ 漢字",
	"STRASSE straße ſ K",
	`{"level":"error","msg":"quo\"ted","path":"C:\\temp\\*.log","n":17}`,
	`level=warn msg="wild * cards ? and [brackets] (parens) a.b|c^d$e+f"`,
	"panic: runtime error\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:17 +0x1d",
	"\ttabs\tand\r\ncarriage returns",
	"replaced \uFFFD character",
	"-start-of-option --flag /path/to/file",
	"order_id=4711 cafe\u0301",
	strings.Repeat("long ", 3000) + "needle-at-the-end",
}

var (
	logVerbs = []string{"started", "stopped", "connection refused to", "Timeout waiting for", "TIMEOUT of", "served", "retrying", "could not parse"}
	logNouns = []string{"cart", "checkout", "payments.internal:8443", "10.2.3.4", "order-7f9c", "/api/v1/items", "user=alice", "session"}
)

// mixedRecords makes records of several streams that differ in whatever a
// record can differ in. Times of different streams are often equal; records
// without a source have times of their own, so that their order is certain.
func mixedRecords(start int64) []storage.Record {
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []storage.Record
	for i, stream := range mixedStreams() {
		all = append(all, recordsOf(rnd, stream, logSource(byte(i+1)), start)...)
	}
	pushed := &storage.Stream{Labels: labels.FromStrings("job", "pushed", storage.LabelNamespace, "shop")}
	for i := range 40 {
		r := mixedRecord(rnd, pushed, i)
		r.Time = start + int64(i)*int64(time.Second) + 1
		all = append(all, r)
	}
	return all
}

func mixedStreams() []*storage.Stream {
	return []*storage.Stream{
		logStream("shop", "cart-1", "app", "stdout"),
		logStream("shop", "cart-1", "app", "stderr"),
		logStream("shop", "cart-2", "app", "stdout"),
		logStream("shop", "cart-2", "sidecar", "stderr"),
		logStream("kube-system", "dns-1", "dns", "stdout"),
		{Labels: labels.FromStrings(storage.LabelNode, "node-2", storage.LabelFilename, "/var/log/syslog")},
	}
}

// recordsOf makes the records of one file.
func recordsOf(rnd *rand.Rand, stream *storage.Stream, source storage.SourceID, start int64) []storage.Record {
	var out []storage.Record
	offset := int64(0)
	for i := range 90 {
		r := mixedRecord(rnd, stream, i)
		// Whole seconds: streams coincide. Some records of a file coincide as
		// well, and one in ten is older than the one before it.
		r.Time = start + int64(i/2)*int64(time.Second)
		if i%10 == 9 {
			r.Time -= 5 * int64(time.Second)
		}
		r.Source, r.Offset = source, offset
		offset += int64(len(r.Line)) + 40
		out = append(out, r)
	}
	return out
}

func mixedRecord(rnd *rand.Rand, stream *storage.Stream, i int) storage.Record {
	line := oddLines[i%len(oddLines)]
	if i >= len(oddLines) {
		line = fmt.Sprintf("%s %s id=%08x", logVerbs[rnd.IntN(len(logVerbs))], logNouns[rnd.IntN(len(logNouns))], rnd.Uint32())
	}
	r := storage.Record{
		Stream: stream, Line: []byte(line), Size: int32(len(line)),
		Level: storage.Level(rnd.IntN(storage.Levels)),
	}
	if i%7 == 3 {
		r.Flags = storage.FlagTruncated | storage.FlagRedacted
	}
	if i%11 == 5 {
		r.Metadata = labels.FromStrings("trace_id", fmt.Sprintf("%032x", rnd.Uint64()), "user", "bób")
	}
	return r
}
