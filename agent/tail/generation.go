package tail

import (
	"bytes"
	"container/list"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// generation is one file of a lane: the one that is written to, or one that
// was rotated away from there. Its descriptor is kept until everything in it
// is acknowledged, whatever happens to its name.
type generation struct {
	lane    *lane
	seq     int // in which generations were found
	restart string

	// Guarded by lane.mu.
	path    string
	name    logName
	key     fileKey
	deleted bool
	present bool // found by the scan that goes on
	wd      int32
	copies  []fileKey // other files with the same content

	// io guards src, so that the watcher can give up a file while the worker
	// waits for room. It is held for the time of a read, and taken last.
	io  sync.Mutex
	src source // nil when closed or truncated away

	// Belongs to the lane's worker.
	format   format // formatUnknown until there is a first line
	pos      *position
	sources  [outputs]storage.SourceID
	streams  [outputs]*storage.Stream
	labelled bool
	labelAt  time.Time // when to ask for more labels again
	clock    clock
	lastTime int64 // of the last good line
	offset   int64 // of the first line not consumed
	skipTo   int64 // within a line that is too long: where its rest begins, else 0
	joiners  [outputs]joiner
	head     []byte // of the file, to notice when it is overwritten
	gzip     bool
	rotated  bool   // as of the last turn, like file
	file     string // its path
	// prefixLen is how much of the beginning the position knows.
	prefixLen int
	epoch     int64 // when the file was truncated to begin this generation, else 0
	history   bool  // a plain file from before the first start
	over      bool  // nobody is expected to write to it any more
	ticket    *ticket
	plan      *cut      // what to do when ticket is saved
	split     int64     // where a line without line feed ends, else 0
	fragment  int64     // bytes of such a line at the file's end
	lastData  time.Time // when something was read
	atEnd     bool      // the last read found nothing more
	intact    int64     // size when the file last had this generation's beginning
	suspect   bool      // a read found the file overwritten: the next turn handles it

	before *generation // whose end this one continues, nil for none
	heir   *generation // goes on where this one ends, nil for none yet
	found  time.Time

	inflight []*batch       // guarded by keeper.mu, oldest first
	debts    [outputs]int64 // where outputs end whose last parts are in a record not acknowledged, else 0; likewise
	// creditors wait, with records that begin here, for what is in flight; likewise.
	creditors []*generation

	restingAt *list.Element // in openFiles.resting, guarded by openFiles.mu
	parkedAs  knownFile     // the file when it was closed; guarded by openFiles.mu until parked is set

	parked atomic.Bool  // closed because others waited; the kernel or a scan tells when it is to be opened again
	grew   atomic.Bool  // written to since it was last armed
	armed  atomic.Bool  // the kernel will tell when the file is written to
	giveUp atomic.Bool  // the watcher has closed the source, what was unread is lost
	size   atomic.Int64 // when last looked at
	read   atomic.Int64 // offset, for others to see
	acked  atomic.Int64
	kind   atomic.Uint32 // format, for others to see
}

var (
	errClosed    = errors.New("file is closed")
	errTruncated = errors.New("file was truncated")
)

// readAt reads from the uncompressed offset off.
func (g *generation) readAt(p []byte, off int64) (int, error) {
	g.io.Lock()
	defer g.io.Unlock()
	if g.src == nil {
		return 0, errClosed
	}
	return g.src.readAt(p, off)
}

// complete tells that nothing can follow what was read.
func (g *generation) complete() bool {
	g.io.Lock()
	defer g.io.Unlock()
	return g.src == nil || g.src.complete()
}

func (g *generation) stat() (fileInfo, error) {
	g.io.Lock()
	defer g.io.Unlock()
	if g.src == nil {
		return fileInfo{}, errClosed
	}
	return statFile(g.src.file())
}

func (g *generation) open() bool {
	g.io.Lock()
	defer g.io.Unlock()
	return g.src != nil
}

// holdsFile tells whether g has a file, be it open or not.
func (g *generation) holdsFile() bool { return g.parked.Load() || g.open() }

// takeSource takes the source away from g.
func (g *generation) takeSource() source {
	g.io.Lock()
	defer g.io.Unlock()
	s := g.src
	g.src = nil
	return s
}

func (g *generation) setSource(s source) {
	g.io.Lock()
	defer g.io.Unlock()
	g.src = s
}

func (g *generation) closeSource() {
	if s := g.takeSource(); s != nil {
		g.lane.t.watcher.unwatchFile(g)
		s.file().Close()
		g.lane.t.files.release()
	}
}

// newSource wraps an open file.
func newSource(f *os.File, gzip bool) source {
	if gzip {
		return &gzipSource{f: f}
	}
	return rawSource{f}
}

// headCheck is how many bytes at a file's beginning are compared to notice
// that it was overwritten.
const headCheck = 64

// check looks whether the file is still what it was: it may be deleted, or
// truncated, after which it may already be longer again than it was.
func (g *generation) check() (truncated bool) {
	info, err := g.stat()
	if err != nil {
		return false
	}
	if info.links == 0 {
		g.lane.mu.Lock()
		g.deleted = true
		g.lane.t.someDeleted.Store(true)
		g.lane.mu.Unlock()
	}
	if g.gzip {
		return false
	}
	if info.size < max(g.offset, g.skipTo) || g.overwritten() {
		return true
	}
	g.intact = info.size
	g.size.Store(info.size)
	return false
}

// overwritten tells whether the file begins otherwise than it did.
func (g *generation) overwritten() bool {
	var head [headCheck]byte
	n, err := g.readAt(head[:len(g.head)], 0)
	return err == nil && !bytes.Equal(head[:n], g.head)
}

// fetch reads like readAt. The file's beginning is compared after that: while
// it is the same, what was read is of this generation.
func (g *generation) fetch(p []byte, off int64) (int, error) {
	n, err := g.readAt(p, off)
	if err == nil && n > 0 && !g.gzip && g.overwritten() {
		g.suspect = true
		return 0, errTruncated
	}
	return n, err
}

// publish shows others how far the worker has got.
func (g *generation) publish() {
	at := max(g.offset, g.skipTo)
	g.read.Store(at)
	if g.gzip || g.size.Load() < at {
		g.size.Store(at)
	}
}

// unfinished tells whether a record waits for more lines.
func (g *generation) unfinished(all bool) bool {
	for o := range g.joiners {
		if g.joiners[o].waits(all) {
			return true
		}
	}
	return false
}

// idle tells whether everything that was delivered is acknowledged.
func (g *generation) idle() bool {
	k := g.lane.t.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(g.inflight) == 0 && g.debts == [outputs]int64{}
}
