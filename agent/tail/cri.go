package tail

import "bytes"

// output is where a container wrote a line.
type output uint8

const (
	stdout output = iota
	stderr
	// unnamed is for plain files and for lines that do not tell their output.
	unnamed
	outputs
)

var outputNames = [outputs]string{"stdout", "stderr", ""}

// entry is one parsed line of a container's log file. text points into the line.
type entry struct {
	time    int64
	out     output
	partial bool // the text goes on in the next entry of the same output
	text    []byte
}

// Reasons why a line does not have its file's format.
const (
	malformedTime   = "time"
	malformedOutput = "output"
	malformedTag    = "tag"
	malformedJSON   = "json"
)

// parseCRI parses a line as containerd and CRI-O write it:
//
//	2016-10-06T00:17:09.669794202Z stdout P first part of a long line
//	2016-10-06T00:17:09.669794203+02:00 stdout F the end of it
//
// The source is the kubelet's design document
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md.
// reason is "" for a good line.
func parseCRI(c *clock, line []byte) (e entry, reason string) {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return e, malformedTime
	}
	var ok bool
	if e.time, ok = c.parse(line[:i]); !ok {
		return e, malformedTime
	}
	rest := line[i+1:]
	if len(rest) < len("stdout F") || rest[6] != ' ' {
		return e, malformedOutput
	}
	switch string(rest[:6]) {
	case "stdout":
	case "stderr":
		e.out = stderr
	default:
		return e, malformedOutput
	}
	switch rest[7] {
	case 'F':
	case 'P':
		e.partial = true
	default:
		return e, malformedTag
	}
	rest = rest[8:]
	if len(rest) == 0 || rest[0] == ' ' {
		e.text = rest[min(1, len(rest)):]
		return e, ""
	}
	// Tags are a list; only the first has a meaning.
	if i = bytes.IndexByte(rest, ' '); rest[0] != ':' || i < 0 {
		return e, malformedTag
	}
	e.text = rest[i+1:]
	return e, ""
}
