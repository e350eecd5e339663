package elastic

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxForms bounds the streams whose constant text is kept; with more of them
// it is made again.
const maxForms = 20_000

// form is the text that the documents of a stream have in common:
//
//	{"create":{"_id":"ID"}}
//	HEAD SOURCE","size":N} LOG OFFSET},"@timestamp":"TIME","message":"LINE"}
type form struct {
	head []byte // to the opening quote of binnacle.source
	log  []byte // to the colon of log.offset
}

// forms keeps the forms of streams.
type forms struct {
	mu   sync.RWMutex
	made map[*storage.Stream]*form
}

func (f *forms) of(s *storage.Stream) *form {
	f.mu.RLock()
	found := f.made[s]
	f.mu.RUnlock()
	if found != nil {
		return found
	}
	found = newForm(s.Labels)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == nil || len(f.made) >= maxForms {
		f.made = make(map[*storage.Stream]*form)
	}
	f.made[s] = found
	return found
}

func newForm(l labels.Labels) *form {
	w := &objectWriter{}
	w.open("")
	w.open("kubernetes")
	w.field("namespace", l.Get(storage.LabelNamespace))
	w.open("pod")
	w.field("name", l.Get(storage.LabelPod))
	w.field("uid", l.Get(storage.LabelUID))
	w.close()
	w.named("container", l.Get(storage.LabelContainer))
	w.named("node", l.Get(storage.LabelNode))
	w.close()
	w.open("orchestrator")
	w.named("cluster", l.Get(storage.LabelCluster))
	w.close()
	w.open("container")
	w.field("id", l.Get(labelContainerID))
	w.close()
	w.field("stream", l.Get(storage.LabelStream))
	w.open("labels")
	l.Range(func(l labels.Label) {
		if _, ok := labelFields[l.Name]; !ok {
			w.field(l.Name, l.Value)
		}
	})
	w.close()
	w.open("binnacle")
	w.field("stream", streamHash(l))
	f := &form{head: append(w.text(), `,"source":"`...)}

	f.log = append(f.log, `},"log":{`...)
	if path := l.Get(storage.LabelFilename); path != "" {
		f.log = append(f.log, `"file":{"path":"`...)
		f.log = appendEscaped(f.log, []byte(path))
		f.log = append(f.log, `"},`...)
	}
	f.log = append(f.log, `"offset":`...)
	return f
}

// objectWriter writes nested objects of strings without those that are empty.
type objectWriter struct {
	buf   []byte
	marks []int // where each open object begins
}

func (w *objectWriter) key(name string) {
	if n := len(w.buf); n > 0 && w.buf[n-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, '"')
	w.buf = appendEscaped(w.buf, []byte(name))
	w.buf = append(w.buf, `":`...)
}

// open begins an object; only the outermost has no name.
func (w *objectWriter) open(name string) {
	w.marks = append(w.marks, len(w.buf))
	if name != "" {
		w.key(name)
	}
	w.buf = append(w.buf, '{')
}

func (w *objectWriter) field(name, value string) {
	if value == "" {
		return
	}
	w.key(name)
	w.buf = append(w.buf, '"')
	w.buf = appendEscaped(w.buf, []byte(value))
	w.buf = append(w.buf, '"')
}

// named is an object with a name alone.
func (w *objectWriter) named(object, name string) {
	w.open(object)
	w.field("name", name)
	w.close()
}

// close ends the innermost object, or takes it back when it is empty.
func (w *objectWriter) close() {
	mark := w.marks[len(w.marks)-1]
	w.marks = w.marks[:len(w.marks)-1]
	if w.buf[len(w.buf)-1] == '{' {
		w.buf = w.buf[:mark]
		return
	}
	w.buf = append(w.buf, '}')
}

func (w *objectWriter) text() []byte { return w.buf }

// streamHash is 16 hexadecimal digits.
func streamHash(l labels.Labels) string {
	h := xxhash.New()
	hashLabels(l, func(s string) { _, _ = h.WriteString(s) })
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h.Sum64()))
}

// contentHash identifies a record without a source by what it says.
func contentHash(r *storage.Record) [16]byte {
	h := sha256.New()
	add := func(s string) { h.Write([]byte(s)) }
	hashLabels(r.Stream.Labels, add)
	h.Write(binary.BigEndian.AppendUint64([]byte{0xff}, uint64(r.Time)))
	hashLabels(r.Metadata, add)
	h.Write([]byte{0xff})
	h.Write(r.Line)
	return [16]byte(h.Sum(nil))
}

