package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxCounted bounds the containers that are counted apart.
const maxCounted = 100_000

// matchCounter counts lines by container and prints the counts at the end.
type matchCounter struct {
	c       *logClient
	output  string
	printer *logPrinter
	counts  map[countedSource]*matchCount
}

type countedSource struct{ namespace, pod, container, title string }

// matchCount is a line of output.
type matchCount struct {
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Filename  string `json:"filename,omitempty"`
	Count     int64  `json:"count"`

	source *logSource
}

func newMatchCounter(c *logClient, output string, printer *logPrinter) *matchCounter {
	return &matchCounter{c: c, output: output, printer: printer, counts: map[countedSource]*matchCount{}}
}

func (m *matchCounter) entry(e *logEntry) error {
	s := e.source
	key := countedSource{s.namespace, s.pod, s.container, s.title()}
	count := m.counts[key]
	if count == nil {
		if len(m.counts) >= maxCounted {
			return usagef("more than %d containers have lines that match: name a workload or a namespace", maxCounted)
		}
		count = &matchCount{Namespace: s.namespace, Pod: s.pod, Container: s.container, Filename: s.filename, source: s}
		m.counts[key] = count
	}
	count.Count++
	return nil
}

func (m *matchCounter) finish() error {
	counts := make([]*matchCount, 0, len(m.counts))
	total := int64(0)
	for _, count := range m.counts {
		counts = append(counts, count)
		total += count.Count
	}
	slices.SortFunc(counts, func(a, b *matchCount) int {
		return strings.Compare(a.source.sortKey(), b.source.sortKey())
	})
	switch text, isText := m.printer.format.(*textFormat); {
	case m.output == formatJSON:
		document, err := json.MarshalIndent(counts, "", "  ")
		if err != nil {
			return err
		}
		return m.c.print(string(document) + "\n")
	case m.output == formatJSONL:
		return printLines(m.c.client, counts)
	case isText && text.prefix:
		return m.printTable(text, counts, total)
	default:
		return m.c.print(strconv.FormatInt(total, 10) + "\n")
	}
}

// printTable writes a count for each container, and their sum to stderr.
func (m *matchCounter) printTable(text *textFormat, counts []*matchCount, total int64) error {
	var b bytes.Buffer
	for _, count := range counts {
		b.WriteString(text.who(count.source) + " " + strconv.FormatInt(count.Count, 10) + "\n")
	}
	if len(counts) > 1 {
		m.c.note("%d lines of %d containers", total, len(counts))
	}
	return m.c.print(b.String())
}

// sortKey orders sources for people.
func (s *logSource) sortKey() string {
	return strings.Join([]string{s.namespace, s.pod, s.container, s.title()}, "\xff")
}
