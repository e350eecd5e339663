package otlp

import (
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxKey bounds the size of a resource that is remembered.
const maxKey = 4 << 10

// Streams remembers the streams of resources, so that each has one Stream as
// long as it is in use. It is safe for concurrent use.
type Streams struct {
	mu   sync.Mutex
	size int
	// recent has what was asked for since older was; when it is full it
	// becomes older, and what was not asked for since is forgotten.
	recent, older map[string]*storage.Stream
}

// NewStreams makes a memory of size to twice as many streams.
func NewStreams(size int) *Streams {
	return &Streams{size: max(1, size), recent: map[string]*storage.Stream{}}
}

// Len is how many streams are remembered.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recent) + len(s.older)
}

func (s *Streams) get(key []byte) *storage.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream := s.recent[string(key)]; stream != nil {
		return stream
	}
	stream := s.older[string(key)]
	if stream != nil {
		delete(s.older, string(key))
		s.addLocked(string(key), stream)
	}
	return stream
}

// add returns the stream that is known by key already, or else the new one.
func (s *Streams) add(key []byte, stream *storage.Stream) *storage.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.recent[string(key)]; known != nil {
		return known
	}
	s.addLocked(string(key), stream)
	return stream
}

func (s *Streams) addLocked(key string, stream *storage.Stream) {
	if len(s.recent) >= s.size {
		s.older, s.recent = s.recent, make(map[string]*storage.Stream, s.size)
	}
	s.recent[key] = stream
}

// stream returns the stream of a Resource. The same bytes mean other labels in
// a message that Encode has made.
func (d *decoder) stream(resource []byte, ours bool) (*storage.Stream, error) {
	if d.options.Streams == nil || len(resource) > maxKey {
		return d.newStream(resource, ours)
	}
	key := append(make([]byte, 0, 1+len(resource)), 'o')
	if !ours {
		key[0] = 'f'
	}
	key = append(key, resource...)
	if stream := d.options.Streams.get(key); stream != nil {
		return stream, nil
	}
	stream, err := d.newStream(resource, ours)
	if err != nil {
		return nil, err
	}
	return d.options.Streams.add(key, stream), nil
}

func (d *decoder) newStream(resource []byte, ours bool) (*storage.Stream, error) {
	var attributes [][]byte
	err := fields(resource, func(f field) error {
		if f.number != resourceAttributes {
			return nil
		}
		var err error
		attributes, err = appendPart(attributes, f, "attributes")
		return err
	})
	if err != nil {
		return nil, err
	}
	rename := labelName
	if ours {
		rename = func(name string) string {
			if label, ok := labelOf[name]; ok {
				return label
			}
			return name
		}
	}
	all, err := d.attributes(nil, attributes, rename)
	if err != nil {
		return nil, err
	}
	set := asLabels(all)
	if !ours {
		set = withWorkload(set)
	}
	return &storage.Stream{Labels: set}, nil
}

// withWorkload adds our labels of the owner of a pod, where a sender names it in
// the way of the semantic conventions.
func withWorkload(set labels.Labels) labels.Labels {
	if set.Get(storage.LabelWorkload) != "" {
		return set
	}
	for _, w := range workloadAttributes {
		if name := set.Get(labelName(w.attribute)); name != "" {
			b := labels.NewBuilder(set)
			b.Set(storage.LabelWorkload, name)
			b.Set(storage.LabelWorkloadType, w.workloadType)
			return b.Labels()
		}
	}
	return set
}
