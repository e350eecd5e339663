package tail

import (
	"context"
	"slices"
	"sync"
	"unsafe"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// chunkBytes is read at a time, and bounds the text of a delivery unless a
	// single line is longer.
	chunkBytes = 256 << 10
	// maxRecords bounds the records of a delivery: their memory may exceed
	// that of their text.
	maxRecords = 2048
	recordSize = int(unsafe.Sizeof(storage.Record{}))
)

// batchSizes are the buffer sizes that are used again. A line of an idle
// container must not hold a whole chunk while it is in flight.
var batchSizes = [...]int{4 << 10, 16 << 10, 64 << 10, chunkBytes}

// batch is a delivery and the memory that its records point to.
type batch struct {
	g       *generation
	buf     []byte // file content; records point into it where they can
	pool    *sync.Pool
	arena   []byte // text that is not in the file as it is
	records []storage.Record
	debts   []debt // of records that began in earlier generations
	clean   bool   // buf is valid UTF-8 without NUL
	now     int64

	// Guarded by keeper.mu once the batch is in flight.
	after resume // what to resume from when it is acknowledged
	done  bool
}

// batches makes batches and takes them back.
type batches struct {
	pools [len(batchSizes)]sync.Pool
}

// get returns a batch with a buffer of at least size bytes.
func (p *batches) get(size int) *batch {
	for i, s := range batchSizes {
		if size > s {
			continue
		}
		if b, ok := p.pools[i].Get().(*batch); ok {
			return b
		}
		return &batch{buf: make([]byte, s), pool: &p.pools[i]}
	}
	return &batch{buf: make([]byte, size)}
}

// put takes a batch back.
func (b *batch) put() {
	if b.pool == nil {
		return
	}
	clear(b.debts)
	b.g, b.done, b.records, b.arena, b.debts = nil, false, b.records[:0], b.arena[:0], b.debts[:0]
	// Most batches of a size need about this much; one that needed more must
	// not keep it.
	if cap(b.records) > 64+len(b.buf)/32 {
		b.records = nil
	}
	if cap(b.arena) > 2*len(b.buf) {
		b.arena = nil
	}
	b.pool.Put(b)
}

func (b *batch) memory() int {
	return cap(b.buf) + cap(b.arena) + cap(b.records)*recordSize
}

// holds tells whether text lies in buf.
func (b *batch) holds(text []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(text))) - uintptr(unsafe.Pointer(unsafe.SliceData(b.buf)))
	return at < uintptr(len(b.buf))
}

// keep copies text into the arena.
func (b *batch) keep(text []byte) []byte {
	n := len(b.arena)
	b.arena = append(b.arena, text...)
	return b.arena[n:len(b.arena):len(b.arena)]
}

// keepClean copies text into the arena with U+FFFD for what is not text.
func (b *batch) keepClean(text []byte) []byte {
	n := len(b.arena)
	b.arena = appendClean(b.arena, text)
	return b.arena[n:len(b.arena):len(b.arena)]
}

// deliver hands the records of a batch over and waits while there is no room.
// A batch without records only moves the position.
func (g *generation) deliver(ctx context.Context, b *batch) error {
	k := g.lane.t.keeper
	after := g.resumePoint()
	k.mu.Lock()
	if n := len(g.inflight); n > 0 && len(b.records) == 0 {
		last := g.inflight[n-1]
		last.after, last.debts = after, append(last.debts, b.debts...)
		k.mu.Unlock()
		b.put()
		return nil
	}
	b.g, b.after = g, after
	g.inflight = append(g.inflight, b)
	k.mu.Unlock()
	if len(b.records) == 0 {
		b.acknowledge()
		return nil
	}
	g.lane.t.metrics.deliveries.Inc()
	return g.lane.t.opts.Push(ctx, storage.Delivery{
		Records: b.records, Bytes: b.memory(), Lane: g.lane.number, Done: b.acknowledge,
	})
}

// acknowledge is the Done of a delivery. The position moves over batches that
// are acknowledged without a gap.
func (b *batch) acknowledge() {
	g := b.g
	k := g.lane.t.keeper
	k.mu.Lock()
	b.done = true
	free := g.drain(nil)
	k.mu.Unlock()
	for _, b := range free {
		b.put()
	}
}

// drain settles the batches that are acknowledged without a gap, and adds them
// to free. keeper.mu is held.
func (g *generation) drain(free []*batch) []*batch {
	n := 0
	for n < len(g.inflight) && g.inflight[n].done && g.canPay(g.inflight[n]) {
		b := g.inflight[n]
		g.settle(b.after, b.debts)
		free = append(free, b)
		n++
	}
	g.inflight = slices.Delete(g.inflight, 0, n)
	if len(g.inflight) > 0 {
		return free
	}
	creditors := g.creditors
	g.creditors = nil
	for _, c := range creditors {
		free = c.drain(free)
	}
	return free
}

// settle makes r the place to resume from, and moves the positions of others
// along. keeper.mu is held.
func (g *generation) settle(r resume, debts []debt) {
	p := g.pos
	for o := range r.Outputs {
		// Whoever paid a debt may have moved it further.
		if before := p.Resume.Outputs[o]; before.Next > r.Outputs[o].Next {
			r.Outputs[o] = before
		}
	}
	p.Resume, p.Size = r, g.size.Load()
	for _, d := range debts {
		d.pay()
	}
	for o := range p.Cuts {
		for len(p.Cuts[o]) > 0 && p.Cuts[o][0].Offset <= r.Outputs[o].Next {
			p.Cuts[o] = p.Cuts[o][1:]
		}
	}
	if p.Split != 0 && p.Split <= r.acked() {
		p.Split = 0
	}
	g.acked.Store(r.acked())
	g.lane.t.keeper.dirty = true
}
