package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Defaults of Options.
const (
	DefaultPodLogs         = "/var/log/pods"
	DefaultWorkers         = 2
	DefaultMaxLineBytes    = 1 << 20
	DefaultMaxTraceLines   = 512
	DefaultMaxTraceBytes   = 128 << 10
	DefaultMaxOpenFiles    = 4096
	DefaultMaxDeletedBytes = 1 << 30
	DefaultHistory         = 16 << 20
	DefaultRescan          = 10 * time.Second
)

// Labeler knows more about a container than its file's name tells.
type Labeler interface {
	// Labels returns further labels of the container's log streams, for
	// example its workload, and whether they are final. It is called from
	// several goroutines, again about once a second for a container with new
	// records until it returns true; it must not block. Labels that the file's
	// name gives win over these.
	Labels(namespace, pod, uid, container string) (labels.Labels, bool)
}

// Options configure a Tailer.
type Options struct {
	// PodLogs are folders with one of these layouts, told apart entry by entry:
	// <namespace>_<pod>_<uid>/<container>/<restart>.log as the kubelet makes
	// them, symbolic links as in /var/log/containers, and Docker's
	// <id>/<id>-json.log. nil means DefaultPodLogs; empty means none.
	PodLogs []string
	// Globs are patterns of path/filepath for plain files. A file whose first
	// line has the format of CRI or Docker is read as such.
	Globs []string
	// Node and Cluster are labels of every stream and part of every source's
	// identity. Cluster may be "".
	Node, Cluster string
	// PositionsFile keeps how far each file was delivered. Its folder is made
	// if missing. It is required.
	PositionsFile string
	// Workers is the number of reading goroutines; the files of a lane belong
	// to worker lane%Workers.
	Workers int
	// MaxLineBytes bounds the text of a line; what is longer is truncated.
	MaxLineBytes int
	// NoJoin leaves the lines of a stack trace apart.
	NoJoin bool
	// MaxTraceLines and MaxTraceBytes bound a stack trace; the lines after
	// that are records of their own.
	MaxTraceLines, MaxTraceBytes int
	// RateLimit is the bytes of text per second that a container may log, by
	// the timestamps of its log, so that catching up sheds nothing. What is
	// beyond is shed, with a line that says so in its place. 0 is no limit.
	RateLimit int
	// Burst is what a container that was quiet may log at once, in bytes; 0
	// means twice RateLimit.
	Burst int
	// MaxDeletedBytes bounds the size of deleted files that are held open
	// because they are not delivered yet. Beyond it the largest is given up.
	MaxDeletedBytes int64
	// MaxOpenFiles bounds open log files, and so does half of RLIMIT_NOFILE.
	// Files that were read to their end are closed when others wait, and opened
	// again when they are written to.
	MaxOpenFiles int
	// History is how much of a plain file that is there at the very first
	// start is read, from its end; its rotations are not. Files of containers
	// are always read from their beginning.
	History int64
	// Rescan is the interval of looking at everything without being told.
	Rescan time.Duration
	// Push takes a delivery. It blocks while the receiver has no room; reading
	// stops then. An error means that ctx has ended. It is required.
	Push func(ctx context.Context, d storage.Delivery) error
	// Labeler may be nil.
	Labeler Labeler
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes the binnacle_tail_* metrics; it may be nil.
	Registerer prometheus.Registerer
}

// withDefaults fills in what is zero and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	if o.Push == nil {
		return o, errors.New("tail: Options.Push is required")
	}
	if o.PositionsFile == "" {
		return o, errors.New("tail: Options.PositionsFile is required")
	}
	if o.PodLogs == nil {
		o.PodLogs = []string{DefaultPodLogs}
	}
	for _, pattern := range o.Globs {
		if _, err := filepath.Match(pattern, ""); err != nil {
			return o, fmt.Errorf("tail: glob %q: %w", pattern, err)
		}
		if !filepath.IsAbs(pattern) {
			return o, fmt.Errorf("tail: glob %q is relative, give an absolute path", pattern)
		}
	}
	if o.RateLimit < 0 || o.Burst < 0 {
		return o, fmt.Errorf("tail: rate limit %d and burst %d must not be negative", o.RateLimit, o.Burst)
	}
	orDefault(&o.Workers, DefaultWorkers)
	orDefault(&o.MaxLineBytes, DefaultMaxLineBytes)
	orDefault(&o.MaxTraceLines, DefaultMaxTraceLines)
	orDefault(&o.MaxTraceBytes, DefaultMaxTraceBytes)
	orDefault(&o.MaxOpenFiles, DefaultMaxOpenFiles)
	orDefault(&o.MaxDeletedBytes, DefaultMaxDeletedBytes)
	orDefault(&o.History, DefaultHistory)
	orDefault(&o.Rescan, DefaultRescan)
	orDefault(&o.Burst, 2*o.RateLimit)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
