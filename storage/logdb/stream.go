package logdb

import (
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// stream is a stream that has records in the store. There is one for each set
// of labels.
type stream struct {
	storage.Stream
	// id is never used again, so that sets of streams can be bitmaps.
	id        uint32
	hash      uint64
	namespace string

	// headSeq and headRef are where the stream is in the head part of that
	// sequence number. The writer alone uses them.
	headSeq uint64
	headRef uint32

	// users counts the parts and segments that have records of the stream.
	// Guarded by the index's mu.
	users int
}

// streamIndex finds streams by their labels.
type streamIndex struct {
	mu     sync.RWMutex
	nextID uint32
	byHash map[uint64][]*stream
	// byLabel are the streams of each name and value.
	byLabel map[string]map[string][]*stream
	count   int
}

func newStreamIndex() *streamIndex {
	return &streamIndex{byHash: make(map[uint64][]*stream), byLabel: make(map[string]map[string][]*stream)}
}

// acquire returns the stream of these labels for one more user.
func (x *streamIndex) acquire(l labels.Labels) *stream {
	x.mu.Lock()
	defer x.mu.Unlock()
	hash := l.Hash()
	for _, s := range x.byHash[hash] {
		if labels.Equal(s.Labels, l) {
			s.users++
			return s
		}
	}
	// Labels may be a view of a request's whole body.
	l = l.Copy()
	s := &stream{
		Stream: storage.Stream{Labels: l}, id: x.nextID, hash: hash, namespace: l.Get(storage.LabelNamespace), users: 1,
	}
	x.nextID++
	x.count++
	x.byHash[hash] = append(x.byHash[hash], s)
	l.Range(func(l labels.Label) {
		values := x.byLabel[l.Name]
		if values == nil {
			values = make(map[string][]*stream)
			x.byLabel[l.Name] = values
		}
		values[l.Value] = append(values[l.Value], s)
	})
	return s
}

// share adds a user to streams that have one.
func (x *streamIndex) share(streams []*stream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range streams {
		s.users++
	}
}

// release takes a user from each stream and forgets those without.
func (x *streamIndex) release(streams []*stream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	touched := make(map[labels.Label]bool)
	for _, s := range streams {
		if s.users--; s.users > 0 {
			continue
		}
		x.count--
		x.byHash[s.hash] = slices.DeleteFunc(x.byHash[s.hash], func(o *stream) bool { return o == s })
		if len(x.byHash[s.hash]) == 0 {
			delete(x.byHash, s.hash)
		}
		s.Labels.Range(func(l labels.Label) { touched[l] = true })
	}
	for l := range touched {
		values := x.byLabel[l.Name]
		// A new slice: those that search may hold the old one.
		var left []*stream
		for _, s := range values[l.Value] {
			if s.users > 0 {
				left = append(left, s)
			}
		}
		if values[l.Value] = left; len(left) > 0 {
			continue
		}
		if delete(values, l.Value); len(values) == 0 {
			delete(x.byLabel, l.Name)
		}
	}
}

func (x *streamIndex) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count
}

// streamSet is a set of streams by their id; the nil set has every stream.
type streamSet []uint64

func (s streamSet) has(st *stream) bool {
	return s == nil || int(st.id>>6) < len(s) && s[st.id>>6]&(1<<(st.id&63)) != 0
}

// find returns the streams that match and how many they are; -1 for all.
func (x *streamIndex) find(matchers []*labels.Matcher) (set streamSet, n int) {
	if len(matchers) == 0 {
		return nil, -1
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	set = make(streamSet, x.nextID/64+1)
	x.candidates(matchers, func(s *stream) {
		for _, m := range matchers {
			if !m.Matches(s.Labels.Get(m.Name)) {
				return
			}
		}
		set[s.id>>6] |= 1 << (s.id & 63)
		n++
	})
	return set, n
}

// candidates visits the streams that match the matcher that leaves the
// fewest. A matcher that holds for "" says nothing about streams that do not
// have the label, and cannot serve. x.mu is held.
func (x *streamIndex) candidates(matchers []*labels.Matcher, visit func(*stream)) {
	var best [][]*stream
	fewest := -1
	for _, m := range matchers {
		if m.Matches("") {
			continue
		}
		lists, n := x.lists(m)
		if fewest < 0 || n < fewest {
			best, fewest = lists, n
		}
	}
	if fewest < 0 {
		for _, streams := range x.byHash {
			best = append(best, streams)
		}
	}
	for _, streams := range best {
		for _, s := range streams {
			visit(s)
		}
	}
}

// lists are the streams of each value that m matches.
func (x *streamIndex) lists(m *labels.Matcher) (lists [][]*stream, n int) {
	values := x.byLabel[m.Name]
	if m.Type == labels.MatchEqual {
		return [][]*stream{values[m.Value]}, len(values[m.Value])
	}
	for value, streams := range values {
		if m.Matches(value) {
			lists = append(lists, streams)
			n += len(streams)
		}
	}
	return lists, n
}
