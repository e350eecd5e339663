package otlp

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// scope is the InstrumentationScope of records.
type scope struct {
	// ours tells that Encode has made it; source and offsets are its identity.
	ours    bool
	source  storage.SourceID
	offsets []byte
	// metadata is what another's scope says about all of its records.
	metadata []labels.Label
}

// scope reads an InstrumentationScope. Its name decides how attributes are
// understood.
func (d *decoder) scope(s *scope, message []byte) error {
	var name, version []byte
	var attributes [][]byte
	err := fields(message, func(f field) (err error) {
		switch f.number {
		case scopeFieldName:
			name, err = f.message("name")
		case scopeFieldVersion:
			version, err = f.message("version")
		case scopeFieldAttributes:
			attributes, err = appendPart(attributes, f, "attributes")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	if string(name) == scopeName {
		s.ours = true
		return s.readIdentity(attributes)
	}
	s.metadata = d.named(s.metadata, "scope_name", name)
	s.metadata = d.named(s.metadata, "scope_version", version)
	s.metadata, err = d.attributes(s.metadata, attributes, labelName)
	return err
}

func (s *scope) readIdentity(attributes [][]byte) error {
	for _, attribute := range attributes {
		key, value, err := keyValue(attribute)
		if err != nil {
			return fmt.Errorf("scope attributes: %w", err)
		}
		v, err := lastField(value)
		if err != nil {
			return fmt.Errorf("scope attribute %.80q: %w", key, err)
		}
		switch string(key) {
		case attrSource:
			if !isBytes(v) || len(v.bytes) != len(s.source) {
				return fmt.Errorf("scope attribute %s: %d bytes are needed", attrSource, len(s.source))
			}
			s.source = storage.SourceID(v.bytes)
		case attrOffsets:
			s.offsets = v.bytes
		}
	}
	return nil
}

// named appends text under a name if there is any.
func (d *decoder) named(to []labels.Label, name string, text []byte) []labels.Label {
	if len(text) == 0 {
		return to
	}
	return append(to, labels.Label{Name: name, Value: d.tidy(text, maxValue)})
}

// attributes appends KeyValues under the names that rename gives them. Empty
// values are as good as none.
func (d *decoder) attributes(to []labels.Label, messages [][]byte, rename func(string) string) ([]labels.Label, error) {
	for _, message := range messages {
		key, value, err := keyValue(message)
		if err != nil {
			return to, fmt.Errorf("attributes: %w", err)
		}
		name := rename(d.tidy(key, maxName))
		v, err := d.value(value, maxValue)
		if err != nil {
			return to, fmt.Errorf("attribute %.80q: %w", name, err)
		}
		if v != "" && name != "" {
			to = append(to, labels.Label{Name: name, Value: v})
			if err := d.spend(to[len(to)-1]); err != nil {
				return to, err
			}
		}
	}
	return to, nil
}

// spend counts labels against the bound of a body.
func (d *decoder) spend(all ...labels.Label) error {
	const headers = 64
	for _, l := range all {
		d.metadata += len(l.Name) + len(l.Value) + headers
	}
	if d.metadata > maxMetadata {
		return fmt.Errorf("attributes take more than %d bytes, send fewer records at a time: %w", maxMetadata, storage.ErrTooLarge)
	}
	return nil
}

// line sets the text of a record from the AnyValue of its body, and returns how
// long it was. Lines of our own are as long as agents allow.
func (d *decoder) line(r *storage.Record, body []byte, ours bool) (length int, err error) {
	v, err := lastField(body)
	if err != nil {
		return 0, err
	}
	line := v.bytes
	if v.number == anyString || v.number == anyBytes {
		_, err = v.message("value")
	} else {
		line, err = text(body)
	}
	if err != nil {
		return 0, err
	}
	length = len(line)
	line, replaced := clean(line)
	if replaced {
		d.batch.Replaced++
		r.Flags |= storage.FlagReplaced
	}
	if !ours {
		truncated := false
		if line, truncated = cut(line, maxLine); truncated {
			d.batch.Truncated++
			r.Flags |= storage.FlagTruncated
		}
	}
	r.Line = line
	r.Size = int32(len(line))
	return length, nil
}

// ours completes a record that Encode has written.
func (d *decoder) ours(r *storage.Record, in *incoming) error {
	r.Time = int64(in.time)
	if len(in.attributes) == 0 {
		return nil
	}
	all, err := d.attributes(nil, in.attributes, func(name string) string { return name })
	if err != nil {
		return err
	}
	metadata := all[:0]
	for _, l := range all {
		if l.Name != attrFlags {
			metadata = append(metadata, l)
			continue
		}
		flags, err := strconv.ParseUint(l.Value, 10, 8)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", attrFlags, err)
		}
		r.Flags |= storage.RecordFlags(flags)
	}
	r.Metadata = asLabels(metadata)
	return nil
}

// foreign completes a record of another sender.
func (d *decoder) foreign(r *storage.Record, in *incoming, s *scope) error {
	r.Time = d.options.Now
	for _, t := range []uint64{in.observed, in.time} {
		if t > 0 && t <= math.MaxInt64 {
			r.Time = int64(t)
		}
	}
	if err := d.spend(s.metadata...); err != nil {
		return err
	}
	metadata, err := d.attributes(slices.Clone(s.metadata), in.attributes, labelName)
	if err != nil {
		return err
	}
	metadata = append(metadata, identifier("trace_id", in.traceID, 16)...)
	metadata = append(metadata, identifier("span_id", in.spanID, 8)...)
	metadata = d.named(metadata, "event_name", in.event)
	if r.Level == storage.LevelUnknown && len(in.severityText) > 0 {
		if r.Level = storage.ParseLevel(string(in.severityText)); r.Level == storage.LevelUnknown {
			metadata = d.named(metadata, "severity_text", in.severityText)
		}
	}
	if r.Level == storage.LevelUnknown {
		r.Level = storage.DetectLevel(r.Line)
	}
	r.Metadata = asLabels(metadata)
	return nil
}

// identifier is the id of a trace or span in hexadecimal, if it is one.
func identifier(name string, id []byte, length int) []labels.Label {
	if len(id) != length || strings.Trim(string(id), "\x00") == "" {
		return nil
	}
	return []labels.Label{{Name: name, Value: hex.EncodeToString(id)}}
}

// asLabels sorts; of several labels with one name the last counts.
func asLabels(all []labels.Label) labels.Labels {
	if len(all) == 0 {
		return labels.EmptyLabels()
	}
	slices.SortStableFunc(all, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	b := labels.NewScratchBuilder(len(all))
	for i, l := range all {
		if i+1 == len(all) || all[i+1].Name != l.Name {
			b.Add(l.Name, l.Value)
		}
	}
	return b.Labels()
}
