package cgroup

import (
	"bytes"
	"sync/atomic"
)

// maxRelearn bounds how often a keyTable writes down a new line order. A
// kernel has one order per file (the root cgroup of v1 may differ), so more
// changes mean that the order cannot be relied on and looking up is cheaper.
const maxRelearn = 8

// keyTable reads "flat keyed" files: lines of a key, a blank and a number.
// The order of the lines is the same at every reading on one kernel, so the
// table remembers which key stood on which line and compares instead of
// searching; when a line differs it is looked up. Safe for concurrent use.
type keyTable struct {
	index   map[string]int
	order   atomic.Pointer[[]lineKey]
	learned atomic.Int32
}

type lineKey struct {
	name  string
	field int // -1: not wanted
}

// newKeyTable makes a table whose keys' values go to the index of the key.
func newKeyTable(keys ...string) *keyTable {
	t := &keyTable{index: make(map[string]int, len(keys))}
	for i, k := range keys {
		t.index[k] = i
	}
	return t
}

// parse stores the value of each known key to dst, which is as long as the
// key list. Keys that do not occur leave dst alone; the first of equal keys
// is not privileged. False when the line of a known key has no number.
func (t *keyTable) parse(b []byte, dst []uint64) bool {
	var order []lineKey
	if p := t.order.Load(); p != nil {
		order = *p
	}
	whole, line, differs := b, 0, false
	for ; len(b) > 0; line++ {
		var field, skip int
		if line < len(order) && hasKey(b, order[line].name) {
			field, skip = order[line].field, len(order[line].name)+1
		} else {
			differs = true
			field, skip = t.lookup(b)
		}
		b = b[skip:]
		if field >= 0 {
			v, n := leadingUint(b)
			if n == 0 || n < len(b) && b[n] != '\n' {
				return false
			}
			dst[field] = v
			b = b[min(n+1, len(b)):]
			continue
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		b = b[i+1:]
	}
	if differs {
		t.learn(whole)
	}
	return true
}

func hasKey(b []byte, key string) bool {
	return len(b) > len(key) && b[len(key)] == ' ' && string(b[:len(key)]) == key
}

// lookup finds the field of the line at the start of b and where its value
// begins.
func (t *keyTable) lookup(b []byte) (field, skip int) {
	for i, c := range b {
		if c == '\n' {
			break
		}
		if c == ' ' {
			if f, ok := t.index[string(b[:i])]; ok {
				return f, i + 1
			}
			return -1, i + 1
		}
	}
	return -1, 0
}

// learn remembers the line order of a file that was read without error.
func (t *keyTable) learn(b []byte) {
	if t.learned.Load() >= maxRelearn {
		return
	}
	t.learned.Add(1)
	var order []lineKey
	for len(b) > 0 {
		var line []byte
		field, _ := t.lookup(b)
		line, b = nextLine(b)
		key, _, _ := bytes.Cut(line, []byte{' '})
		order = append(order, lineKey{name: string(key), field: field})
	}
	t.order.Store(&order)
}
