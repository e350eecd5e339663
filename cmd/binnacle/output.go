package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// Output formats of -o.
const (
	formatTable = "table"
	formatChart = "chart"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatRaw   = "raw"
)

// Values of --color.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// ANSI sequences.
const (
	ansiBold  = "\x1b[1m"
	ansiReset = "\x1b[0m"
)

// defineColor adds --color to the flags of a command.
func (s *clientSettings) defineColor(b flagBlock) {
	s.color = colorAuto
	b.add(enumValue(&s.color, colorAuto, colorAlways, colorNever), "color", "colours: auto is for a terminal without NO_COLOR")
}

// colored says whether output on stdout has colours.
func (c *client) colored() bool {
	switch c.settings.color {
	case colorAlways:
		return true
	case colorNever:
		return false
	default:
		return c.p.columns(c.p.stdout) > 0 && c.p.lookup("NO_COLOR") == ""
	}
}

// print writes everything to stdout at once, so that a failing query leaves
// no half of a table behind.
func (c *client) print(text string) error {
	_, err := io.WriteString(c.p.stdout, text)
	return err
}

// printDocument writes the API's document as it came.
func (c *client) printDocument() error {
	return c.print(strings.TrimRight(string(c.recorder.body), "\n") + "\n")
}

// printLines writes each value as one line of JSON.
func printLines[T any](c *client, values []T) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	for _, v := range values {
		if err := encoder.Encode(v); err != nil {
			return err
		}
	}
	return c.print(b.String())
}

// table holds rows of text that are aligned in columns the way kubectl does.
// Every row has a cell for each column of the header.
type table struct {
	header []string
	rows   [][]string
}

// render aligns the columns; nothing is padded at the end of a line.
func (t *table) render(bold bool) string {
	const padding, least = 3, 6
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell)+padding, least)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
			}
		}
	}
	if bold {
		b.WriteString(ansiBold)
	}
	line(t.header)
	if bold {
		b.WriteString(ansiReset)
	}
	b.WriteByte('\n')
	for _, row := range t.rows {
		line(row)
		b.WriteByte('\n')
	}
	return b.String()
}

// splitLabels parts the labels of several series into those that tell them
// apart, sorted, and those that all of them share. A single series is told
// by all of its labels.
func splitLabels(metrics []model.Metric) (apart []model.LabelName, shared model.Metric) {
	shared = model.Metric{}
	seen := map[model.LabelName]bool{}
	for _, m := range metrics {
		for name := range m {
			seen[name] = true
		}
	}
	for name := range seen {
		if value, ok := sharedValue(metrics, name); ok && len(metrics) > 1 {
			shared[name] = value
		} else {
			apart = append(apart, name)
		}
	}
	slices.Sort(apart)
	return apart, shared
}

// sharedValue returns the value of a label that is equal in all metrics.
func sharedValue(metrics []model.Metric, name model.LabelName) (model.LabelValue, bool) {
	for _, m := range metrics {
		if value, ok := m[name]; !ok || value != metrics[0][name] {
			return "", false
		}
	}
	return metrics[0][name], true
}

// labelCells returns the values of names, "-" where there is none.
func labelCells(m model.Metric, names []model.LabelName) []string {
	cells := make([]string, 0, len(names)+2)
	for _, name := range names {
		value, ok := m[name]
		if !ok {
			value = "-"
		}
		cells = append(cells, string(value))
	}
	return cells
}

// labelHeader names the columns of labels as they are written in queries.
func labelHeader(names []model.LabelName) []string {
	header := make([]string, 0, len(names)+2)
	for _, name := range names {
		if name == model.MetricNameLabel {
			header = append(header, "METRIC")
			continue
		}
		header = append(header, string(name))
	}
	return header
}

// pointText writes the value of a float or histogram sample.
func pointText(v model.SampleValue, h *model.SampleHistogram) string {
	if h != nil {
		return h.String()
	}
	return v.String()
}

// clock writes a time of a sample for people, in their time zone.
func clock(t model.Time, zone *time.Location) string {
	return t.Time().In(zone).Format("2006-01-02 15:04:05")
}

// shortNumber writes v with four digits and a unit prefix: 1.25k, or 1.5Mi
// for bytes.
func shortNumber(v float64, binary bool) string {
	step, units := 1000.0, []string{"", "k", "M", "G", "T", "P", "E"}
	if binary {
		step, units = 1024, []string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	}
	unit := 0
	for (v >= step || v <= -step) && unit < len(units)-1 {
		v /= step
		unit++
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + units[unit]
}
