package remote

import (
	"encoding/binary"
	"strings"
)

// tagSymbols is the key of field 4, length-delimited, of a version 2.0 request.
const tagSymbols = 4<<3 | 2

// symbols numbers strings for as long as they are in use, and gives them
// references that count from 0 again in every request. Looking up the
// reference of a known string is one slice access, not a map access: a series
// of ten labels needs twenty of them in every request.
type symbols struct {
	ids  map[string]uint32
	list []symbol
	size int // bytes of all texts

	request uint32 // serial number of the request under construction
	used    uint32 // references given out in it
	encoded []byte // its symbols field, encoded
}

type symbol struct {
	text    string
	ref     uint32 // valid while request is the table's
	request uint32
}

// reset forgets all strings.
func (s *symbols) reset() {
	s.ids = map[string]uint32{"": 0}
	s.list = []symbol{{}}
	s.size = 0
	s.begin()
}

// begin starts a request. Reference 0 is the empty string, as the
// specification demands.
func (s *symbols) begin() {
	s.request++
	s.used = 1
	s.encoded = append(s.encoded[:0], tagSymbols, 0)
	s.list[0].request, s.list[0].ref = s.request, 0
}

// id returns the number of a string, which it keeps a copy of: the string
// itself is usually part of the much larger labels of one series.
func (s *symbols) id(text string) uint32 {
	if id, ok := s.ids[text]; ok {
		return id
	}
	text = strings.Clone(text)
	id := uint32(len(s.list))
	s.list = append(s.list, symbol{text: text})
	s.ids[text] = id
	s.size += len(text)
	return id
}

// ref returns the reference of string number id in this request, to whose
// symbols it is added at first use.
func (s *symbols) ref(id uint32) uint32 {
	sym := &s.list[id]
	if sym.request != s.request {
		sym.request, sym.ref = s.request, s.once(sym.text)
	}
	return sym.ref
}

// once adds a string to this request's symbols without remembering it: for
// values such as trace ids that do not come again.
func (s *symbols) once(text string) uint32 {
	s.encoded = append(s.encoded, tagSymbols)
	s.encoded = binary.AppendUvarint(s.encoded, uint64(len(text)))
	s.encoded = append(s.encoded, text...)
	ref := s.used
	s.used++
	return ref
}
