package tail

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// fingerprint tells the generations of a lane apart.
type fingerprint [16]byte

// MarshalText writes hexadecimal digits.
func (f fingerprint) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, f[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (f *fingerprint) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(f) {
		return fmt.Errorf("fingerprint of %d digits, want %d", len(b), 2*len(f))
	}
	_, err := hex.Decode(f[:], b)
	return err
}

// cut is a place where records were ended although their next line had not
// come: no record spans it, however often the file is read.
type cut struct {
	Offset int64 `json:"offset"`
	// All ends parts of a long line too, not only a stack trace: the
	// generation was over.
	All bool `json:"all,omitempty"`
}

// outputState is where to go on with one output.
type outputState struct {
	// Next is the offset of the first line not yet in an acknowledged record.
	Next int64 `json:"next"`
	Shed shed  `json:"shed,omitzero"`
}

// resume is everything that a generation's next records depend on besides its
// content.
type resume struct {
	Outputs [outputs]outputState `json:"outputs"`
	Bucket  bucketState          `json:"bucket,omitzero"`
}

// acked is the offset before which everything is acknowledged.
func (r *resume) acked() int64 {
	return min(r.Outputs[stdout].Next, r.Outputs[stderr].Next, r.Outputs[unnamed].Next)
}

// position is the entry of one generation in the positions file.
type position struct {
	Lane        string      `json:"lane"`
	Fingerprint fingerprint `json:"fingerprint"`
	// Path, File, Size and Modified describe the file when it was last seen.
	Path     string  `json:"path"`
	File     fileKey `json:"file"`
	Size     int64   `json:"size,omitempty"`
	Modified int64   `json:"modified,omitempty"`
	// PrefixLen bytes at the beginning have the hash Prefix: how a plain file
	// is known again when it was copied or compressed.
	PrefixLen int    `json:"prefix_len,omitempty"`
	Prefix    uint64 `json:"prefix,omitempty"`
	Resume    resume `json:"resume"`
	// Cuts are those not yet acknowledged, ascending, by output.
	Cuts [outputs][]cut `json:"cuts,omitzero"`
	// Split is where a line without line feed was ended, 0 for nowhere.
	Split int64 `json:"split,omitempty"`
	// Done tells that everything in the file is acknowledged.
	Done bool `json:"done,omitempty"`

	missing int // rescans since the file was last seen
	claimed bool
}

// positionsHeader is the first line of a positions file. The last line is the
// CRC-32C of all before it.
const positionsHeader = "binnacle positions 1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errPositions is wrapped by all errors about the content of a positions file.
var errPositions = errors.New("damaged positions file")

// encodePositions writes a positions file: docs/formats/positions.md.
func encodePositions(w *bytes.Buffer, entries []*position) error {
	w.WriteString(positionsHeader + "\n")
	enc := json.NewEncoder(w)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	w.WriteString(checksumLine(w.Bytes()))
	return nil
}

func checksumLine(body []byte) string {
	return fmt.Sprintf("crc32c %08x\n", crc32.Checksum(body, castagnoli))
}

// decodePositions reads a whole positions file or nothing of it.
func decodePositions(b []byte) ([]*position, error) {
	body, err := checkPositions(b)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(bytes.NewReader(body))
	if header, err := r.ReadString('\n'); err != nil || header != positionsHeader+"\n" {
		return nil, fmt.Errorf("%w: the first line is %.40q, want %q", errPositions, header, positionsHeader)
	}
	var entries []*position
	dec := json.NewDecoder(r)
	for {
		var e position
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errPositions, len(entries), err)
		}
		if err := e.validate(); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", errPositions, len(entries), err)
		}
		entries = append(entries, &e)
	}
}

// checkPositions verifies the checksum and returns what is before it.
func checkPositions(b []byte) ([]byte, error) {
	i := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte{'\n'}), '\n') + 1
	if want := checksumLine(b[:i]); want != string(b[i:]) {
		return nil, fmt.Errorf("%w: the last line is %.40q, want %q", errPositions, b[i:], want)
	}
	return b[:i], nil
}

// validate refuses what no version of binnacle has written.
func (e *position) validate() error {
	if e.Lane == "" {
		return errors.New("no lane")
	}
	for o := range e.Resume.Outputs {
		if e.Resume.Outputs[o].Next < 0 {
			return fmt.Errorf("offset %d of %s", e.Resume.Outputs[o].Next, e.Path)
		}
		if !slices.IsSortedFunc(e.Cuts[o], func(a, b cut) int { return int(min(1, max(-1, a.Offset-b.Offset))) }) {
			return fmt.Errorf("cuts of %s are out of order", e.Path)
		}
	}
	if e.PrefixLen < 0 || e.PrefixLen > headBytes || e.Split < 0 {
		return fmt.Errorf("prefix %d, split %d of %s", e.PrefixLen, e.Split, e.Path)
	}
	return nil
}
