package loki

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// lineBuffer is sent when it is full or lineWait old, whichever is first.
	lineBuffer = 32 << 10
	lineWait   = 100 * time.Millisecond
	// maxStall is how long a client may take no byte before it is given up.
	maxStall = time.Minute
)

// lineWriter writes an answer of lines: each entry as it comes, sent at the
// latest lineWait after it was written.
type lineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	packed  bool
	stall   time.Duration

	mu sync.Mutex
	// Guarded by mu.
	out     *bufio.Writer
	gz      *gzip.Writer // nil: not packed
	timer   *time.Timer
	waiting bool // timer runs, for bytes that are not sent
	begun   bool
	closed  bool
	entries int64
	last    time.Time // of the last line
	streams labelsCache
	line    []byte // scratch
	err     error  // of the connection
}

// newLineWriter returns an answer whose header is sent with the first line.
func (h *Handler) newLineWriter(w http.ResponseWriter, r *http.Request) *lineWriter {
	return &lineWriter{w: w, control: http.NewResponseController(w), packed: takesGzip(r), stall: h.stall}
}

// Write sends to the client, within the time that it may stall.
func (l *lineWriter) Write(p []byte) (int, error) {
	// Not every ResponseWriter has deadlines; those of a server do.
	_ = l.control.SetWriteDeadline(time.Now().Add(l.stall))
	return l.w.Write(p)
}

// start sets the header and builds the writers. mu is held.
func (l *lineWriter) start() {
	l.begun, l.last = true, time.Now()
	header := l.w.Header()
	header.Set("Content-Type", linesType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Add("Vary", "Accept-Encoding")
	if !l.packed {
		l.out = bufio.NewWriterSize(l, lineBuffer)
		return
	}
	header.Set("Content-Encoding", "gzip")
	l.gz = packers.Get().(*gzip.Writer)
	l.gz.Reset(l)
	l.out = bufio.NewWriterSize(l.gz, lineBuffer)
}

// hasBegun tells whether there is an answer, so that errors belong into its
// last line.
func (l *lineWriter) hasBegun() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// quiet is how long no line has been written.
func (l *lineWriter) quiet() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.last)
}

// entry writes a line for e.
func (l *lineWriter) entry(e *logql.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries++
	l.line = l.appendLine(l.line[:0], e)
	return l.append()
}

// append writes l.line. mu is held.
func (l *lineWriter) append() error {
	if !l.begun {
		l.start()
	}
	if l.err != nil {
		return l.err
	}
	if _, l.err = l.out.Write(l.line); l.err != nil {
		return l.err
	}
	l.last = time.Now()
	if !l.waiting {
		l.waiting = true
		if l.timer == nil {
			l.timer = time.AfterFunc(lineWait, l.expire)
		} else {
			l.timer.Reset(lineWait)
		}
	}
	return nil
}

// expire sends what waited long enough. The error is the next writer's.
func (l *lineWriter) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting && !l.closed {
		_ = l.send()
	}
}

// flush sends what was written.
func (l *lineWriter) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.start()
	}
	return l.send()
}

// send empties the buffers. mu is held.
func (l *lineWriter) send() error {
	l.waiting = false
	if l.err != nil {
		return l.err
	}
	if l.err = l.out.Flush(); l.err != nil {
		return l.err
	}
	if l.gz != nil {
		if l.err = l.gz.Flush(); l.err != nil {
			return l.err
		}
	}
	if err := l.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		l.err = err
	}
	return l.err
}

// progress writes a line that says how far it is.
func (l *lineWriter) progress(dropped int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = append(l.line[:0], `{"progress":{"entries":`...)
	l.line = strconv.AppendInt(l.line, l.entries, 10)
	l.line = append(l.line, `,"dropped":`...)
	l.line = strconv.AppendInt(l.line, dropped, 10)
	l.line = append(l.line, "}}\n"...)
	if err := l.append(); err != nil {
		return err
	}
	return l.send()
}

// end writes the last line, which tells how the query ended. more says that
// there are entries beyond the limit.
func (l *lineWriter) end(stats logql.Stats, more bool, warnings []string, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := append(l.line[:0], `{"end":{"entries":`...)
	b = strconv.AppendInt(b, l.entries, 10)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, more)
	b = append(b, `,"stats":{"lines":`...)
	b = strconv.AppendInt(b, stats.Lines, 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, stats.Bytes, 10)
	b = append(b, `,"blocks":`...)
	b = strconv.AppendInt(b, stats.Blocks, 10)
	b = append(b, `,"blocksSkipped":`...)
	b = strconv.AppendInt(b, stats.BlocksSkipped, 10)
	b = append(b, `,"seconds":`...)
	b = strconv.AppendFloat(b, stats.Took.Seconds(), 'f', -1, 64)
	b = append(b, `},"warnings":`...)
	b = appendStrings(b, warnings)
	b = append(b, `,"error":`...)
	b = appendString(b, failure)
	l.line = append(b, "}}\n"...)
	_ = l.append() // a client that is gone does not need the end
}

// close sends what is left and gives the packer back.
func (l *lineWriter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	if !l.begun {
		return
	}
	// A client that is gone does not need the rest.
	_ = l.send()
	if l.gz != nil {
		_ = l.gz.Close()
		packers.Put(l.gz)
	}
	// The next request on this connection has its own time.
	_ = l.control.SetWriteDeadline(time.Time{})
}

// appendLine appends an entry in the form of docs/logs-api.md. mu is held.
func (l *lineWriter) appendLine(b []byte, e *logql.Entry) []byte {
	b = append(b, `{"timestamp":"`...)
	b = time.Unix(0, e.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","ns":`...)
	b = appendNanoseconds(b, e.Time)
	b = append(b, `,"labels":`...)
	b = l.streams.append(b, e.Stream)
	b = append(b, `,"metadata":`...)
	b = appendLabels(b, e.Metadata)
	b = append(b, `,"parsed":`...)
	b = appendLabels(b, e.Parsed)
	b = append(b, `,"line":`...)
	b = appendString(b, e.Line)
	b = append(b, `,"id":"`...)
	var flags storage.RecordFlags
	if e.Record != nil {
		flags = e.Record.Flags
		if !e.Record.Source.IsZero() {
			b = appendID(b, e.Record.ID())
		}
	}
	b = append(b, `","flags":`...)
	b = appendFlags(b, flags)
	return append(b, "}\n"...)
}

// appendID appends what id.String returns.
func appendID(b []byte, id storage.RecordID) []byte {
	b = hex.AppendEncode(b, id.Source[:])
	var offset [8]byte
	binary.BigEndian.PutUint64(offset[:], uint64(id.Offset))
	return hex.AppendEncode(b, offset[:])
}

// flagNames are in the order of storage.RecordFlags.
var flagNames = []struct {
	flag storage.RecordFlags
	name string
}{
	{storage.FlagTruncated, "truncated"},
	{storage.FlagJoined, "joined"},
	{storage.FlagReplaced, "replaced"},
	{storage.FlagRedacted, "redacted"},
	{storage.FlagMalformed, "malformed"},
	{storage.FlagShed, "shed"},
}

func appendFlags(b []byte, flags storage.RecordFlags) []byte {
	b = append(b, '[')
	first := true
	for _, f := range flagNames {
		if flags&f.flag == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, f.name)
	}
	return append(b, ']')
}
