package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Format is how a log file wraps the lines of its container.
type Format uint8

const (
	// CRI is what containerd and CRI-O write: "TIME STREAM P|F TEXT". Lines
	// are split every 16 KiB into P lines and a last F.
	CRI Format = iota
	// JSONFile is Docker's json-file driver: an object a line. Lines are split
	// every 16 KiB; only the last part ends with a line feed.
	JSONFile
	// Plain is the text itself. Entries have no stream (all are Stdout) and no
	// time that a reader could know.
	Plain
)

// splitBytes is where container runtimes split a line.
const splitBytes = 16 << 10

// Log is a log file that one container writes. Its methods may be called
// concurrently, though only one of Rotate and CopyTruncate at a time.
type Log struct {
	Source Source
	// Labels are those that stored records of this log must have, stream aside.
	Labels map[string]string

	format Format
	path   string

	mu       sync.Mutex
	file     *os.File
	numbers  [2]int // next entry of stdout and stderr
	entries  int    // both
	last     int64  // time of the last line
	rotation int    // number of rotations so far
}

// PodLog makes the log file of a container below root, in the folders that
// the kubelet makes below /var/log/pods.
func PodLog(root string, s Source, f Format) (*Log, error) {
	dir := filepath.Join(root, s.Namespace+"_"+s.Pod+"_"+s.UID, s.Container)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return open(filepath.Join(dir, strconv.Itoa(s.Restart)+".log"), s, f, map[string]string{
		"namespace": s.Namespace, "pod": s.Pod, "uid": s.UID, "container": s.Container, "restart": strconv.Itoa(s.Restart),
	})
}

// PlainLog makes a log file that no container runtime writes. Source only
// names its entries.
func PlainLog(path string, s Source) (*Log, error) {
	return open(path, s, Plain, map[string]string{"filename": path})
}

func open(path string, s Source, f Format, labels map[string]string) (*Log, error) {
	l := &Log{Source: s, Labels: labels, format: f, path: path}
	return l, l.reopen()
}

// Path is the file that is written at present.
func (l *Log) Path() string { return l.path }

// reopen begins a new file; the caller holds mu or is the only one.
func (l *Log) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return err
		}
	}
	l.file = f
	return nil
}

// Close ends the log, as when its container exits.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// Write adds n entries, each of its lines by a write of its own, as container
// runtimes do.
func (l *Log) Write(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		if err := l.writeLines(l.next()); err != nil {
			return err
		}
	}
	return nil
}

// Burst adds n entries by one write. A reader may see the file end within a
// line, but does not wait long for the rest of a stack trace, however busy the
// machine is.
func (l *Log) Burst(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b []byte
	for range n {
		for _, line := range l.next() {
			b = append(b, line...)
		}
	}
	_, err := l.file.Write(b)
	return err
}

// next makes the lines of the next entry, or of two entries of both streams
// that were written at the same time.
func (l *Log) next() [][]byte {
	stream := l.turn()
	lines := l.entry(stream)
	if l.format == Plain || len(lines) < 2 {
		return lines
	}
	// Lines of the other stream come in between.
	other := Stderr
	if stream == Stderr {
		other = Stdout
	}
	return append(append(lines[:1:1], l.entry(other)...), lines[1:]...)
}

// turn is the stream of the next entry.
func (l *Log) turn() string {
	if l.format != Plain && l.entries%3 == 2 {
		return Stderr
	}
	return Stdout
}

// number counts the entries of a stream.
func (l *Log) number(stream string) *int {
	if stream == Stderr {
		return &l.numbers[1]
	}
	return &l.numbers[0]
}

// entry makes the next entry of a stream in the file's format.
func (l *Log) entry(stream string) [][]byte {
	n := l.number(stream)
	e := Entry{Source: l.Source, Stream: stream, Number: *n, Time: l.tick()}
	*n++
	l.entries++
	var lines [][]byte
	for i, text := range bytes.Split(e.Text(), []byte("\n")) {
		at := e.Time
		if i > 0 {
			at = l.tick()
		}
		lines = append(lines, l.wrap(text, stream, at)...)
	}
	return lines
}

// tick is the present; no two lines of a log have the same time.
func (l *Log) tick() int64 {
	l.last = max(time.Now().UnixNano(), l.last+1)
	return l.last
}

// wrap makes the lines of the file that hold one line of text.
func (l *Log) wrap(text []byte, stream string, at int64) [][]byte {
	var lines [][]byte
	for l.format != Plain && len(text) > splitBytes {
		end := splitBytes
		for l.format == JSONFile && !utf8.RuneStart(text[end]) {
			end-- // Docker's encoder would replace both halves of the character
		}
		lines = append(lines, l.line(text[:end], stream, at, false))
		text = text[end:]
		at = l.tick()
	}
	return append(lines, l.line(text, stream, at, true))
}

func (l *Log) line(text []byte, stream string, at int64, full bool) []byte {
	when := time.Unix(0, at).UTC().Format(time.RFC3339Nano)
	switch l.format {
	case CRI:
		tag := "P"
		if full {
			tag = "F"
		}
		return fmt.Appendf(nil, "%s %s %s %s\n", when, stream, tag, text)
	case JSONFile:
		if full {
			text = append(bytes.Clone(text), '\n')
		}
		return dockerLine(text, stream, when)
	}
	return append(bytes.Clone(text), '\n')
}

// dockerLine encodes as Docker does: bytes that are no UTF-8 become U+FFFD.
func dockerLine(text []byte, stream, when string) []byte {
	b, err := json.Marshal(struct {
		Log    string `json:"log"`
		Stream string `json:"stream"`
		Time   string `json:"time"`
	}{string(text), stream, when})
	if err != nil {
		panic(err) // strings always encode
	}
	return append(b, '\n')
}

// Remove deletes the pod's folder, or a plain log's file. What is written
// after it is lost to every reader that has not opened the file.
func (l *Log) Remove() error {
	if l.format == Plain {
		return os.Remove(l.path)
	}
	return os.RemoveAll(filepath.Dir(filepath.Dir(l.path)))
}

// Account is what must be found of one stream of a log.
type Account struct {
	Source Source
	Stream string
	// Labels that every record must have.
	Labels map[string]string
	// Timed tells that the records' times are those of the entries.
	Timed bool
	// Entries is their number; they are counted from 0.
	Entries int
}

// Accounts tells what was written up to now.
func (l *Log) Accounts() []Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Account{{Source: l.Source, Stream: Stdout, Labels: l.Labels, Timed: l.format != Plain, Entries: l.numbers[0]}}
	if l.format == Plain {
		return out
	}
	return append(out, Account{Source: l.Source, Stream: Stderr, Labels: l.Labels, Timed: true, Entries: l.numbers[1]})
}

// Entries is how many entries were written up to now.
func (l *Log) Entries() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries
}
