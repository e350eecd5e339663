// Package otlp speaks the log part of the OpenTelemetry protocol over HTTP: it
// encodes records as opentelemetry.proto.collector.logs.v1, decodes them, and
// sends them. Records of binnacle's own agents come out as they went in, with
// their identity; those of other senders as Loki users know them.
//
// The messages are those of opentelemetry-proto 1.x, names of attributes those
// of OpenTelemetry's semantic conventions.
package otlp

import (
	"strings"

	"github.com/binnacle-obs/binnacle/storage"
)

// Path is where receivers of logs listen, below their base URL.
const Path = "/otlp/v1/logs"

// Field numbers of the messages.
const (
	requestResourceLogs = 1 // ExportLogsServiceRequest

	resourceLogsResource = 1
	resourceLogsScope    = 2

	resourceAttributes = 1

	scopeLogsScope   = 1
	scopeLogsRecords = 2

	scopeFieldName       = 1
	scopeFieldVersion    = 2
	scopeFieldAttributes = 3

	recordTime         = 1
	recordSeverity     = 2
	recordSeverityText = 3
	recordBody         = 5
	recordAttributes   = 6
	recordTraceID      = 9
	recordSpanID       = 10
	recordObserved     = 11
	recordEventName    = 12

	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyKVList = 6
	anyBytes  = 7

	listValues = 1 // of ArrayValue and KeyValueList

	responsePartial  = 1 // ExportLogsServiceResponse
	partialRejected  = 1
	partialErrorText = 2
)

const (
	// scopeName marks what binnacle has encoded.
	scopeName = "binnacle"
	// attrSource is an attribute of the scope: the 16 bytes of the source of all
	// its records. It is missing if they have none.
	attrSource = "binnacle.source"
	// attrOffsets is an attribute of the scope: the offsets of its records, in
	// their order, each as a signed varint (zigzag). See appendOffsets.
	attrOffsets = "binnacle.offsets"
	// attrFlags is an attribute of a record: its storage.RecordFlags, if any.
	attrFlags = "binnacle.flags"
)

// attributeOf has the attributes for labels of streams; the other labels keep
// their names.
var attributeOf = map[string]string{
	storage.LabelCluster:   "k8s.cluster.name",
	storage.LabelNode:      "k8s.node.name",
	storage.LabelNamespace: "k8s.namespace.name",
	storage.LabelPod:       "k8s.pod.name",
	storage.LabelUID:       "k8s.pod.uid",
	storage.LabelContainer: "k8s.container.name",
	storage.LabelRestart:   "k8s.container.restart_count",
	storage.LabelStream:    "log.iostream",
	storage.LabelFilename:  "log.file.path",
}

// labelOf is the inverse of attributeOf.
var labelOf = func() map[string]string {
	m := make(map[string]string, len(attributeOf))
	for label, attribute := range attributeOf {
		m[attribute] = label
	}
	return m
}()

// workloadAttributes name the owners of a pod, the outermost first, with the
// type that metrics give them. Other senders' pods get our two labels by them.
var workloadAttributes = [...]struct{ attribute, workloadType string }{
	{"k8s.deployment.name", "deployment"},
	{"k8s.statefulset.name", "statefulset"},
	{"k8s.daemonset.name", "daemonset"},
	{"k8s.cronjob.name", "cronjob"},
	{"k8s.job.name", "job"},
	{"k8s.replicaset.name", "replicaset"},
}

// labelName turns the name of an attribute into one that queries can use: dots
// and whatever else is no letter, digit or underscore become underscores.
func labelName(attribute string) string {
	if label, ok := labelOf[attribute]; ok {
		return label
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, attribute)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}
