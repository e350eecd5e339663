package tail

import (
	"bytes"

	"github.com/binnacle-obs/binnacle/storage"
)

// format is how lines are written to a file.
type format uint8

const (
	formatUnknown format = iota
	formatPlain
	formatCRI
	formatJSON
	formats
)

var formatNames = [formats]string{"unknown", "plain", "cri", "json-file"}

// detectFormat looks at the first line of a file. The files of containers
// have one of two formats, other files may have any.
func detectFormat(first []byte, container bool) format {
	first = bytes.TrimSuffix(first, []byte{'\n'})
	var c clock
	if _, reason := parseCRI(&c, first); reason == "" {
		return formatCRI
	}
	if _, reason := parseJSONFile(&c, bytes.Clone(first)); reason == "" {
		return formatJSON
	}
	if !container {
		return formatPlain
	}
	if len(first) > 0 && first[0] == '{' {
		return formatJSON
	}
	return formatCRI
}

// consume makes records of the complete lines in data, which lies at g.offset,
// up to the bound of a delivery.
func (g *generation) consume(b *batch, data []byte) {
	lines, start := 0, g.offset
	for len(data) > 0 && len(b.records) < maxRecords {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			g.takeFragment(b, data)
			end = len(data) - 1
		} else {
			g.take(b, data[:end], 0)
		}
		g.offset += int64(end + 1)
		data = data[end+1:]
		lines++
	}
	m := &g.lane.t.metrics.formats[g.format]
	m.lines.Add(float64(lines))
	m.bytes.Add(float64(g.offset - start))
}

// takeFragment takes a line that ends here without a line feed. In a plain
// file that is no fault.
func (g *generation) takeFragment(b *batch, line []byte) {
	if g.format == formatPlain {
		g.take(b, line, 0)
		return
	}
	g.lane.t.metrics.truncated.WithLabelValues("unfinished").Inc()
	g.take(b, line, storage.FlagTruncated)
}

// take parses the line at g.offset.
func (g *generation) take(b *batch, line []byte, flags storage.RecordFlags) {
	if g.format == formatPlain {
		e := entry{time: b.now, out: unnamed, text: line}
		g.entry(b, g.offset, &e, flags)
		return
	}
	e, reason := g.parse(line)
	if reason == "" {
		g.lastTime = e.time
		g.entry(b, g.offset, &e, flags)
		return
	}
	g.lane.t.metrics.malformed.WithLabelValues(reason).Inc()
	e = entry{time: g.lastTime, out: unnamed, text: line}
	if e.time == 0 {
		e.time = b.now
	}
	g.entry(b, g.offset, &e, flags|storage.FlagMalformed)
}

// parse goes by the line, not by the file: a line makes the same record
// wherever reading began.
func (g *generation) parse(line []byte) (entry, string) {
	if len(line) > 0 && line[0] == '{' {
		return parseJSONFile(&g.clock, line)
	}
	return parseCRI(&g.clock, line)
}
