package elastic

import (
	"sync"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxSources, maxClean and maxUnsure bound what attempts remembers. Beyond
	// them the server is asked more often.
	maxSources = 50_000
	maxClean   = 100_000
	maxUnsure  = 100_000
	// clockSkew is how far the clocks of those who write records may be from
	// ours.
	clockSkew = time.Minute
)

// attempts knows which records may be stored already. The server refuses a
// second document of the same _id only within one index, so a record that was
// sent before, with an outcome that is not known, must not be sent again
// without a look at all indices: a younger one may have taken over between.
//
// Records of a source come in ascending order of their offsets. So those above
// the highest offset that was ever sent are new, and all others are suspect.
// Of a source that was not seen yet the server tells the highest offset that it
// has; it need not be asked when the records are younger than this process,
// because then no process before it can have sent them.
type attempts struct {
	started int64

	mu sync.Mutex
	// highest is the highest offset sent or found per source, before is the
	// generation of the map that is forgotten next.
	highest, before map[storage.SourceID]int64
	// forgot tells that a source that is not known may have been.
	forgot bool
	// clean are suspects that are certainly not stored: the server said so.
	clean map[storage.RecordID]struct{}
	// unsure are the records without a source that were sent and for which no
	// answer came.
	unsure map[[16]byte]struct{}
	// unsureAll tells that there were more of them.
	unsureAll bool
}

func newAttempts(started time.Time) *attempts {
	return &attempts{
		started: started.Add(clockSkew).UnixNano(),
		highest: make(map[storage.SourceID]int64),
		clean:   make(map[storage.RecordID]struct{}),
		unsure:  make(map[[16]byte]struct{}),
	}
}

// of is called with mu held.
func (a *attempts) of(source storage.SourceID) (highest int64, known bool) {
	if highest, known = a.highest[source]; known {
		return highest, true
	}
	if highest, known = a.before[source]; known {
		a.set(source, highest)
	}
	return highest, known
}

// set is called with mu held.
func (a *attempts) set(source storage.SourceID, highest int64) {
	if len(a.highest) >= maxSources/2 {
		a.forgot = a.forgot || len(a.before) > 0
		a.before, a.highest = a.highest, make(map[storage.SourceID]int64)
	}
	a.highest[source] = highest
}

// unknown returns the sources of which the server has to tell the highest
// offset, each once.
func (a *attempts) unknown(batch []storage.Record) []storage.SourceID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sources []storage.SourceID
	asked := make(map[storage.SourceID]bool)
	for i := range batch {
		r := &batch[i]
		if r.Source.IsZero() || !a.mayBeOlder(r) || asked[r.Source] {
			continue
		}
		if _, known := a.of(r.Source); !known {
			asked[r.Source] = true
			sources = append(sources, r.Source)
		}
	}
	return sources
}

// mayBeOlder tells whether r may have been sent before what is remembered.
func (a *attempts) mayBeOlder(r *storage.Record) bool {
	return a.forgot || r.Time < a.started
}

// learn takes over the highest offset that the server has of a source, -1
// without one.
func (a *attempts) learn(source storage.SourceID, highest int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.of(source); !ok || known < highest {
		a.set(source, highest)
	}
}

// suspects returns the indexes of the records that may be stored already.
func (a *attempts) suspects(batch []storage.Record) []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	var suspects []int
	var (
		source  storage.SourceID // of the two values below
		highest int64
		known   bool
	)
	for i := range batch {
		r := &batch[i]
		if r.Source.IsZero() {
			if a.suspectContent(r) {
				suspects = append(suspects, i)
			}
			continue
		}
		if r.Source != source {
			source = r.Source
			highest, known = a.of(source)
		}
		if !known || r.Offset > highest {
			continue
		}
		if _, clean := a.clean[r.ID()]; !clean {
			suspects = append(suspects, i)
		}
	}
	return suspects
}

// suspectContent decides on a record without a source.
func (a *attempts) suspectContent(r *storage.Record) bool {
	if a.unsureAll || r.Time < a.started {
		return true
	}
	if len(a.unsure) == 0 {
		return false
	}
	_, unsure := a.unsure[contentHash(r)]
	return unsure
}

// begin is called before records are sent.
func (a *attempts) begin(batch []storage.Record, which []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, i := range which {
		r := &batch[i]
		if r.Source.IsZero() {
			a.addUnsure(r)
			continue
		}
		if len(a.clean) > 0 {
			delete(a.clean, r.ID())
		}
		// The last one of a run has its highest offset.
		if n+1 < len(which) && batch[which[n+1]].Source == r.Source {
			continue
		}
		if highest, known := a.of(r.Source); !known || highest < r.Offset {
			a.set(r.Source, r.Offset)
		}
	}
}

func (a *attempts) addUnsure(r *storage.Record) {
	if len(a.unsure) >= maxUnsure {
		a.unsureAll = true
		return
	}
	a.unsure[contentHash(r)] = struct{}{}
}

// answered is called when the server told of a record whether it is stored.
func (a *attempts) answered(r *storage.Record, stored bool) {
	if stored && !r.Source.IsZero() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Source.IsZero():
		delete(a.unsure, contentHash(r))
	case len(a.clean) < maxClean:
		a.clean[r.ID()] = struct{}{}
	}
}
