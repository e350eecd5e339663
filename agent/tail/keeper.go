package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// saveInterval is how long a change of positions waits to be written.
	saveInterval = time.Second
	// urgentInterval bounds how often a waiting cut makes positions be written.
	urgentInterval = 20 * time.Millisecond
)

// ticket tells whether what was changed before it was made is on disk.
type ticket struct {
	lane  *lane
	state ticketState
}

type ticketState uint8

const (
	ticketOpen ticketState = iota
	ticketSaved
	ticketFailed
)

// keeper keeps the positions of all generations in memory and on disk.
type keeper struct {
	path    string
	log     *slog.Logger
	metrics *metrics
	wake    func(*lane)
	urgent  chan struct{}
	// interval is how long a change waits to be written.
	interval time.Duration
	// firstStart tells that there were no positions: plain files are then read
	// from near their end. savedAt is when earlier ones were written.
	firstStart bool
	savedAt    int64

	mu      sync.Mutex // guards what follows, and every position in lanes
	lanes   map[string][]*position
	tickets []*ticket
	dirty   bool
	failing bool
}

// newKeeper reads the positions file. One that is damaged is put aside: every
// file is then read from its beginning, and stores drop what they have.
func newKeeper(path string, log *slog.Logger, m *metrics) (*keeper, error) {
	k := &keeper{
		path: path, log: log, metrics: m,
		urgent: make(chan struct{}, 1), interval: saveInterval,
		lanes: make(map[string][]*position),
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("tail: make the folder of the positions file: %w", err)
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k.firstStart = true
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("tail: read the positions file: %w", err)
	}
	info, err := statPath(path)
	if err != nil {
		return nil, fmt.Errorf("tail: %w", err)
	}
	k.savedAt = info.mtime
	entries, err := decodePositions(b)
	if err != nil {
		return k, k.setAside(err)
	}
	for _, e := range entries {
		k.lanes[e.Lane] = append(k.lanes[e.Lane], e)
	}
	return k, nil
}

func (k *keeper) setAside(cause error) error {
	aside := k.path + ".damaged"
	k.metrics.positionWrites.WithLabelValues("damaged").Inc()
	k.savedAt = 0 // no file is taken for old: all are read from the beginning
	k.log.Error("positions are damaged, all log files are read from their beginning; stores drop the lines they have",
		"err", cause, "file", k.path, "kept_as", aside)
	if err := os.Rename(k.path, aside); err != nil {
		return fmt.Errorf("tail: put the damaged positions file aside: %w", err)
	}
	return nil
}

// of returns the positions of a lane. Those are guarded by k.mu.
func (k *keeper) of(lane string) []*position {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*position(nil), k.lanes[lane]...)
}

// add registers the position of a generation that has none.
func (k *keeper) add(p *position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lanes[p.Lane] = append(k.lanes[p.Lane], p)
	k.dirty = true
}

// remove forgets a position. mu is held.
func (k *keeper) remove(p *position) {
	list := k.lanes[p.Lane]
	for i, e := range list {
		if e == p {
			list = append(list[:i:i], list[i+1:]...)
			k.dirty = true
			break
		}
	}
	if k.lanes[p.Lane] = list; len(list) == 0 {
		delete(k.lanes, p.Lane)
	}
}

// unclaimedPosition is what is known of a position without keeper.mu.
type unclaimedPosition struct {
	position   *position
	lane, path string
	file       fileKey
	done       bool
	// unread is what is known not to be acknowledged, in bytes.
	unread int64
}

// unclaimed lists the positions that no generation goes on with.
func (k *keeper) unclaimed() []unclaimedPosition {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []unclaimedPosition
	for _, positions := range k.lanes {
		for _, p := range positions {
			if !p.claimed {
				list = append(list, unclaimedPosition{
					position: p, lane: p.Lane, path: p.Path, file: p.File, done: p.Done, unread: p.Size - p.Resume.acked(),
				})
			}
		}
	}
	return list
}

// maxMissing is how many scans in a row must miss a file before its position
// is dropped.
const maxMissing = 3

// missed notes whether a scan has found the file of a position. True means
// that it is gone for good, and its position with it.
func (k *keeper) missed(p *position, found bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if found || p.claimed {
		p.missing = 0
		return false
	}
	if p.missing++; p.missing < maxMissing {
		return false
	}
	k.remove(p)
	return true
}

// change runs f, which alters a position.
func (k *keeper) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
	k.dirty = true
}

// save asks for the positions to be written soon; l is woken then.
func (k *keeper) save(l *lane) *ticket {
	t := &ticket{lane: l}
	k.mu.Lock()
	k.tickets = append(k.tickets, t)
	k.dirty = true
	k.mu.Unlock()
	select {
	case k.urgent <- struct{}{}:
	default:
	}
	return t
}

func (k *keeper) ticketState(t *ticket) ticketState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.state
}

// run writes positions when they have changed until ctx ends, and then once more.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(k.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			k.write()
			return
		case <-tick.C:
			k.write()
		case <-k.urgent:
			k.write()
			select {
			case <-ctx.Done():
			case <-time.After(k.urgentInterval()):
			}
		}
	}
}

// urgentInterval is longer while writing fails.
func (k *keeper) urgentInterval() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		return k.interval
	}
	return urgentInterval
}

// write writes the positions if they have changed. An error is logged once
// until it goes away; everything stays in memory for the next attempt.
func (k *keeper) write() {
	var b bytes.Buffer
	k.mu.Lock()
	if !k.dirty {
		k.mu.Unlock()
		return
	}
	var all []*position
	for _, list := range k.lanes {
		all = append(all, list...)
	}
	tickets := k.tickets
	k.tickets, k.dirty = nil, false
	err := encodePositions(&b, all)
	k.mu.Unlock()
	if err == nil {
		err = replaceFile(k.path, b.Bytes())
	}
	k.written(err, tickets)
}

func (k *keeper) written(err error, tickets []*ticket) {
	state, result := ticketSaved, "ok"
	if err != nil {
		state, result = ticketFailed, "failed"
	}
	k.metrics.positionWrites.WithLabelValues(result).Inc()
	k.mu.Lock()
	for _, t := range tickets {
		t.state = state
	}
	if err != nil {
		k.dirty = true
	}
	changed := k.failing != (err != nil)
	k.failing = err != nil
	k.mu.Unlock()
	if changed && err != nil {
		k.log.Error("positions cannot be written; after a crash lines are read again, stores drop those they have", "err", err)
	} else if changed {
		k.log.Info("positions can be written again")
	}
	for _, t := range tickets {
		k.wake(t.lane)
	}
}

// replaceFile replaces a file so that after a crash it is the old or the new one.
func replaceFile(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
