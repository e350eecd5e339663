package logql

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

func TestDetectFields(t *testing.T) {
	d := NewFieldDetector("status", 2)
	add := func(meta labels.Labels, format string, args ...any) {
		d.Add(&Entry{Line: fmt.Appendf(nil, format, args...), Metadata: meta, Record: &storage.Record{Stream: cart, Level: storage.LevelWarn}})
	}
	for i := range 10 {
		add(labels.FromStrings("level", "info", "trace", fmt.Sprint("t", i)),
			`{"status":%d,"took":"%dms","ok":true,"ratio":%v,"app":"x","req":{"size":"1KB"}}`, 200+i%3, i, float64(i)/2)
		add(labels.EmptyLabels(), `user=u%d count=%d mixed=%s`, i%4, i, []string{"1", "x"}[i%2])
	}
	add(labels.EmptyLabels(), "no fields at all")
	add(labels.EmptyLabels(), `{"broken`)
	require.Equal(t, []Field{
		{"app_extracted", "string", 1, "json"},
		{"count", "int", 10, "logfmt"},
		{"detected_level", "string", 1, ""},
		{"mixed", "string", 2, "logfmt"},
		{"ok", "boolean", 1, "json"},
		{"ratio", "float", 10, "json"},
		{"req_size", "bytes", 1, "json"},
		{"status", "int", 3, "json"},
		{"took", "duration", 10, "json"},
		{"trace", "string", 10, ""},
		{"user", "string", 4, "logfmt"},
	}, d.Fields())
	require.Equal(t, []string{"200", "201"}, d.Values())
}

func TestDetectFieldsIsBounded(t *testing.T) {
	d := NewFieldDetector("", 0)
	for i := range 5000 {
		d.Add(&Entry{Line: fmt.Appendf(nil, "k%d=v same=%d", i, i), Record: &storage.Record{Stream: cart}})
	}
	fields := d.Fields()
	require.Len(t, fields, maxFields)
	for _, f := range fields {
		if f.Name == "same" {
			require.InEpsilon(t, 5000, f.Cardinality, 0.2, "an estimate")
			require.LessOrEqual(t, len(d.fields["same"].distinct.hashes), maxDistinct)
		}
	}
}
