package remote

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const (
	cursorMagic    = "BNCLRWC\n"
	cursorSlotSize = 64
	cursorPrefix   = "cursor-"
)

// position is a place in the buffer.
type position struct {
	segment uint64
	offset  int64
}

// cursor is how far one endpoint has got. Its file has two slots that are
// written in turn, so that a torn write never loses the position: the slot with
// the higher serial number and a matching checksum counts.
type cursor struct {
	index int // of the endpoint
	path  string
	file  *os.File
	wake  chan struct{} // receives, at most one at a time, when there may be more to read

	// Guarded by buffer.mu.
	pos    position
	held   int64 // end of the frame at pos while the sender has it in memory, or 0
	serial uint64
}

// cursorName is the file name of the cursor of the endpoint with this URL,
// which is hashed because it may hold secrets.
func cursorName(url string) string {
	sum := sha256.Sum256([]byte(url))
	return cursorPrefix + hex.EncodeToString(sum[:8])
}

// openCursor reads the cursor in path or makes a new one at position 0.
func openCursor(dir, name string) (*cursor, error) {
	c := &cursor{path: filepath.Join(dir, name), wake: make(chan struct{}, 1)}
	var err error
	if c.file, err = os.OpenFile(c.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open cursor: %w", err)
	}
	b := make([]byte, 2*cursorSlotSize)
	n, _ := c.file.ReadAt(b, 0) // a short file is a cursor that was never written
	for slot := b[:n]; len(slot) >= cursorSlotSize; slot = slot[cursorSlotSize:] {
		c.parseSlot(slot[:cursorSlotSize])
	}
	return c, nil
}

func (c *cursor) parseSlot(b []byte) {
	le := binary.LittleEndian
	if string(b[:8]) != cursorMagic || b[8] != formatVersion ||
		le.Uint32(b[cursorSlotSize-4:]) != crc32.Checksum(b[:cursorSlotSize-4], crcTable) {
		return
	}
	if serial := le.Uint64(b[16:]); serial >= c.serial {
		c.serial = serial
		c.pos = position{segment: le.Uint64(b[24:]), offset: int64(le.Uint64(b[32:]))}
	}
}

// save writes the position to the file. Both the kernel and the slots keep it
// over a kill; after a power failure some entries may be sent again.
func (c *cursor) save() error {
	c.serial++
	b := make([]byte, cursorSlotSize)
	copy(b, cursorMagic)
	b[8] = formatVersion
	le := binary.LittleEndian
	le.PutUint64(b[16:], c.serial)
	le.PutUint64(b[24:], c.pos.segment)
	le.PutUint64(b[32:], uint64(c.pos.offset))
	le.PutUint32(b[cursorSlotSize-4:], crc32.Checksum(b[:cursorSlotSize-4], crcTable))
	if _, err := c.file.WriteAt(b, int64(c.serial%2)*cursorSlotSize); err != nil {
		return fmt.Errorf("save cursor: %w", err)
	}
	return nil
}

// notify wakes the sender if it waits.
func (c *cursor) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
