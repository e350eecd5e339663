package storage

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/prometheus/prometheus/model/labels"
)

// Labels of log streams. A producer sets those that it knows; all are free
// columns: no number of streams is too many.
const (
	LabelCluster   = "cluster"
	LabelNode      = "node"
	LabelNamespace = "namespace"
	LabelPod       = "pod"
	LabelUID       = "uid"
	LabelContainer = "container"
	// LabelRestart is the kubelet's restart number of the container, "0" at first.
	LabelRestart = "restart"
	// LabelStream is "stdout" or "stderr".
	LabelStream = "stream"
	// LabelFilename is set for plain files instead of the labels of a pod.
	LabelFilename     = "filename"
	LabelWorkload     = "workload"
	LabelWorkloadType = "workload_type"
	// LabelLevel is no label of a stream: queries see the level of each record
	// under this name.
	LabelLevel = "level"
)

// Stream is the identity of a sequence of log records: who wrote them. Its
// producer makes it once and points every record at it.
type Stream struct {
	// Labels are complete; they never change.
	Labels labels.Labels
}

// SourceID names one generation of one log file and one of its output streams
// (stdout and stderr have sources of their own): a hash of the cluster, the
// node, the pod's uid, the container, its restart number, the output stream
// and what tells this file from those before it. The zero value means that a
// record comes from no file, for example by a push request.
type SourceID [16]byte

// IsZero tells whether a record has no source.
func (s SourceID) IsZero() bool { return s == SourceID{} }

// RecordID is the identity of a record that has a source: a record that is
// sent twice has the same ID and is stored once.
type RecordID struct {
	Source SourceID
	Offset int64
}

// String returns 48 hexadecimal digits that sort by offset within a source.
func (id RecordID) String() string {
	var b [24]byte
	copy(b[:], id.Source[:])
	binary.BigEndian.PutUint64(b[16:], uint64(id.Offset))
	return hex.EncodeToString(b[:])
}

// RecordFlags say what happened to a line on its way.
type RecordFlags uint8

// What can happen to a line.
const (
	// FlagTruncated marks a line that was longer than the limit.
	FlagTruncated RecordFlags = 1 << iota
	// FlagJoined marks several lines of a stack trace joined to one record.
	FlagJoined
	// FlagReplaced marks a line with invalid UTF-8 or NUL bytes, replaced by U+FFFD.
	FlagReplaced
	// FlagRedacted marks a line of which a secret was taken out.
	FlagRedacted
	// FlagMalformed marks a line that does not have its file's format; it is
	// kept as it is.
	FlagMalformed
	// FlagShed marks a line that binnacle wrote in place of lines that were
	// shed by a rate limit.
	FlagShed
)

// Record is one log record.
type Record struct {
	// Stream is never nil.
	Stream *Stream
	// Time is nanoseconds since the Unix epoch: what the container runtime or
	// the sender wrote, else when the line was read.
	Time int64
	// Source and Offset are the record's identity. Offset is that of the
	// record's first byte in its (uncompressed) file. The records of a source
	// come in ascending order of their offsets.
	Source SourceID
	Offset int64
	// Line is the text, without the line feed at its end; lines joined to one
	// record have line feeds between them. Valid UTF-8 without NUL.
	Line []byte
	// Size is the length of Line. Readers use it where a query leaves out the
	// text; producers need not set it.
	Size int32
	// Level is what DetectLevel or the sender says.
	Level Level
	Flags RecordFlags
	// Metadata are further labels of this record alone ("structured metadata"
	// in Loki, attributes in OpenTelemetry). Mostly empty.
	Metadata labels.Labels
}

// ID is meaningful for records with a source.
func (r *Record) ID() RecordID { return RecordID{r.Source, r.Offset} }
