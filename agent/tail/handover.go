package tail

import (
	"slices"
	"time"
)

// A runtime that is told to go on in a new file while it has half of a line
// writes that half to the old one, as a part, and the rest to the new one. The
// parts become one record: its identity is the source and offset of the first,
// and the position of each file stays before its parts until the record is
// acknowledged.

// origin is where a record begins.
type origin struct {
	// offset is that of its first byte, in the file that has it.
	offset int64
	// next is where the file that is being read is resumed while the record is
	// not acknowledged. It differs from offset if its parts begin in another file.
	next int64
	// from are the earlier generations that have parts, oldest first.
	from []*generation
}

// within is the origin of a line that begins at offset of the file itself.
func within(offset int64) origin { return origin{offset: offset, next: offset} }

// debt is an output of a generation whose position waits for a record that
// ends in a later one.
type debt struct {
	g   *generation
	out output
}

// handoverWait is how long the first lines of a generation wait for the last
// ones of the generation before: the runtime writes both at about the same time.
const handoverWait = 100 * time.Millisecond

// awaits tells whether g must not be read yet because of the generation before
// it, and for how long at most.
func (g *generation) awaits() (time.Duration, bool) {
	before := g.before
	if before == nil || g.joiners[stdout].begun && g.joiners[stderr].begun {
		return 0, false
	}
	if wait := handoverWait - time.Since(g.found); wait > 0 {
		return wait, true
	}
	if before.open() && (before.ticket != nil || before.pos != nil && !before.atEnd) {
		return retryInterval, true
	}
	for o := range before.joiners {
		if j := &before.joiners[o]; j.long.active && j.trace.active {
			return joinWait, true // the trace is ended first
		}
	}
	return 0, false
}

// begin prepares for the first line of an output, which is at offset: parts
// that an earlier generation ends with are the line's beginning.
func (g *generation) begin(o output, offset int64) {
	j := &g.joiners[o]
	j.begun = true
	before := g.before
	for before != nil && !before.joiners[o].begun {
		before = before.before
	}
	if before == nil {
		return
	}
	from := &before.joiners[o]
	if !from.long.active || from.severed() || before.lacks() {
		return
	}
	j.long, from.long = from.long, pending{}
	from.owes, from.owed = true, j.long.origin.next
	j.long.origin.from = append(slices.Clip(j.long.origin.from), before)
	j.long.origin.next = offset
	g.lane.t.keeper.change(func() { before.debts[o] = before.offset })
}

// lacks tells whether g's end was never read: what follows in the next
// generation does not continue what g has.
func (g *generation) lacks() bool {
	return !g.open() && g.offset < g.size.Load()
}

// severed tells whether a cut at the end of the file has to be made: the parts
// were delivered without their rest.
func (j *joiner) severed() bool {
	return slices.ContainsFunc(j.cuts, func(c cut) bool { return c.All })
}

// continues tells whether g goes on where before ends: with the output of the
// same process.
func (g *generation) continues(before *generation) bool {
	return g.lane.id.filename == "" && g.restart == before.restart
}

// bequeaths tells whether parts of a line wait for the next generation, and
// nothing else does.
func (g *generation) bequeaths() bool {
	if g.heir == nil || g.fragment > 0 || g.unfinished(false) || g.lacks() {
		return false
	}
	for o := range g.joiners {
		if j := &g.joiners[o]; j.long.active && (g.heir.joiners[o].begun || j.severed()) {
			return false
		}
	}
	return true
}

// pay moves the positions of the generations that had parts of a record which
// is acknowledged. keeper.mu is held.
func (d debt) pay() {
	if end := d.g.debts[d.out]; end > 0 {
		next := &d.g.pos.Resume.Outputs[d.out]
		next.Next = max(next.Next, end)
		d.g.debts[d.out] = 0
		d.g.acked.Store(d.g.pos.Resume.acked())
	}
}

// canPay tells whether what lies before the beginnings of a batch's records, in
// earlier generations, is acknowledged. Else g is drained when it is: a crash
// between the two would find one position moved and the other not. keeper.mu
// is held.
func (g *generation) canPay(b *batch) bool {
	for _, d := range b.debts {
		if len(d.g.inflight) > 0 {
			if !slices.Contains(d.g.creditors, g) {
				d.g.creditors = append(d.g.creditors, g)
			}
			return false
		}
	}
	return true
}

// settleDebts notes what was paid.
func (g *generation) settleDebts() {
	for o := range g.joiners {
		if j := &g.joiners[o]; j.owes {
			k := g.lane.t.keeper
			k.mu.Lock()
			j.owes = g.debts[o] > 0
			k.mu.Unlock()
		}
	}
}
