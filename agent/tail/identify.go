package tail

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// headBytes of a first line at most make a fingerprint.
	headBytes = 4 << 10
	// compareBytes are compared to tell a copy from a file that only begins
	// the same.
	compareBytes = 64 << 10
)

// identify finds out which generation the file of g is, once it has a first
// line, or with final whatever it has. It returns false when g is not to be
// read: not yet, or never because it is another file of a known generation.
func (w *worker) identify(g *generation, final bool) (bool, error) {
	head := w.head[:]
	n, err := g.readAt(head, 0)
	if err != nil || n == 0 {
		return false, err
	}
	head = head[:n]
	first := head
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		first = head[:i+1]
	} else if n < len(w.head) && !final {
		return false, nil
	}
	g.format = detectFormat(first, g.lane.id.filename == "")
	p, known := w.lookup(g, first, head)
	switch {
	case p == nil:
		p = w.begin(g, first, head)
	case known:
		w.duplicate(g, p)
		return false, nil
	}
	g.kind.Store(uint32(g.format))
	w.adopt(g, p, head)
	return true, nil
}

// containerFingerprint is enough for the files of containers: the first line
// has a time in nanoseconds.
func containerFingerprint(first []byte) fingerprint {
	sum := sha256.Sum256(first)
	return fingerprint(sum[:16])
}

// plainFingerprint adds what tells files with equal first lines apart. It is
// kept in the position when the file is renamed, copied or compressed.
func plainFingerprint(first []byte, key fileKey, epoch int64) fingerprint {
	h := sha256.New()
	h.Write(first)
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], key.Dev)
	binary.LittleEndian.PutUint64(b[8:], key.Inode)
	binary.LittleEndian.PutUint64(b[16:], uint64(key.Birth))
	binary.LittleEndian.PutUint64(b[24:], uint64(epoch))
	h.Write(b[:])
	return fingerprint(h.Sum(nil)[:16])
}

// lookup finds the position of g's generation. known tells that g is only
// another file of a generation that is being read or was.
func (w *worker) lookup(g *generation, first, head []byte) (p *position, known bool) {
	positions := g.lane.t.keeper.of(g.lane.key)
	if g.format != formatPlain {
		fp := containerFingerprint(first)
		i := slices.IndexFunc(positions, func(p *position) bool { return p.Fingerprint == fp })
		if i < 0 {
			return nil, false
		}
		p = positions[i]
		return p, p.claimed || p.Done && g.holdsNoMore(p)
	}
	if g.epoch != 0 {
		return nil, false
	}
	for _, p := range positions {
		if p.File == g.key && !p.claimed && p.matches(head) && p.Resume.acked() <= g.size.Load() {
			return p, p.Done && g.holdsNoMore(p)
		}
	}
	if !g.rotated {
		return nil, false // a copy has another name
	}
	for _, p := range positions {
		owner := g.lane.find(p.File, g)
		if owner != nil && owner.parked.Load() {
			g.lane.wakeUp(owner)
		}
		if owner != nil && owner.holds(p) {
			if w.sameContent(g, owner) {
				return p, true
			}
			if owner.holds(p) {
				continue
			}
			// It was emptied while it was compared.
		}
		if p.File != g.key && p.matches(head) {
			return p, p.claimed || p.Done && g.holdsNoMore(p)
		}
	}
	return nil, false
}

// matches tells whether a file that begins with head can be p's. A file that
// is shorter than what is known cannot.
func (p *position) matches(head []byte) bool {
	return p.PrefixLen > 0 && len(head) >= p.PrefixLen && xxhash.Sum64(head[:p.PrefixLen]) == p.Prefix
}

// learn notes how the file begins. The more is known of it the better.
func (p *position) learn(head []byte) {
	p.PrefixLen = min(len(head), prefixBytes)
	p.Prefix = xxhash.Sum64(head[:p.PrefixLen])
}

// learnPrefix learns more of a file that was short when it was found.
func (w *worker) learnPrefix(g *generation) {
	if g.format != formatPlain || int64(g.prefixLen) >= min(prefixBytes, g.offset) {
		return
	}
	head := w.head[:min(prefixBytes, g.offset)]
	if n, err := g.readAt(head, 0); err == nil && n == len(head) && bytes.HasPrefix(head, g.head) {
		g.prefixLen = n
		w.t.keeper.change(func() { g.pos.learn(head) })
	}
}

// holds tells whether g's file still has p's content: it may have been
// truncated while nobody looked.
func (g *generation) holds(p *position) bool {
	var head [prefixBytes]byte
	n, err := g.readAt(head[:], 0)
	return err == nil && g.size.Load() >= p.Resume.acked() && p.matches(head[:n])
}

// holdsNoMore tells whether everything in the file of g was acknowledged.
func (g *generation) holdsNoMore(p *position) bool {
	g.io.Lock()
	defer g.io.Unlock()
	if z, ok := g.src.(*gzipSource); ok {
		size, ok := z.uncompressedSize()
		return ok && size == uint32(p.Resume.acked())
	}
	return g.size.Load() <= p.Resume.acked()
}

// sameContent compares the beginnings of a rotated file and one that may be
// its origin.
func (w *worker) sameContent(g, origin *generation) bool {
	a, b := make([]byte, compareBytes), make([]byte, compareBytes)
	n, err := g.readAt(a, 0)
	if err != nil || n == 0 {
		return false
	}
	m, err := origin.readAt(b, 0)
	return err == nil && n <= m && bytes.Equal(a[:n], b[:n])
}

