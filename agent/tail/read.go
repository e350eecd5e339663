package tail

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// read makes records of the next chunk of a file. It returns false when there
// is no complete line; g.atEnd tells whether there may be more.
func (w *worker) read(ctx context.Context, g *generation) (bool, error) {
	if g.skipTo > 0 {
		return w.skip(g)
	}
	n, err := g.fetch(w.buf, g.offset)
	if err != nil {
		g.atEnd = true
		w.t.readFailed(g, err)
		return false, nil
	}
	data := w.buf[:n]
	g.atEnd, g.fragment = n < len(w.buf), 0
	end := bytes.LastIndexByte(data, '\n') + 1
	if at := g.split - g.offset; at > 0 && at <= int64(n) {
		end, g.atEnd = int(at), false
	}
	if end == 0 {
		if !g.atEnd {
			return w.readLong(ctx, g)
		}
		g.fragment = int64(n)
		return false, nil
	}
	g.fragment = int64(n - end)
	g.lastData = time.Now()
	b := w.batch(data[:end])
	b.now = g.lastData.UnixNano()
	b.clean = clean(b.buf[:end]) && (g.format != formatJSON || !bytes.Contains(b.buf[:end], []byte(`\u0000`)))
	from := g.offset
	g.consume(b, b.buf[:end])
	if g.offset-from < int64(end) {
		g.atEnd = false
	}
	return true, g.deliver(ctx, b)
}

// batch returns a batch with data, which lies in w.buf: much of it changes
// hands, little is copied so that it holds no more memory than it needs.
func (w *worker) batch(data []byte) *batch {
	if len(data) <= batchSizes[len(batchSizes)-2] {
		b := w.t.batches.get(len(data))
		copy(b.buf, data)
		return b
	}
	b := w.t.batches.get(chunkBytes)
	b.buf, w.buf = w.buf, b.buf
	return b
}

// headerBytes is more than what precedes the text in a line of a container.
const headerBytes = 1 << 10

// readLong reads a line that is longer than a chunk. One that is longer than
// the limit becomes a record at once; its rest is skipped.
func (w *worker) readLong(ctx context.Context, g *generation) (bool, error) {
	b := w.t.batches.get(max(w.t.opts.MaxLineBytes+headerBytes, 2*chunkBytes))
	n, err := g.fetch(b.buf, g.offset)
	if err != nil {
		g.atEnd = true
		w.t.readFailed(g, err)
		return false, nil
	}
	end := bytes.IndexByte(b.buf[:n], '\n')
	if at := g.split - g.offset; at > 0 && at <= int64(n) {
		end = int(at) - 1
	}
	if end < 0 && n < len(b.buf) {
		g.atEnd, g.fragment = true, int64(n)
		return false, nil
	}
	g.lastData = time.Now()
	b.now = g.lastData.UnixNano()
	if end >= 0 {
		g.consume(b, b.buf[:end+1])
		return true, g.deliver(ctx, b)
	}
	// The position stays at the line's beginning until its end is found.
	g.take(b, b.buf[:n], storage.FlagTruncated)
	g.skipTo = g.offset + int64(n)
	return true, g.deliver(ctx, b)
}

// skip looks for the end of a line that is too long.
func (w *worker) skip(g *generation) (bool, error) {
	n, err := g.fetch(w.buf, g.skipTo)
	if err != nil {
		g.atEnd = true
		w.t.readFailed(g, err)
		return false, nil
	}
	g.atEnd = n < len(w.buf)
	if n > 0 {
		g.lastData = time.Now()
	}
	end := bytes.IndexByte(w.buf[:n], '\n')
	if end < 0 {
		g.skipTo += int64(n)
		w.t.metrics.truncatedBytes.Add(float64(n))
		return n > 0, nil
	}
	w.t.metrics.truncatedBytes.Add(float64(end))
	g.offset, g.skipTo, g.atEnd = g.skipTo+int64(end)+1, 0, false
	return true, nil
}

// maxCuts bounds the cuts of an output that are not acknowledged. With more a
// stack trace waits for its next line.
const maxCuts = 64

// requestCut plans to end what waits for more lines. It is done once the cut
// is on disk: whoever reads the file again after a crash makes the same cut.
func (w *worker) requestCut(g *generation, all bool) bool {
	k := w.t.keeper
	c := cut{Offset: g.offset, All: all}
	if all {
		c.Offset += g.fragment
	}
	k.mu.Lock()
	for o := range g.joiners {
		if len(g.pos.Cuts[o]) >= maxCuts {
			k.mu.Unlock()
			return false
		}
	}
	for o := range g.joiners {
		// The parts that it owes are in a record of the next generation.
		if all && !g.joiners[o].owes || g.joiners[o].waits(false) {
			g.pos.Cuts[o] = append(g.pos.Cuts[o], c)
		}
	}
	if all && g.fragment > 0 {
		g.pos.Split = c.Offset
	}
	k.mu.Unlock()
	g.plan, g.ticket = &c, k.save(g.lane)
	return true
}

