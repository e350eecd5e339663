package corpus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Container is one container of a corpus; its number tells it from the others.
type Container struct {
	Number  int
	Restart int
	Shape   Shape
}

// Namespace is where the pod of the container is.
func (c Container) Namespace() string { return fmt.Sprintf("namespace-%d", c.Number%10) }

// Pod is the name of the container's pod, in which it is the only one.
func (c Container) Pod() string {
	return fmt.Sprintf("workload-%d-7d4b9c6f5-x%03d", c.Number/3, c.Number)
}

// UID is the pod's.
func (c Container) UID() string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", c.Number+1) }

// Name of the container.
func (c Container) Name() string { return "main" }

// Path is where the kubelet has a runtime write the container's log.
func (c Container) Path(root string) string {
	return filepath.Join(root, c.Namespace()+"_"+c.Pod()+"_"+c.UID(), c.Name(), fmt.Sprintf("%d.log", c.Restart))
}

// stderrEvery is how often a line goes to stderr.
const stderrEvery = 20

// AppendCRI appends line n as a runtime writes it at a time: in fragments if it
// is long. Times should be in UTC.
func (c Container) AppendCRI(dst []byte, n int64, at time.Time) []byte {
	text := c.Shape.AppendText(nil, c.Number, n)
	fragment := c.Shape.withDefaults().Fragment
	stream := " stdout "
	if n%stderrEvery == stderrEvery-1 {
		stream = " stderr "
	}
	for {
		part, tag := text, "F "
		if len(text) > fragment {
			part, tag = text[:fragment], "P "
		}
		dst = at.AppendFormat(dst, "2006-01-02T15:04:05.000000000Z07:00")
		dst = append(dst, stream...)
		dst = append(dst, tag...)
		dst = append(dst, part...)
		dst = append(dst, '\n')
		if text = text[len(part):]; len(text) == 0 {
			return dst
		}
	}
}

// Files are what Write has written.
type Files struct {
	Paths []string
	// Lines is the number of lines of each file, Bytes the size of all.
	Lines []int64
	Bytes int64
}

// Write writes the logs of containers 0 to count-1 below root, each of
// bytes/count bytes or a line more, with times that begin at start.
func Write(root string, count int, bytes int64, shape Shape, start time.Time) (Files, error) {
	var files Files
	for i := range count {
		c := Container{Number: i, Shape: shape}
		path := c.Path(root)
		lines, size, err := writeFile(path, c, bytes/int64(count), start)
		if err != nil {
			return files, err
		}
		files.Paths = append(files.Paths, path)
		files.Lines = append(files.Lines, lines)
		files.Bytes += size
	}
	return files, nil
}

func writeFile(path string, c Container, bytes int64, start time.Time) (lines, size int64, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, 0, err
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<18)
	lines, size, err = c.writeTo(w, bytes, start)
	return lines, size, errors.Join(err, w.Flush())
}

// writeTo writes lines, a few a millisecond, until there are enough bytes.
func (c Container) writeTo(w io.Writer, bytes int64, at time.Time) (lines, size int64, err error) {
	var buf []byte
	for size < bytes {
		at = at.Add(time.Duration(mix(uint64(lines)) % 1e6))
		buf = c.AppendCRI(buf[:0], lines, at)
		if _, err := w.Write(buf); err != nil {
			return lines, size, err
		}
		size += int64(len(buf))
		lines++
	}
	return lines, size, nil
}
