package logql

import (
	"bytes"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// step is a compiled Stage. It returns the line, perhaps another one, and
// whether the record is kept. Steps are not for concurrent use.
type step interface {
	run(line []byte, v *view) ([]byte, bool)
}

// maxStreamStates bounds what a pipeline remembers of streams.
const maxStreamStates = 20_000

// pipeline applies stages to records.
type pipeline struct {
	steps   []step
	view    view
	streams map[*storage.Stream]*streamState
	builder labels.ScratchBuilder
	scratch []pair
	entry   entryLabels
}

// newPipeline compiles stages; needed says which labels are asked of the
// result.
func newPipeline(stages []Stage, needed needs) (*pipeline, error) {
	p := &pipeline{streams: map[*storage.Stream]*streamState{}, steps: make([]step, 0, len(stages))}
	hints := stageNeeds(stages, needed)
	for i, stage := range stages {
		s, err := compileStage(stage, hints[i])
		if err != nil {
			return nil, err
		}
		if s != nil {
			p.steps = append(p.steps, s)
		}
	}
	return p, nil
}

// compileStage returns nil for a stage that has no effect on what is needed
// after it.
func compileStage(stage Stage, after needs) (step, error) {
	switch s := stage.(type) {
	case *LineFilter:
		return newLineFilterStep(s)
	case *JSONParser, *LogfmtParser, *PatternParser, *RegexpParser:
		if after.nothing() {
			return nil, nil
		}
		return compileParser(s, after)
	case *UnpackParser:
		return newUnpackStep(after), nil
	case *LabelFilterStage:
		check, err := compileFilter(s.Filter)
		return filterStep(check), err
	case *LineFormat:
		t, err := newTemplate(s.Template)
		return &lineFormatStep{t}, err
	case *LabelFormat:
		return newLabelFormatStep(s)
	case *DropLabels:
		return &dropStep{s.Labels}, nil
	case *KeepLabels:
		return &keepStep{conditions: s.Labels}, nil
	default:
		return &decolorizeStep{}, nil
	}
}

// run applies the steps; p.view has the labels afterwards.
func (p *pipeline) run(r *storage.Record) ([]byte, bool) {
	p.view.reset(p.state(r.Stream), r)
	line := r.Line
	for _, s := range p.steps {
		var keep bool
		if line, keep = s.run(line, &p.view); !keep {
			return nil, false
		}
	}
	return line, true
}

// drops tells whether a step may leave out records.
func (p *pipeline) drops() bool {
	for _, s := range p.steps {
		switch s.(type) {
		case filterStep, *lineFilterStep:
			return true
		}
	}
	return false
}

// readsLine tells whether a step needs the text of records.
func (p *pipeline) readsLine() bool {
	for _, s := range p.steps {
		switch s.(type) {
		case filterStep, *dropStep, *keepStep:
		default:
			return true
		}
	}
	return false
}

func (p *pipeline) state(s *storage.Stream) *streamState {
	st := p.streams[s]
	if st == nil {
		if len(p.streams) >= maxStreamStates {
			clear(p.streams)
		}
		st = newStreamState(s)
		p.streams[s] = st
	}
	return st
}

// entryLabels are the labels of an Entry.
type entryLabels struct {
	all, stream, meta, parsed labels.Labels
}

// entryLabels makes labels of p.view. The result is valid until the next call,
// the labels in it are copies.
func (p *pipeline) entryLabels() *entryLabels {
	v := &p.view
	if v.plain() {
		if v.stream.plain[v.level] == nil {
			v.stream.plain[v.level] = &entryLabels{all: p.build(v.visible), stream: v.stream.labels, meta: p.build(v.visibleMeta)}
		}
		return v.stream.plain[v.level]
	}
	p.entry = entryLabels{all: p.build(v.visible), stream: v.stream.labels, meta: p.build(v.visibleMeta), parsed: p.build(v.visibleParsed)}
	p.scratch = v.visibleStream(p.scratch[:0])
	if len(p.scratch) < len(v.stream.pairs) {
		p.entry.stream = buildLabels(&p.builder, p.scratch)
	}
	return &p.entry
}

// build makes labels of what collect appends.
func (p *pipeline) build(collect func([]pair) []pair) labels.Labels {
	p.scratch = collect(p.scratch[:0])
	if len(p.scratch) == 0 {
		return labels.EmptyLabels()
	}
	return buildLabels(&p.builder, p.scratch)
}

// lineFilterStep decides on the line.
type lineFilterStep struct {
	negate   bool
	patterns []func(line []byte) bool
}

func (s *lineFilterStep) run(line []byte, _ *view) ([]byte, bool) {
	for _, matches := range s.patterns {
		if matches(line) {
			return line, !s.negate
		}
	}
	return line, s.negate
}

func newLineFilterStep(f *LineFilter) (step, error) {
	s := &lineFilterStep{negate: f.Op[0] == '!'}
	for _, p := range f.Patterns {
		switch {
		case p.IP:
			ip, err := parseIPPattern(p.Text)
			if err != nil {
				return nil, err
			}
			s.patterns = append(s.patterns, ip.matchLine)
		case f.Op == "|>" || f.Op == "!>":
			pattern, err := parseLinePattern(p.Text)
			if err != nil {
				return nil, err
			}
			s.patterns = append(s.patterns, pattern.matchLine)
		case f.Op == "|~" || f.Op == "!~":
			m, err := storage.NewLineMatcher(false, storage.LinePattern{Text: p.Text, Regexp: true})
			if err != nil {
				return nil, err
			}
			s.patterns = append(s.patterns, m.Match)
		default:
			text := []byte(p.Text)
			s.patterns = append(s.patterns, func(line []byte) bool { return bytes.Contains(line, text) })
		}
	}
	return s, nil
}

// decolorizeStep removes ANSI escape sequences: ESC [ parameters letter.
type decolorizeStep struct{ buf []byte }

const esc = 0x1b

func (s *decolorizeStep) run(line []byte, _ *view) ([]byte, bool) {
	if bytes.IndexByte(line, esc) < 0 {
		return line, true
	}
	s.buf = s.buf[:0]
	for len(line) > 0 {
		i := bytes.IndexByte(line, esc)
		if i < 0 {
			i = len(line)
		}
		s.buf = append(s.buf, line[:i]...)
		line = line[i:]
		if n := escapeLen(line); n > 0 {
			line = line[n:]
		} else if len(line) > 0 {
			s.buf = append(s.buf, line[0])
			line = line[1:]
		}
	}
	return s.buf, true
}

// escapeLen is the length of the control sequence that b begins with, else 0.
func escapeLen(b []byte) int {
	if len(b) < 3 || b[0] != esc || b[1] != '[' {
		return 0
	}
	i := 2
	for i < len(b) && b[i] >= 0x20 && b[i] <= 0x3f {
		i++
	}
	if i < len(b) && b[i] >= 0x40 && b[i] <= 0x7e {
		return i + 1
	}
	return 0
}