// redeem makes a planned cut. It returns false while that is not on disk.
func (w *worker) redeem(ctx context.Context, g *generation) (bool, error) {
	switch w.t.keeper.ticketState(g.ticket) {
	case ticketOpen:
		return false, nil
	case ticketFailed:
		if g.plan == nil {
			g.ticket = w.t.keeper.save(g.lane)
			return false, nil
		}
		w.cancelCut(g)
		return true, nil
	}
	c := g.plan
	g.plan, g.ticket = nil, nil
	if c == nil {
		return true, nil
	}
	if c.All && g.fragment > 0 {
		g.split = c.Offset
		if _, err := w.read(ctx, g); err != nil {
			return true, err
		}
	}
	b := w.t.batches.get(0)
	b.now = time.Now().UnixNano()
	for o := range g.joiners {
		g.flush(b, output(o), c.All)
	}
	g.publish()
	return true, g.deliver(ctx, b)
}

// cancelCut takes a planned cut back: the next line may still come, or it is
// tried again.
func (w *worker) cancelCut(g *generation) {
	c := *g.plan
	w.t.keeper.change(func() {
		for o, cuts := range g.pos.Cuts {
			if n := len(cuts); n > 0 && cuts[n-1] == c {
				g.pos.Cuts[o] = cuts[:n-1]
			}
		}
		g.pos.Split = g.split
	})
	g.plan, g.ticket, g.lastData = nil, nil, time.Now()
}

// endLongLine takes the end of the file for the end of a line that is too long.
func (w *worker) endLongLine(g *generation) {
	if g.skipTo == 0 {
		return
	}
	g.offset, g.skipTo = g.skipTo, 0
	r := g.resumePoint()
	w.t.keeper.change(func() { g.settle(r, nil) })
}

// truncated handles that a file was emptied in place: what it had goes on in
// a copy, if there is one.
func (w *worker) truncated(g *generation) {
	l := g.lane
	w.t.metrics.truncations.Inc()
	w.t.keeper.change(func() { g.pos.File = fileKey{} })
	l.mu.Lock()
	l.seq++
	n := &generation{
		lane: l, seq: l.seq, restart: g.restart, path: g.path, name: g.name, key: g.key, deleted: g.deleted, present: true,
		src: g.takeSource(), epoch: time.Now().UnixNano(), found: time.Now(),
	}
	for _, key := range g.copies {
		delete(l.known, key)
	}
	g.armed.Store(false)
	l.gens = append(l.gens, n)
	l.sort()
	l.mu.Unlock()
	if info, err := n.stat(); err == nil {
		n.size.Store(info.size)
	}
	g.size.Store(max(g.intact, g.offset, g.skipTo)) // not that of what overwrote it
	g.lastData = time.Now()
	w.t.watcher.changed(l)
}

// missing handles a generation without a file: its copy is not found yet, or
// the watcher gave it up.
func (w *worker) missing(ctx context.Context, g *generation) (step, error) {
	if g.ticket != nil {
		g.fragment = 0
		if done, err := w.redeem(ctx, g); !done || err != nil {
			return step{}, err
		}
	}
	if wait := time.Since(g.lastData); wait < w.t.patience && !g.giveUp.Load() && g.offset < g.size.Load() {
		return step{due: g.lastData.Add(w.t.patience)}, nil
	}
	g.fragment = 0
	if g.unfinished(true) && (g.bequeaths() || w.requestCut(g, true)) {
		return step{}, nil
	}
	if !g.idle() {
		return step{due: time.Now().Add(retryInterval)}, nil
	}
	if lost := g.size.Load() - max(g.offset, g.skipTo); lost > 0 {
		reason := "truncated"
		if g.giveUp.Load() {
			reason = "deleted_bytes"
		}
		w.t.lost(g.file, reason, lost)
	}
	w.finish(g)
	return step{}, nil
}

// finish closes a generation of which everything is acknowledged.
func (w *worker) finish(g *generation) {
	l := g.lane
	l.mu.Lock()
	l.drop(g)
	l.remember(g)
	key, path := g.key, g.path
	if g.deleted && len(g.copies) > 0 {
		key = g.copies[len(g.copies)-1]
	}
	info := l.known[key]
	l.mu.Unlock()
	if g.pos != nil {
		w.t.keeper.change(func() {
			p := g.pos
			if p.File != (fileKey{}) || g.open() {
				p.File = key
			}
			p.claimed, p.Done, p.missing = false, true, 0
			p.Path, p.Size, p.Modified = path, info.size, info.mtime
		})
	}
	g.closeSource()
}

// readFailed reports that a file cannot be read. It is tried again.
func (t *Tailer) readFailed(g *generation, err error) {
	if errors.Is(err, errClosed) || errors.Is(err, errTruncated) {
		return // that is found out, and handled, at the next turn
	}
	t.metrics.readFailures.WithLabelValues("error").Inc()
	t.opts.Logger.Warn("log file cannot be read", "err", err, "file", g.file)
}