// encoder writes documents. It is for one goroutine at a time.
type encoder struct {
	forms *forms
	// The form of the last stream, and the text of the last second.
	stream *storage.Stream
	form   *form
	second int64
	clock  []byte
}

// append writes the action and the document of r.
func (e *encoder) append(dst []byte, r *storage.Record) []byte {
	if r.Stream != e.stream {
		e.stream, e.form = r.Stream, e.forms.of(r.Stream)
	}
	var space [64]byte
	source := appendSource(space[:0], r)
	dst = append(dst, `{"create":{"_id":"`...)
	dst = append(dst, source...)
	if !r.Source.IsZero() {
		dst = appendOffset(dst, r.Offset)
	}
	dst = append(dst, "\"}}\n"...)
	dst = e.appendDocument(dst, source, r)
	return append(dst, '\n')
}

func (e *encoder) appendDocument(dst, source []byte, r *storage.Record) []byte {
	dst = append(dst, e.form.head...)
	dst = append(dst, source...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendInt(dst, int64(len(r.Line)), 10)
	if r.Flags != 0 {
		dst = append(dst, `,"flags":`...)
		dst = strconv.AppendInt(dst, int64(r.Flags), 10)
	}
	if !r.Metadata.IsEmpty() {
		dst = appendMetadata(dst, r.Metadata)
	}
	dst = append(dst, e.form.log...)
	dst = strconv.AppendInt(dst, r.Offset, 10)
	if r.Level != storage.LevelUnknown {
		dst = append(dst, `,"level":"`...)
		dst = append(dst, r.Level.String()...)
		dst = append(dst, '"')
	}
	dst = append(dst, `},"@timestamp":"`...)
	dst = e.appendTime(dst, r.Time)
	dst = append(dst, `","message":"`...)
	dst = appendEscaped(dst, r.Line)
	return append(dst, `"}`...)
}

// appendSource writes binnacle.source.
func appendSource(dst []byte, r *storage.Record) []byte {
	if r.Source.IsZero() {
		hash := contentHash(r)
		return hex.AppendEncode(append(dst, '-'), hash[:])
	}
	return hex.AppendEncode(dst, r.Source[:])
}

func appendOffset(dst []byte, offset int64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(offset))
	return hex.AppendEncode(dst, b[:])
}

// documentID is the _id of a record: RecordID.String(), or what binnacle.source
// says of a record without a source.
func documentID(r *storage.Record) string {
	if r.Source.IsZero() {
		return string(appendSource(nil, r))
	}
	return r.ID().String()
}

func appendMetadata(dst []byte, l labels.Labels) []byte {
	dst = append(dst, `,"metadata":{`...)
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		dst = appendEscaped(dst, []byte(l.Name))
		dst = append(dst, `":"`...)
		dst = appendEscaped(dst, []byte(l.Value))
		dst = append(dst, '"')
	})
	return append(dst, '}')
}

const timeLayout = "2006-01-02T15:04:05"

// appendTime writes a time with nanoseconds; the seconds of a run of records
// are mostly the same.
func (e *encoder) appendTime(dst []byte, ns int64) []byte {
	second := ns / 1e9
	frac := ns % 1e9
	if frac < 0 {
		second, frac = second-1, frac+1e9
	}
	if second != e.second || len(e.clock) == 0 {
		e.second = second
		e.clock = time.Unix(second, 0).UTC().AppendFormat(e.clock[:0], timeLayout)
	}
	dst = append(dst, e.clock...)
	digits := [10]byte{'.'}
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + frac%10)
		frac /= 10
	}
	dst = append(dst, digits[:]...)
	return append(dst, 'Z')
}

const hexDigits = "0123456789abcdef"

// plain has the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// appendEscaped writes text as the inside of a JSON string. Invalid UTF-8, for
// which JSON has no form, becomes replacement characters.
func appendEscaped(dst, text []byte) []byte {
	start, i := 0, 0
	for i < len(text) {
		for i+8 <= len(text) && allPlain(binary.LittleEndian.Uint64(text[i:])) {
			i += 8
		}
		if i == len(text) {
			break
		}
		c := text[i]
		if c < utf8.RuneSelf {
			if !plain[c] {
				dst = append(dst, text[start:i]...)
				dst = appendEscape(dst, c)
				start = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, text[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	return append(dst, text[start:]...)
}

// allPlain tells whether none of 8 bytes is below 0x20, above 0x7f, a quote or
// a backslash. Each term has the high bit of the bytes that are; a borrow can
// only add a bit, which costs a look at single bytes.
func allPlain(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^(ones*'"'), w^(ones*'\\')
	return (w|(w-ones*0x20)|(quote-ones)|(backslash-ones))&high == 0
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}
