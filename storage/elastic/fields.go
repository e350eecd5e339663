package elastic

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Fields of a document, named as in the Elastic Common Schema and as Filebeat
// writes them; those below "binnacle" are ours. docs/elasticsearch.md lists
// them all.
const (
	fieldTime    = "@timestamp"
	fieldMessage = "message"
	// fieldRaw is the whole line: a "wildcard" or, with a bound, a "keyword".
	fieldRaw    = "message.raw"
	fieldLevel  = "log.level"
	fieldOffset = "log.offset"
	// fieldLabels holds the stream labels without a field of their own.
	fieldLabels = "labels"
	// fieldStream is the hash of all labels of the stream.
	fieldStream = "binnacle.stream"
	// fieldSource is the SourceID in hexadecimal digits, or "-" and the hash
	// of a record without one: "-" sorts before all digits.
	fieldSource = "binnacle.source"
	// fieldSize is the length of the line in bytes.
	fieldSize = "binnacle.size"
	// fieldIgnored is the server's own list of fields of a document that were
	// too long to be indexed.
	fieldIgnored = "_ignored"

	labelContainerID = "container_id"
)

// labelFields are the labels with a field of their own.
var labelFields = map[string]string{
	storage.LabelCluster:   "orchestrator.cluster.name",
	storage.LabelNode:      "kubernetes.node.name",
	storage.LabelNamespace: "kubernetes.namespace",
	storage.LabelPod:       "kubernetes.pod.name",
	storage.LabelUID:       "kubernetes.pod.uid",
	storage.LabelContainer: "kubernetes.container.name",
	labelContainerID:       "container.id",
	storage.LabelStream:    "stream",
	storage.LabelFilename:  "log.file.path",
}

// hashLabels is the same on every machine and in every version: it is part of
// the stored documents.
func hashLabels(l labels.Labels, add func(string)) {
	l.Range(func(l labels.Label) {
		add(l.Name)
		add("\xff")
		add(l.Value)
		add("\xff")
	})
}
