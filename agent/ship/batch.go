package ship

import (
	"slices"

	"github.com/binnacle-obs/binnacle/storage"
)

// batch are records that are not settled, with the deliveries that they are of.
type batch struct {
	records []storage.Record
	owners  []*pending // of records, by index
	bytes   int
}

// take moves records of p to the batch until that has limit bytes.
func (b *batch) take(p *pending, limit int, edit func(*storage.Record)) {
	for p.taken < len(p.Records) && b.bytes < limit {
		b.records = append(b.records, p.Records[p.taken])
		b.owners = append(b.owners, p)
		p.taken++
		r := &b.records[len(b.records)-1]
		if edit != nil {
			edit(r)
		}
		b.bytes += sizeOf(r)
	}
}

// settle removes the first n records, apart from those at the indexes of keep,
// which are ascending and below n. It returns how many it removed and the
// length of their lines.
func (b *batch) settle(n int, keep []int) (records, lineBytes int) {
	to := 0
	for i := range n {
		if len(keep) > 0 && keep[0] == i {
			keep = keep[1:]
			b.records[to], b.owners[to] = b.records[i], b.owners[i]
			to++
			continue
		}
		b.owners[i].left--
		b.bytes -= sizeOf(&b.records[i])
		lineBytes += len(b.records[i].Line)
	}
	// slices.Delete clears what it moves from: lines are the reader's again.
	b.records = slices.Delete(b.records, to, n)
	b.owners = slices.Delete(b.owners, to, n)
	return n - to, lineBytes
}

func sizeOf(r *storage.Record) int { return len(r.Line) + recordBytes }
