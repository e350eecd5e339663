package tail

import (
	"fmt"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// pending is text that is not a record yet.
type pending struct {
	active bool
	origin origin
	time   int64
	flags  storage.RecordFlags
	text   []byte
}

func (p *pending) begin(from origin, at int64, flags storage.RecordFlags, text []byte) {
	p.active, p.origin, p.time, p.flags = true, from, at, flags
	p.text = append(p.text[:0], text...)
}

// end forgets the text, and its memory if that was much.
func (p *pending) end() {
	p.active, p.origin.from = false, nil
	if cap(p.text) > 64<<10 {
		p.text = nil
	}
}

// joiner is the state of one output of a generation. Which records it makes
// depends on the lines and cuts from the last resume point on and on nothing else.
type joiner struct {
	// skip is the offset before which lines are in acknowledged records: the
	// other outputs resume earlier.
	skip int64
	// cuts to make, ascending.
	cuts []cut
	// long is a line of which the runtime has written parts.
	long pending
	// trace is a stack trace of so many lines.
	trace pending
	state traceState
	lines int
	shed  shed
	// begun is set once the output has lines, or parts from an earlier generation.
	begun bool
	// owes tells that parts were left to the next generation: owed is where
	// they begin.
	owes bool
	owed int64
}

// resumePoint is where to go on after everything that the worker has put into
// batches.
func (g *generation) resumePoint() resume {
	var r resume
	for o := range g.joiners {
		j := &g.joiners[o]
		next := g.offset
		switch {
		case j.owes:
			next = j.owed
		case j.trace.active:
			next = j.trace.origin.next
		case j.long.active:
			next = j.long.origin.next
		}
		r.Outputs[o] = outputState{Next: max(next, j.skip), Shed: j.shed}
	}
	if limit := g.lane.limit; limit != nil {
		r.Bucket = limit.state
	}
	return r
}

// entry takes a parsed line that begins at offset.
func (g *generation) entry(b *batch, offset int64, e *entry, flags storage.RecordFlags) {
	j := &g.joiners[e.out]
	if offset < j.skip {
		return
	}
	if !j.begun {
		g.begin(e.out, offset)
	}
	for len(j.cuts) > 0 && offset >= j.cuts[0].Offset {
		g.flush(b, e.out, j.cuts[0].All)
		j.cuts = j.cuts[1:]
	}
	if !e.partial && !j.long.active {
		g.line(b, e.out, within(offset), e.time, e.text, flags)
		return
	}
	g.part(b, offset, e, flags)
}

// part joins the parts of a long line.
func (g *generation) part(b *batch, offset int64, e *entry, flags storage.RecordFlags) {
	j := &g.joiners[e.out]
	if !j.long.active {
		j.long.begin(within(offset), e.time, 0, nil)
	}
	j.long.flags |= flags
	room := g.lane.t.opts.MaxLineBytes + 1 - len(j.long.text) // one more shows that it is too long
	if room < len(e.text) {
		g.lane.t.metrics.truncatedBytes.Add(float64(len(e.text) - max(0, room)))
	}
	j.long.text = append(j.long.text, e.text[:max(0, min(room, len(e.text)))]...)
	if !e.partial {
		g.endLong(b, e.out)
	}
}

// endLong makes a line of the parts that have come.
func (g *generation) endLong(b *batch, o output) {
	j := &g.joiners[o]
	j.long.active = false
	g.line(b, o, j.long.origin, j.long.time, j.long.text, j.long.flags)
	j.long.end()
}

// line takes a whole line.
func (g *generation) line(b *batch, o output, from origin, at int64, text []byte, flags storage.RecordFlags) {
	j := &g.joiners[o]
	if g.lane.t.opts.NoJoin {
		g.emit(b, o, from, at, text, flags)
		return
	}
	if j.trace.active {
		if state, ok := j.state.next(text); ok && g.extend(j, text, flags) {
			j.state = state
			return
		}
		g.endTrace(b, o)
	}
	if state := traceStart(text); state != noTrace {
		j.trace.begin(from, at, flags, text)
		j.state, j.lines = state, 1
		return
	}
	g.emit(b, o, from, at, text, flags)
}

// extend adds a line to the stack trace if there is room.
func (g *generation) extend(j *joiner, text []byte, flags storage.RecordFlags) bool {
	o := &g.lane.t.opts
	if j.lines == o.MaxTraceLines || len(j.trace.text)+1+len(text) > min(o.MaxTraceBytes, o.MaxLineBytes) {
		g.lane.t.metrics.tracesCut.Inc()
		return false
	}
	j.lines++
	j.trace.text = append(append(j.trace.text, '\n'), text...)
	j.trace.flags |= flags | storage.FlagJoined
	return true
}

// endTrace makes a record of the stack trace.
func (g *generation) endTrace(b *batch, o output) {
	j := &g.joiners[o]
	j.trace.active, j.state = false, noTrace
	g.emit(b, o, j.trace.origin, j.trace.time, j.trace.text, j.trace.flags)
	j.trace.end()
}

// flush ends what waits for more lines, with all also for parts of a line.
func (g *generation) flush(b *batch, o output, all bool) {
	j := &g.joiners[o]
	if all && j.long.active {
		j.long.flags |= storage.FlagTruncated
		g.lane.t.metrics.truncated.WithLabelValues("unfinished").Inc()
		g.endLong(b, o)
	}
	if j.trace.active {
		g.endTrace(b, o)
	}
	g.reportShed(b, o)
}

// waits tells whether an output has something that flush would make a record.
func (j *joiner) waits(all bool) bool {
	return j.trace.active || j.shed.Lines > 0 || all && j.long.active
}

// emit makes a record, unless the container is over its rate limit.
func (g *generation) emit(b *batch, o output, from origin, at int64, text []byte, flags storage.RecordFlags) {
	for _, earlier := range from.from {
		b.debts = append(b.debts, debt{earlier, o})
	}
	if limit := g.lane.limit; limit != nil && !limit.admit(at, len(text)) {
		g.shed(b, o, from.next, at, len(text))
		return
	}
	if g.joiners[o].shed.Lines > 0 {
		g.reportShed(b, o)
	}
	if maxLine := g.lane.t.opts.MaxLineBytes; len(text) > maxLine {
		g.lane.t.metrics.truncatedBytes.Add(float64(len(text) - maxLine))
		g.lane.t.metrics.truncated.WithLabelValues("too_long").Inc()
		text, flags = truncate(text, maxLine), flags|storage.FlagTruncated
	}
	switch {
	case !b.holds(text):
		if clean(text) {
			text = b.keep(text)
			break
		}
		text, flags = b.keepClean(text), flags|storage.FlagReplaced
		g.lane.t.metrics.replaced.Inc()
	case !b.clean && !clean(text):
		text, flags = b.keepClean(text), flags|storage.FlagReplaced
		g.lane.t.metrics.replaced.Inc()
	}
	level := storage.DetectLevel(text)
	if level == storage.LevelUnknown && flags&storage.FlagJoined != 0 {
		level = storage.LevelError
	}
	g.append(b, o, from, at, text, flags, level)
}

func (g *generation) append(b *batch, o output, from origin, at int64, text []byte, flags storage.RecordFlags, level storage.Level) {
	source := g.sources[o]
	if len(from.from) > 0 {
		source = from.from[0].sources[o]
	}
	b.records = append(b.records, storage.Record{
		Stream: g.streams[o], Time: at, Source: source, Offset: from.offset,
		Line: text, Size: int32(len(text)), Level: level, Flags: flags,
	})
}

// shed leaves a record out.
func (g *generation) shed(b *batch, o output, offset, at int64, size int) {
	s := &g.joiners[o].shed
	if s.Lines > 0 && at-s.Time > maxShedSpan {
		g.reportShed(b, o)
	}
	if s.Lines == 0 {
		s.Offset, s.Time = offset, at
	}
	s.Lines++
	s.Bytes += int64(size)
	g.lane.countShed(size)
}

// reportShed puts a line in the place of what was shed.
func (g *generation) reportShed(b *batch, o output) {
	s := &g.joiners[o].shed
	if s.Lines == 0 {
		return
	}
	text := b.keep(fmt.Appendf(nil, "binnacle: %d lines (%d bytes) shed here: the container exceeded its rate limit of %d bytes/s",
		s.Lines, s.Bytes, g.lane.t.opts.RateLimit))
	g.append(b, o, within(s.Offset), s.Time, text, storage.FlagShed, storage.LevelWarn)
	*s = shed{}
}

// joinWait is how long a stack trace waits for its next line at the end of a file.
const joinWait = 150 * time.Millisecond
