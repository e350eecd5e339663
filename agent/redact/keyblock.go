package redact

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxKeyRecords ends a block that has no end; a key of 16,384 bits has 200
	// lines.
	maxKeyRecords = 512
	// maxOpen bounds the streams that are in a block at the same time.
	maxOpen = 1024
	// openTime is how long a block that gets no more records is remembered.
	openTime = 5 * time.Minute
	// sweepEvery is after how many looks those are looked for.
	sweepEvery = 4096
	// seenSlots is how many sources are known to be under way; those that share
	// a slot push each other out.
	seenSlots = 1 << 12
	// minRun is the length from which characters of base64 in a row are taken
	// for a part of a key, inside a block.
	minRun = 32
)

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
)

// keyBlocks takes out private keys in PEM form, which are one record or one
// record per line. The lines that mark beginning and end stay.
//
// A reader that begins in the middle of a stream may begin in the middle of a
// key. Its first records are taken for a part of one if they look so: what is
// read again after a restart is redacted again.
type keyBlocks struct {
	rule rule
	put  func([]byte) []byte
	// opened is the length of open, to be read without the mutex.
	opened atomic.Int32
	seen   [seenSlots]atomic.Uint64

	mu    sync.Mutex
	open  map[storage.SourceID]*keyBlock
	looks int
}

// keyBlock is the state of a stream inside a block.
type keyBlock struct {
	records int
	since   time.Time
	// guessed tells that its beginning was not seen; the first line that is no
	// part of a key ends it.
	guessed bool
}

func newKeyBlocks(put func([]byte) []byte) *keyBlocks {
	return &keyBlocks{rule: rule{name: keyRule}, put: put, open: map[storage.SourceID]*keyBlock{}}
}

// edit returns the line without the keys, or the parts of one, that it holds.
// marked tells that it may hold a mark. It costs one compare of an atomic number
// for nearly all records.
func (k *keyBlocks) edit(r *storage.Record, marked bool) (line []byte, changed bool) {
	suspicious := k.first(r.Source) && r.Offset > 0 && isKeyLine(r.Line)
	if !marked && !suspicious && k.opened.Load() == 0 {
		return r.Line, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sweepLocked()
	block := k.open[r.Source]
	switch {
	case block == nil && suspicious:
		block = k.enterLocked(r.Source, true)
	case block == nil && !marked:
		return r.Line, false
	}
	if line, changed = k.editLocked(r, block); changed {
		k.rule.count.Add(1)
	}
	return line, changed
}

// first tells whether a source was not seen before, or long ago.
func (k *keyBlocks) first(id storage.SourceID) bool {
	mixed := binary.LittleEndian.Uint64(id[:8]) ^ binary.LittleEndian.Uint64(id[8:])
	slot := &k.seen[mixed%seenSlots]
	if slot.Load() == mixed|1<<63 { // never 0, which is an empty slot
		return false
	}
	slot.Store(mixed | 1<<63)
	return true
}

// editLocked goes through a record whose stream is in a block, or in none if
// that is nil.
func (k *keyBlocks) editLocked(r *storage.Record, block *keyBlock) (out []byte, changed bool) {
	rest, begun := r.Line, false
	for {
		if block == nil {
			mark := keyBegin.FindIndex(rest)
			if mark == nil {
				return append(out, rest...), changed
			}
			out, rest = append(out, rest[:mark[1]]...), rest[mark[1]:]
			block, begun = k.enterLocked(r.Source, false), true
		}
		content := rest
		end := keyEnd.FindIndex(rest)
		if end != nil {
			content = rest[:end[0]]
		}
		// What is between two marks is a key, however it is written.
		text, taken := k.takeOut(content, begun && end != nil)
		out, changed = append(out, text...), changed || taken
		if end == nil {
			block.records++
			if block.records >= maxKeyRecords || block.guessed && !taken {
				k.leaveLocked(r.Source)
			}
			return out, changed
		}
		out, rest = append(out, rest[end[0]:end[1]]...), rest[end[1]:]
		k.leaveLocked(r.Source)
		block = nil
	}
}

// takeOut replaces what may be a part of a key: all of a text, if that is known
// or nothing but base64, else the long runs of base64.
func (k *keyBlocks) takeOut(text []byte, all bool) (out []byte, taken bool) {
	inner := bytes.TrimSpace(text)
	if len(inner) == 0 || string(inner) == Redacted {
		return text, false
	}
	if all || isBase64(inner) {
		before, after, _ := bytes.Cut(text, inner)
		out = append(out, before...)
		out = append(out, k.put([]byte(Redacted))...)
		return append(out, after...), true
	}
	begin := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && base64Byte(text[i]) {
			continue
		}
		if run := text[begin:i]; len(run) >= minRun {
			out, taken = append(out, k.put([]byte(Redacted))...), true
		} else {
			out = append(out, run...)
		}
		if i < len(text) {
			out = append(out, text[i])
		}
		begin = i + 1
	}
	return out, taken
}

// isKeyLine tells whether a line looks like one inside a key: base64 of the
// length that lines of PEM have. Checksums in hexadecimal do not.
func isKeyLine(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) >= 40 && len(line) <= 76 && isBase64(line) && !isHex(line)
}

func isBase64(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return r > 'z' || !base64Byte(byte(r)) })
}

func isHex(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	})
}

func base64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
}

func (k *keyBlocks) enterLocked(id storage.SourceID, guessed bool) *keyBlock {
	if len(k.open) >= maxOpen {
		for other := range k.open {
			delete(k.open, other)
			break
		}
	}
	block := &keyBlock{since: time.Now(), guessed: guessed}
	k.open[id] = block
	k.opened.Store(int32(len(k.open)))
	return block
}

func (k *keyBlocks) leaveLocked(id storage.SourceID) {
	delete(k.open, id)
	k.opened.Store(int32(len(k.open)))
}

// sweepLocked forgets blocks that nothing came of.
func (k *keyBlocks) sweepLocked() {
	if k.looks++; k.looks%sweepEvery != 0 {
		return
	}
	for id, block := range k.open {
		if time.Since(block.since) > openTime {
			k.leaveLocked(id)
		}
	}
}
