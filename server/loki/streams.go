package loki

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// encodingHeader asks for variants of the answer, and categorizeLabels is the
// only one: each entry gets a third element with what is no label of its
// stream. Loki matches the flag to the letter and returns all flags as they
// came.
const (
	encodingHeader   = "X-Loki-Response-Encoding-Flags"
	categorizeLabels = "categorize-labels"
)

// encodingFlags returns what a request asks for, nil for nothing.
func encodingFlags(r *http.Request) []string {
	if header := r.Header.Get(encodingHeader); header != "" {
		return strings.Split(header, ",")
	}
	return nil
}

// errResultBytes says that a document is as large as it may be.
var errResultBytes = errors.New("the result is too large")

// streamSet gathers entries by their labels, encoded as they come.
type streamSet struct {
	categorize bool
	maxBytes   int

	groups map[string]*streamGroup
	bytes  int
	key    []byte // scratch
	value  []byte // scratch
}

type streamGroup struct {
	labels labels.Labels
	values []byte // elements of a JSON array, with commas between them
}

func newStreamSet(flags []string, maxBytes int) *streamSet {
	return &streamSet{categorize: slices.Contains(flags, categorizeLabels), maxBytes: maxBytes, groups: make(map[string]*streamGroup)}
}

// add takes an entry, or returns errResultBytes.
func (s *streamSet) add(e *logql.Entry) error {
	s.value = appendEntry(s.value[:0], e, s.categorize)
	return s.addEncoded(entryLabels(e, s.categorize), s.value)
}

// entryLabels are the labels of the stream that an entry belongs to.
func entryLabels(e *logql.Entry, categorize bool) labels.Labels {
	if categorize {
		return e.Stream
	}
	return e.Labels
}

// addEncoded takes an entry that appendEntry wrote.
func (s *streamSet) addEncoded(l labels.Labels, value []byte) error {
	s.key = l.Bytes(s.key[:0])
	g := s.groups[string(s.key)]
	size := len(value) + 1
	if g == nil {
		size += 2*len(s.key) + groupBytes
	}
	if s.bytes+size > s.maxBytes && s.bytes > 0 {
		return errResultBytes
	}
	s.bytes += size
	if g == nil {
		g = &streamGroup{labels: l}
		s.groups[string(s.key)] = g
	} else {
		g.values = append(g.values, ',')
	}
	g.values = append(g.values, value...)
	return nil
}

// groupBytes is what a stream costs beside its labels and values.
const groupBytes = 100

// appendEntry appends an entry as an array: time, line, and the third element
// when labels are to be told apart.
func appendEntry(b []byte, e *logql.Entry, categorize bool) []byte {
	b = append(b, '[')
	b = appendNanoseconds(b, e.Time)
	b = append(b, ',')
	b = appendString(b, e.Line)
	if categorize {
		b = append(b, ',', '{')
		if !e.Metadata.IsEmpty() {
			b = append(b, `"structuredMetadata":`...)
			b = appendLabels(b, e.Metadata)
		}
		if !e.Parsed.IsEmpty() {
			if !e.Metadata.IsEmpty() {
				b = append(b, ',')
			}
			b = append(b, `"parsed":`...)
			b = appendLabels(b, e.Parsed)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendJSON appends the streams in the order of their labels.
func (s *streamSet) appendJSON(b []byte) []byte {
	groups := make([]*streamGroup, 0, len(s.groups))
	for _, g := range s.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(x, y *streamGroup) int { return labels.Compare(x.labels, y.labels) })
	b = slices.Grow(b, s.bytes)
	b = append(b, '[')
	for i, g := range groups {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"stream":`...)
		b = appendLabels(b, g.labels)
		b = append(b, `,"values":[`...)
		b = append(b, g.values...)
		b = append(b, `]}`...)
	}
	return append(b, ']')
}
