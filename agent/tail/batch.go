package tail

import (
	"context"
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
	clean   bool // buf is valid UTF-8 without NUL
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
	b.g, b.done, b.records, b.arena = nil, false, b.records[:0], b.arena[:0]
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
	if len(b.records) == 0 {
		if n := len(g.inflight); n > 0 {
			g.inflight[n-1].after = after
		} else {
			g.settle(after)
		}
		k.mu.Unlock()
		b.put()
		return nil
	}
	b.g, b.after = g, after
	g.inflight = append(g.inflight, b)
	k.mu.Unlock()
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
	n := 0
	for n < len(g.inflight) && g.inflight[n].done {
		n++
	}
	free := make([]*batch, n)
	copy(free, g.inflight)
	g.inflight = g.inflight[:copy(g.inflight, g.inflight[n:])]
	if n > 0 {
		g.settle(free[n-1].after)
	}
	k.mu.Unlock()
	for _, b := range free {
		b.put()
	}
}

// settle makes r the place to resume from. keeper.mu is held.
func (g *generation) settle(r resume) {
	p := g.pos
	p.Resume, p.Size = r, g.size.Load()
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
