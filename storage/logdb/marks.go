package logdb

import (
	"cmp"
	"maps"
	"slices"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxMarks bounds the sources that are remembered: some 100 bytes each. A
// source that is forgotten was idle for longer than all the others.
const maxMarks = 1 << 18

// mark is the last record of a source that is stored.
type mark struct {
	offset int64
	// time is that of the newest record.
	time int64
	// headSeq and headRef are where the source is in the head part of that
	// sequence number.
	headSeq uint64
	headRef uint32
	// used is the number of the chunk that last touched the mark.
	used uint64
}

// marks remember of each source its last record. The writer alone uses them.
type marks struct {
	bySource map[storage.SourceID]*mark
	max      int
	chunk    uint64
	// forgotten counts marks that were dropped for want of room.
	forgotten int
}

func newMarks() *marks {
	return &marks{bySource: make(map[storage.SourceID]*mark), max: maxMarks}
}

// raise notes that records of a source up to offset are stored.
func (m *marks) raise(s sourceMark) {
	got := m.bySource[s.source]
	if got == nil {
		m.makeRoom()
		m.bySource[s.source] = &mark{offset: s.offset, time: s.time}
		return
	}
	got.offset, got.time = max(got.offset, s.offset), max(got.time, s.time)
}

// makeRoom forgets an eighth of the marks when there are too many: those that
// were idle longest.
func (m *marks) makeRoom() {
	if len(m.bySource) < m.max {
		return
	}
	idle := slices.SortedFunc(maps.Keys(m.bySource), func(a, b storage.SourceID) int {
		x, y := m.bySource[a], m.bySource[b]
		return cmp.Or(cmp.Compare(x.used, y.used), cmp.Compare(x.time, y.time))
	})
	for _, s := range idle[:max(1, len(idle)/8)] {
		delete(m.bySource, s)
		m.forgotten++
	}
}

// expire forgets sources whose records are all older than cutoff: such records
// are refused anyway.
func (m *marks) expire(cutoff int64) {
	maps.DeleteFunc(m.bySource, func(_ storage.SourceID, k *mark) bool { return k.time < cutoff })
}
