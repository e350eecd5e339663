package demo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxLogSize and maxLogFiles are when the kubelet rotates a container's
	// log and how many files it keeps of it: 10 MiB and, less here, three.
	maxLogSize  = 10 << 20
	maxLogFiles = 3
	// maxCRILine is where container runtimes split a line in two.
	maxCRILine = 16 << 10
)

// logFile is a container's log in the format of the Container Runtime
// Interface: time, stream, P for a part of a line or F for its end, text. It is
// rotated as the kubelet and the runtime do it. It is safe for concurrent use.
type logFile struct {
	name    string
	maxSize int64
	now     func() time.Time

	mu   sync.Mutex
	file *os.File
	size int64
}

func newLogFile(name string) (*logFile, error) {
	l := &logFile{name: name, maxSize: maxLogSize, now: time.Now}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// write appends a line, or a part of one.
func (l *logFile) write(stream string, text []byte, part bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag := "F"
	if part {
		tag = "P"
	}
	n, err := fmt.Fprintf(l.file, "%s %s %s %s\n", l.now().UTC().Format(time.RFC3339Nano), stream, tag, text)
	if err != nil {
		return err
	}
	if l.size += int64(n); l.size < l.maxSize {
		return nil
	}
	return l.rotate()
}

// rotate begins a new file. The kubelet appends the time to the name of the
// old one, packs all but the newest old ones, and deletes the oldest.
func (l *logFile) rotate() error {
	old := l.name + "." + l.now().UTC().Format("20060102-150405")
	if _, err := os.Stat(old); err == nil {
		return nil // twice in a second: with one of the next lines
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(l.name, old); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	return l.tidy()
}

// tidy packs and deletes old files.
func (l *logFile) tidy() error {
	old, err := filepath.Glob(l.name + ".*")
	if err != nil {
		return err
	}
	slices.Sort(old)
	for len(old) > maxLogFiles-1 {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	for _, name := range old[:len(old)-1] {
		if err := pack(name); err != nil {
			return err
		}
	}
	return nil
}

// pack replaces a file by a compressed one.
func pack(name string) error {
	if strings.HasSuffix(name, ".gz") {
		return nil
	}
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".tmp", name+".gz"); err != nil {
		return err
	}
	return os.Remove(name)
}

// Close closes the file.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// stream returns a writer for one of the output streams of the container.
func (l *logFile) stream(name string) *logStream { return &logStream{log: l, name: name} }

// logStream turns what a process writes into lines of a logFile.
type logStream struct {
	log  *logFile
	name string
	rest []byte
}

// Write takes any piece of output.
func (s *logStream) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		line, after, whole := bytes.Cut(b, []byte{'\n'})
		s.rest = append(s.rest, line...)
		b = after
		for len(s.rest) > maxCRILine {
			if err := s.log.write(s.name, s.rest[:maxCRILine], true); err != nil {
				return 0, err
			}
			s.rest = append(s.rest[:0], s.rest[maxCRILine:]...)
		}
		if !whole {
			break
		}
		if err := s.log.write(s.name, s.rest, false); err != nil {
			return 0, err
		}
		s.rest = s.rest[:0]
	}
	return n, nil
}

// end writes what came without an end of line.
func (s *logStream) end() error {
	if len(s.rest) == 0 {
		return nil
	}
	rest := s.rest
	s.rest = nil
	return s.log.write(s.name, rest, false)
}
