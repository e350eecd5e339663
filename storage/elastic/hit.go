package elastic

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/buger/jsonparser"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxStreams bounds the streams whose labels are kept.
const maxStreams = 50_000

// streamCache has the streams of documents by binnacle.stream.
type streamCache struct {
	mu    sync.Mutex
	known map[string]*storage.Stream
}

func (c *streamCache) get(hash []byte) *storage.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[string(hash)]
}

// put returns the stream of hash: the first one put stays.
func (c *streamCache) put(hash string, l labels.Labels) *storage.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.known[hash]; s != nil {
		return s
	}
	if c.known == nil || len(c.known) >= maxStreams {
		c.known = make(map[string]*storage.Stream)
	}
	s := &storage.Stream{Labels: l}
	c.known[hash] = s
	return s
}

// hit is a document found.
type hit struct {
	record storage.Record
	id     string
	index  string
	seqNo  int64
	hash   string // of the stream
	// sort is where the next page begins, as the server wrote it.
	sort []byte
}

// parseHits calls each for every hit of a search, which may keep what it gets
// as long as answer.
func (c *streamCache) parseHits(answer []byte, each func(hit) error) (n int, err error) {
	var failed error
	_, err = jsonparser.ArrayEach(answer, func(raw []byte, kind jsonparser.ValueType, _ int, _ error) {
		if failed != nil {
			return
		}
		n++
		var h hit
		if kind != jsonparser.Object {
			failed = errors.New("a hit is no object")
		} else if h, failed = c.parseHit(raw); failed == nil {
			failed = each(h)
		}
	}, "hits", "hits")
	if failed != nil {
		err = failed
	}
	if errors.Is(err, jsonparser.KeyPathNotFoundError) {
		return 0, errors.New("elasticsearch: the answer to a search has no hits")
	}
	if err != nil && failed == nil {
		return n, fmt.Errorf("elasticsearch: the hits of a search: %w", err)
	}
	return n, err
}

func (c *streamCache) parseHit(raw []byte) (hit, error) {
	var h hit
	err := jsonparser.ObjectEach(raw, func(key, value []byte, kind jsonparser.ValueType, _ int) (err error) {
		switch string(key) {
		case "_id":
			h.id = string(value)
		case "_index":
			h.index = string(value)
		case "_seq_no":
			h.seqNo, err = jsonparser.ParseInt(value)
		case "sort":
			h.sort = value
		case "_source":
			if kind != jsonparser.Object {
				return errors.New("_source is no object")
			}
			err = c.parseSource(value, &h)
		}
		return err
	})
	if err == nil && h.record.Stream == nil {
		err = fmt.Errorf("no field %s", fieldStream)
	}
	if err != nil {
		return h, fmt.Errorf("elasticsearch: the document %q of index %q is not of binnacle's making: %w", h.id, h.index, err)
	}
	return h, nil
}

// parseSource reads a document as encoder writes it. The fields may come in
// any order.
func (c *streamCache) parseSource(source []byte, h *hit) error {
	r := &h.record
	r.Size = -1
	var size int64 = -1
	err := jsonparser.ObjectEach(source, func(key, value []byte, _ jsonparser.ValueType, _ int) (err error) {
		switch string(key) {
		case fieldTime:
			r.Time, err = parseTime(string(value))
		case fieldMessage:
			r.Line, err = jsonparser.Unescape(value, nil)
		case "log":
			err = parseLog(value, r)
		case "binnacle":
			size, err = parseOwn(value, h)
		}
		return err
	})
	if err != nil {
		return err
	}
	if size < 0 {
		size = int64(len(r.Line))
	}
	r.Size = int32(size)
	if h.hash == "" {
		return nil
	}
	if r.Stream = c.get([]byte(h.hash)); r.Stream == nil {
		l, err := parseLabels(source)
		if err != nil {
			return err
		}
		r.Stream = c.put(h.hash, l)
	}
	return nil
}

func parseLog(object []byte, r *storage.Record) error {
	return jsonparser.ObjectEach(object, func(key, value []byte, _ jsonparser.ValueType, _ int) (err error) {
		switch string(key) {
		case "offset":
			r.Offset, err = jsonparser.ParseInt(value)
		case "level":
			r.Level = storage.ParseLevel(string(value))
		}
		return err
	})
}

func parseOwn(object []byte, h *hit) (size int64, err error) {
	size = -1
	err = jsonparser.ObjectEach(object, func(key, value []byte, _ jsonparser.ValueType, _ int) (err error) {
		switch string(key) {
		case "stream":
			h.hash = string(value)
		case "source":
			h.record.Source, err = parseSourceID(value)
		case "size":
			if size, err = jsonparser.ParseInt(value); err == nil && (size < 0 || size > 1<<31-1) {
				err = fmt.Errorf("binnacle.size is %d", size)
			}
		case "flags":
			var flags int64
			flags, err = jsonparser.ParseInt(value)
			h.record.Flags = storage.RecordFlags(flags)
		case "metadata":
			b := labels.NewScratchBuilder(4)
			if err = parseStrings(value, b.Add); err == nil {
				b.Sort()
				h.record.Metadata = b.Labels()
			}
		}
		return err
	})
	return size, err
}

func parseSourceID(text []byte) (storage.SourceID, error) {
	var id storage.SourceID
	if len(text) > 0 && text[0] == '-' {
		return id, nil
	}
	if len(text) != 2*len(id) {
		return id, fmt.Errorf("%s %q does not have 32 hexadecimal digits", fieldSource, text)
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return id, fmt.Errorf("%s: %w", fieldSource, err)
	}
	return id, nil
}

// labelsOfFields is the reverse of labelFields.
var labelsOfFields = func() map[string]string {
	m := make(map[string]string, len(labelFields))
	for label, field := range labelFields {
		m[field] = label
	}
	return m
}()

// parseLabels collects the labels of a document's stream.
func parseLabels(source []byte) (labels.Labels, error) {
	b := labels.NewScratchBuilder(12)
	if err := parseFields(source, "", b.Add); err != nil {
		return labels.EmptyLabels(), err
	}
	b.Sort()
	return b.Labels(), nil
}

// maxDepth is the depth of the fields that are labels.
const maxDepth = 3

func parseFields(object []byte, path string, add func(name, value string)) error {
	return jsonparser.ObjectEach(object, func(key, value []byte, kind jsonparser.ValueType, _ int) error {
		field := path + string(key)
		switch {
		case field == fieldLabels && kind == jsonparser.Object:
			return parseStrings(value, add)
		case kind == jsonparser.Object && strings.Count(field, ".") < maxDepth:
			return parseFields(value, field+".", add)
		case kind == jsonparser.String:
			if label, ok := labelsOfFields[field]; ok {
				text, err := jsonparser.ParseString(value)
				if err != nil {
					return err
				}
				add(label, text)
			}
		}
		return nil
	})
}

// parseStrings reads an object of strings.
func parseStrings(object []byte, add func(name, value string)) error {
	return jsonparser.ObjectEach(object, func(key, value []byte, _ jsonparser.ValueType, _ int) error {
		text, err := jsonparser.ParseString(value)
		if err != nil {
			return err
		}
		add(string(key), text)
		return nil
	})
}
