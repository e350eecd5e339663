package collector

import (
	"fmt"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
	"github.com/binnacle-obs/binnacle/storage"
)

// reading is what the slots of one container are computed from.
type reading struct {
	*cgroup.Stats
	version cgroup.Version
	// createdMs is the creation of the cgroup in Unix milliseconds, cgroup.None if unknown.
	createdMs uint64
	// nowSec is the cycle's time in Unix seconds.
	nowSec uint64
}

// slot is one series in a fixed position: every container has at most one.
type slot struct {
	name string
	// div turns the kernel's integer into the unit of the family.
	div float64
	// labels are constant name, value pairs.
	labels []string
	// value returns cgroup.None when the value does not exist; it is nil in
	// sections that are filled by hand.
	value func(*reading) uint64
}

// elemSlot is a slot of a vector: one series per element, such as a device.
type elemSlot[T any] struct {
	name   string
	div    float64
	labels []string
	value  func(*T) uint64
}

// section is a collector over what one reading of a cgroup holds.
type section struct {
	name string
	// set is what must have been read for the values to mean anything; 0 = nothing.
	set   cgroup.Set
	slots []slot
	// first is the position of slots[0] in container.cells.
	first int
	// families are parallel to slots.
	families []*storage.Family
}

// resolve connects the slots to their families and gives them positions.
func (s *section) resolve(c catalog, first int) error {
	s.first = first
	s.families = make([]*storage.Family, len(s.slots))
	for i := range s.slots {
		f, ok := c[s.slots[i].name]
		if !ok {
			return fmt.Errorf("collector %s: family %q is not listed in All", s.name, s.slots[i].name)
		}
		s.families[i] = f
	}
	return nil
}

// fill appends the samples of the section. Sets in failed could not be read
// this time: their series stay as they are, because a value that could not be
// read is not a value that does not exist.
func (s *section) fill(ct *container, b *batch, r *reading, failed cgroup.Set) {
	if failed&s.set != 0 {
		return
	}
	known := r.Read&s.set == s.set
	for i := range s.slots {
		sl, c := &s.slots[i], &ct.cells[s.first+i]
		v := cgroup.None
		if known {
			v = sl.value(r)
		}
		if v == cgroup.None {
			b.absent(c)
			continue
		}
		if c.series == nil {
			c.series = ct.newSeries(s.families[i], sl.labels, nil)
		}
		b.put(c, float64(v)/sl.div)
	}
}

// put appends one value of a section whose slots are filled by hand.
func (s *section) put(ct *container, b *batch, i int, v float64) {
	c := &ct.cells[s.first+i]
	if c.series == nil {
		c.series = ct.newSeries(s.families[i], s.slots[i].labels, nil)
	}
	b.put(c, v)
}

// absent ends one series of a section whose slots are filled by hand.
func (s *section) absent(ct *container, b *batch, i int) { b.absent(&ct.cells[s.first+i]) }

// table makes the series of a vector: elements of type T, such as devices,
// times its slots.
type table[T any] struct {
	slots    []elemSlot[T]
	families []*storage.Family
	// key identifies an element, labels names it; labels is called once per element.
	key    func(*T) rowKey
	labels func(*T) []string
	// limit bounds the elements of one container.
	limit int
}

func (t *table[T]) resolve(c catalog) error {
	t.families = make([]*storage.Family, len(t.slots))
	for i := range t.slots {
		f, ok := c[t.slots[i].name]
		if !ok {
			return fmt.Errorf("family %q is not listed in All", t.slots[i].name)
		}
		t.families[i] = f
	}
	return nil
}

// fill appends the samples of all elements and ends the series of elements
// that are gone. It returns how many elements were beyond the limit.
func (t *table[T]) fill(ct *container, b *batch, vec *vector, elems []T) (dropped int) {
	vec.seq++
	for i := range elems {
		e := &elems[i]
		row := vec.row(i, t.key(e))
		if row == nil {
			if len(vec.rows) >= t.limit {
				dropped++
				continue
			}
			row = vec.add(t.key(e), t.labels(e), len(t.slots))
		}
		row.seq = vec.seq
		for j := range t.slots {
			c, v := &row.cells[j], t.slots[j].value(e)
			if v == cgroup.None {
				b.absent(c)
				continue
			}
			if c.series == nil {
				c.series = ct.newSeries(t.families[j], t.slots[j].labels, row.labels)
			}
			b.put(c, float64(v)/t.slots[j].div)
		}
	}
	vec.expire(b)
	return dropped
}
