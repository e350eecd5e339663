package collector

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/value"

	"github.com/binnacle-obs/binnacle/storage"
)

// staleNaN marks the end of a series.
var staleNaN = math.Float64frombits(value.StaleNaN)

// cell is one live series and its last value. Without a series there is no value.
type cell struct {
	series *storage.Series
	v      float64
}

// batch collects the samples of one moment.
type batch struct {
	samples []storage.Sample
	t       int64
}

// put appends the value of a cell that has a series.
func (b *batch) put(c *cell, v float64) {
	c.v = v
	b.samples = append(b.samples, storage.Sample{Series: c.series, T: b.t, V: v})
}

// absent ends the series of a cell whose value does not exist any more.
func (b *batch) absent(c *cell) {
	if c.series == nil {
		return
	}
	b.samples = append(b.samples, storage.Sample{Series: c.series, T: b.t, V: staleNaN})
	*c = cell{}
}

// rowKey identifies an element of a vector within its container.
type rowKey struct {
	major, minor uint32
	name         string
}

// row is one element of a vector and its series.
type row struct {
	key    rowKey
	labels []string
	cells  []cell
	// seq is the vector's seq when the element was last seen.
	seq uint64
}

// vector holds the series of a variable number of elements of a container.
type vector struct {
	rows []row
	seq  uint64
}

// row finds an element; hint is the position where it was last time if
// the kernel lists elements in the same order.
func (v *vector) row(hint int, key rowKey) *row {
	if hint < len(v.rows) && v.rows[hint].key == key {
		return &v.rows[hint]
	}
	for i := range v.rows {
		if v.rows[i].key == key {
			return &v.rows[i]
		}
	}
	return nil
}

func (v *vector) add(key rowKey, labels []string, cells int) *row {
	v.rows = append(v.rows, row{key: key, labels: labels, cells: make([]cell, cells)})
	return &v.rows[len(v.rows)-1]
}

// expire ends the elements that the last filling did not see.
func (v *vector) expire(b *batch) {
	gone := false
	for i := range v.rows {
		if v.rows[i].seq == v.seq {
			continue
		}
		gone = true
		for j := range v.rows[i].cells {
			b.absent(&v.rows[i].cells[j])
		}
	}
	if gone {
		v.rows = slices.DeleteFunc(v.rows, func(r row) bool { return r.seq != v.seq })
	}
}

// clear ends all elements.
func (v *vector) clear(b *batch) {
	v.seq++
	v.expire(b)
}

// each calls f for every live series.
func (v *vector) each(f func(*cell)) {
	for i := range v.rows {
		for j := range v.rows[i].cells {
			if c := &v.rows[i].cells[j]; c.series != nil {
				f(c)
			}
		}
	}
}