// duplicate handles that g's file belongs to a generation that has another:
// a copy, or a compressed one. If the other is lost, this one takes its place.
func (w *worker) duplicate(g *generation, p *position) {
	l := g.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(g)
	for _, owner := range l.gens {
		if owner.pos != p || owner.giveUp.Load() {
			continue
		}
		if owner.open() || owner.parked.Load() && owner.present {
			if !slices.Contains(owner.copies, g.key) {
				owner.copies = append(owner.copies, g.key)
			}
			break
		}
		owner.path, owner.name, owner.key, owner.deleted = g.path, g.name, g.key, g.deleted
		owner.gzip, owner.atEnd = g.gzip, false
		owner.parked.Store(false)
		owner.setSource(g.takeSource())
		l.t.keeper.change(func() { p.File, p.Path = g.key, g.path })
		l.sort()
		return
	}
	l.remember(g)
	if !p.claimed {
		info := l.known[g.key]
		l.t.keeper.change(func() { p.File, p.Path, p.Size, p.Modified, p.missing = g.key, g.path, info.size, info.mtime, 0 })
	}
	g.closeSource()
}

// begin makes the position of a generation that nobody has seen before.
func (w *worker) begin(g *generation, first, head []byte) *position {
	p := &position{Lane: g.lane.key, Path: g.file, File: g.key}
	if g.format == formatPlain {
		p.Fingerprint = w.newPlainFingerprint(g, first)
		if g.history {
			w.skipHistory(g, p)
		}
	} else {
		p.Fingerprint = containerFingerprint(first)
	}
	p.learn(head)
	g.lane.t.keeper.add(p)
	if g.epoch != 0 {
		// Nothing in the file tells it from the one before: what does must be
		// on disk before there are records.
		g.ticket = g.lane.t.keeper.save(g.lane)
	}
	return p
}

// newPlainFingerprint is one that no known generation has: a file that was
// truncated may begin as it did before.
func (w *worker) newPlainFingerprint(g *generation, first []byte) fingerprint {
	fp := plainFingerprint(first, g.key, g.epoch)
	for _, p := range g.lane.t.keeper.of(g.lane.key) {
		if p.Fingerprint == fp {
			g.epoch = time.Now().UnixNano()
			return plainFingerprint(first, g.key, g.epoch)
		}
	}
	return fp
}

// prefixBytes of a plain file at most are compared to know it again.
const prefixBytes = 1 << 10

// skipHistory leaves out what a plain file had long before the first start.
func (w *worker) skipHistory(g *generation, p *position) {
	size := g.size.Load()
	from := size - g.lane.t.opts.History
	if g.rotated {
		from = size
	}
	if from <= 0 {
		return
	}
	if !g.rotated {
		from = g.lineStart(from)
	}
	for o := range p.Resume.Outputs {
		p.Resume.Outputs[o].Next = from
	}
	p.Done = g.rotated
}

// lineStart returns the offset of the first line at or after off.
func (g *generation) lineStart(off int64) int64 {
	buf := make([]byte, compareBytes)
	for at := off - 1; ; {
		n, err := g.readAt(buf, at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1
		}
		if at += int64(n); err != nil || n < len(buf) {
			return off
		}
	}
}

// adopt makes g go on at p.
func (w *worker) adopt(g *generation, p *position, head []byte) {
	k := g.lane.t.keeper
	k.mu.Lock()
	p.claimed, p.Done, p.missing = true, false, 0
	p.File, p.Path = g.key, g.file
	r, cuts := p.Resume, p.Cuts
	g.split, g.prefixLen = p.Split, p.PrefixLen
	k.mu.Unlock()
	g.pos = p
	g.offset = r.acked()
	for o := range g.joiners {
		g.joiners[o] = joiner{skip: r.Outputs[o].Next, cuts: slices.Clone(cuts[o]), shed: r.Outputs[o].Shed}
	}
	if l := g.lane; l.limit != nil && r.Bucket.Time > l.limit.state.Time {
		l.limit.state = r.Bucket
	}
	g.head = append(g.head[:0], head[:min(len(head), headCheck)]...)
	g.acked.Store(g.offset)
	g.publish()
	g.lane.t.metrics.discovered[g.format].Inc()
	w.label(g)
	w.nameSources(g)
}

// nameSources derives the identities of g's records.
func (w *worker) nameSources(g *generation) {
	id, o := &g.lane.id, &g.lane.t.opts
	for out := range g.sources {
		parts := []string{
			o.Cluster, o.Node, id.namespace, id.pod, id.uid, id.container, id.containerID, g.restart,
			id.filename, outputNames[out], string(g.pos.Fingerprint[:]),
		}
		sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		g.sources[out] = storage.SourceID(sum[:16])
	}
}

// label sets the streams of g's records. Labels that come late make a new
// stream for the records after that.
func (w *worker) label(g *generation) {
	t := g.lane.t
	var extra labels.Labels
	g.labelled = true
	if id := &g.lane.id; t.opts.Labeler != nil && id.filename == "" {
		extra, g.labelled = t.opts.Labeler.Labels(id.namespace, id.pod, id.uid, id.container)
		g.labelAt = time.Now().Add(time.Second)
	}
	for out := range g.streams {
		g.streams[out] = g.lane.stream(g.restart, output(out), extra)
	}
}
