package loki

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// pushBatch gathers the records of a push request, and what is refused of it.
type pushBatch struct {
	h       *Handler
	newest  int64
	records []storage.Record
	// broken tells that the body had invalid UTF-8, which its decoder has
	// replaced.
	broken   bool
	replaced int

	refused map[string]int // by reason
	first   string         // text of the first refusal
}

func (h *Handler) newPushBatch() *pushBatch {
	return &pushBatch{h: h, newest: h.now().Add(h.opts.MaxFuture).UnixNano(), refused: make(map[string]int)}
}

// errTooMany ends the decoding of a body with too many entries.
type tooManyError struct{ limit int }

func (e *tooManyError) Error() string {
	return fmt.Sprintf("the request has more than %d entries; send fewer at a time", e.limit)
}

// refuse counts n entries that are refused, the text being Loki's where
// clients look at it.
func (b *pushBatch) refuse(reason string, n int, format string, args ...any) {
	b.refused[reason] += n
	if b.first == "" {
		b.first = fmt.Sprintf(format, args...)
	}
}

// stream returns the stream of labels, or nil when its n entries are refused.
func (b *pushBatch) stream(l labels.Labels, n int) *storage.Stream {
	o := &b.h.opts
	l = l.WithoutEmpty()
	switch {
	case l.IsEmpty():
		b.refuse(reasonLabels, n, "error at least one label pair is required per stream")
		return nil
	case l.Len() > o.MaxLabels:
		b.refuse(reasonLabels, n, "entry for stream '%s' has %d label names; limit %d", shorten(l), l.Len(), o.MaxLabels)
		return nil
	}
	if name, twice := l.HasDuplicateLabelNames(); twice {
		b.refuse(reasonLabels, n, "stream '%s' has duplicate label name: '%s'", shorten(l), name)
		return nil
	}
	if fault := b.checkLabels(l); fault != "" {
		b.refuse(reasonLabels, n, "stream '%s' has %s", shorten(l), fault)
		return nil
	}
	return b.h.streams.get(l)
}

// checkLabels says what is wrong with labels, "" for nothing.
func (b *pushBatch) checkLabels(l labels.Labels) (fault string) {
	l.Range(func(l labels.Label) {
		switch {
		case fault != "":
		case len(l.Name) > b.h.opts.MaxLabelName:
			fault = fmt.Sprintf("label name too long: '%.100s'", l.Name)
		case len(l.Value) > b.h.opts.MaxLabelValue:
			fault = fmt.Sprintf("label value too long: label name '%s', label value '%.100s'", l.Name, l.Value)
		case l.Name == "" || !valid(l.Name) || !valid(l.Value):
			fault = fmt.Sprintf("a label with an empty name, invalid UTF-8 or a NUL byte: %q", l.Name)
		}
	})
	return fault
}

// shorten bounds labels in a text.
func shorten(l labels.Labels) string {
	text := l.String()
	if len(text) > 1000 {
		text = text[:1000] + "…"
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

// add takes an entry of a stream. metadata are not sorted.
func (b *pushBatch) add(s *storage.Stream, ns int64, line []byte, metadata []labels.Label) {
	o := &b.h.opts
	switch {
	case len(line) > o.MaxLineBytes:
		b.refuse(reasonLineTooLong, 1, "Max entry size '%d' bytes exceeded for stream '%s' while adding an entry with length '%d' bytes",
			o.MaxLineBytes, shorten(s.Labels), len(line))
		return
	case ns > b.newest:
		b.refuse(reasonTooNew, 1, "entry for stream '%s' has timestamp too new: %s", shorten(s.Labels), time.Unix(0, ns).UTC().Format(time.RFC3339))
		return
	}
	r := storage.Record{Stream: s, Time: ns}
	if len(metadata) > 0 {
		r.Metadata = labels.New(metadata...).WithoutEmpty()
		if fault := b.checkMetadata(r.Metadata); fault != "" {
			b.refuse(reasonLabels, 1, "stream '%s' has an entry whose structured metadata has %s", shorten(s.Labels), fault)
			return
		}
	}
	r.Line = line
	if clean, changed := cleaned(line); changed || b.broken && bytes.ContainsRune(line, utf8.RuneError) {
		r.Line = clean
		r.Flags |= storage.FlagReplaced
		b.replaced++
	}
	r.Size = int32(len(r.Line))
	r.Level = levelOfRecord(&r)
	b.records = append(b.records, r)
}

func (b *pushBatch) checkMetadata(l labels.Labels) string {
	if l.Len() > b.h.opts.MaxLabels {
		return fmt.Sprintf("%d label names; limit %d", l.Len(), b.h.opts.MaxLabels)
	}
	if name, twice := l.HasDuplicateLabelNames(); twice {
		return fmt.Sprintf("duplicate label name: '%s'", name)
	}
	return b.checkLabels(l)
}

// levelLabels are the names under which senders tell the level, the most
// specific first.
var levelLabels = []string{storage.LabelLevel, "detected_level", "severity_text", "severity", "lvl", "loglevel"}

// levelOfRecord takes the level from the metadata, the labels or the line.
func levelOfRecord(r *storage.Record) storage.Level {
	for _, set := range []labels.Labels{r.Metadata, r.Stream.Labels} {
		for _, name := range levelLabels {
			if l := storage.ParseLevel(set.Get(name)); l != storage.LevelUnknown {
				return l
			}
		}
	}
	return storage.DetectLevel(r.Line)
}

// valid tells whether text is UTF-8 without NUL, as records need it.
func valid(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

// cleaned replaces what a record cannot have in its line by U+FFFD.
func cleaned(line []byte) (clean []byte, changed bool) {
	if utf8.Valid(line) && bytes.IndexByte(line, 0) < 0 {
		return line, false
	}
	clean = bytes.ToValidUTF8(line, []byte("\ufffd"))
	return bytes.ReplaceAll(clean, []byte{0}, []byte("\ufffd")), true
}

// refusal is the text for what was refused, "" for nothing.
func (b *pushBatch) refusal() string {
	if b.first == "" {
		return ""
	}
	total := 0
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(b.refused)) {
		total += b.refused[reason]
		parts = append(parts, fmt.Sprintf("%d %s", b.refused[reason], reason))
	}
	return fmt.Sprintf("%s\n%d entries were refused (%s), the others are stored", b.first, total, strings.Join(parts, ", "))
}
