package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// silence is how long a server that is there never keeps quiet: it tells
	// of its progress every 15 seconds.
	silence = 50 * time.Second
	// firstRetry and lastRetry bound the time between two attempts to connect.
	firstRetry, lastRetry = 200 * time.Millisecond, 5 * time.Second
	// overlap is how much of the past is asked for again after a lost
	// connection: lines of that age may have reached the server since.
	overlap = time.Minute
	// maxSeen bounds the lines that are remembered to recognise repeats.
	maxSeen = 100_000
)

// follower prints lines as they are written, and connects again when the
// server goes, without gap or repeat.
type follower struct {
	c     *logClient
	query queryRequest
	// each is called for every line once, idle before it waits for more.
	each func(*logEntry) error
	idle func() error

	seen *seenLines
	// floor is the time before which lines were not asked for.
	floor     int64
	connected bool
}

// run follows until ctx ends or the server refuses.
func (f *follower) run(ctx context.Context) error {
	f.seen = newSeenLines(maxSeen)
	if !f.query.window.start.IsZero() {
		f.floor = f.query.window.start.UnixNano()
	}
	retry, lost := firstRetry, false
	for {
		connected, err := f.connection(ctx, func() {
			if lost {
				f.c.note("connected to %s again", f.c.settings.addr)
			}
			lost, retry = false, firstRetry
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.connected = f.connected || connected
		if !f.worthRetrying(err) {
			return err
		}
		if !lost {
			f.c.note("%v; trying again", err)
			lost = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry/2 + rand.N(retry/2)):
		}
		retry = min(2*retry, lastRetry)
	}
}

// lostError is the end of a connection that may be made again.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// worthRetrying tells errors that pass from those that stay. Before the first
// connection nothing passes: the address may be wrong.
func (f *follower) worthRetrying(err error) bool {
	var refused *refusal
	var lost *lostError
	switch {
	case !f.connected:
		return false
	case errors.As(err, &refused):
		return refused.status >= http.StatusInternalServerError || refused.status == http.StatusTooManyRequests
	default:
		return errors.As(err, &lost)
	}
}

// connection follows until the connection is lost. on is called when it is
// made.
func (f *follower) connection(ctx context.Context, on func()) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()

	body, err := f.c.get(ctx, "tail", f.params(), ndjson)
	if err != nil {
		if _, ok := errors.AsType[*refusal](err); ok {
			return false, err
		}
		return false, &lostError{err}
	}
	defer body.Close()
	on()
	first := !f.connected
	end, err := f.c.readLines(ctx, body, func(e *logEntry) error {
		if first && f.query.limit > 0 {
			f.floor = e.ns
		}
		first = false
		if f.seen.repeats(e) {
			return nil
		}
		if err := f.each(e); err != nil {
			return err
		}
		f.seen.add(e)
		return nil
	}, func() error {
		watch.Reset(silence)
		return f.idle()
	})
	var cut *cutError
	switch {
	case errors.As(err, &cut), err != nil && ctx.Err() != nil:
		return true, &lostError{fmt.Errorf("the connection to %s is lost", f.c.settings.addr)}
	case err != nil:
		return true, err
	case end.Error != "":
		return true, fmt.Errorf("%s: %s", f.c.settings.addr, end.Error)
	default:
		return true, &lostError{fmt.Errorf("%s stops", f.c.settings.addr)}
	}
}

// params ask for the lines from where the last connection ended.
func (f *follower) params() url.Values {
	if !f.connected || f.seen.newest == 0 {
		params := f.query.values()
		params.Del("direction")
		return params
	}
	from := max(f.floor, f.seen.newest-int64(overlap), f.seen.forgotten+1)
	f.seen.expectRepeats(from)
	return url.Values{"query": {f.query.expr}, "limit": {"0"}, "start": {nanoseconds(from)}}
}

// seenLines remembers the last lines, to recognise them when they come again.
type seenLines struct {
	ring []seenLine
	next int
	seed maphash.Seed
	// newest is the latest time of all lines, forgotten that of the lines that
	// are remembered no more.
	newest, forgotten int64
	// expected counts the lines that may come again.
	expected map[seenLine]int
}

// seenLine identifies a line: by its id, or by all it says where it has none.
type seenLine struct {
	id   string
	ns   int64
	hash uint64
}

func newSeenLines(most int) *seenLines {
	return &seenLines{ring: make([]seenLine, 0, most), seed: maphash.MakeSeed()}
}

func (s *seenLines) key(e *logEntry) seenLine {
	if e.id != "" {
		return seenLine{id: e.id, ns: e.ns}
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, text := range []string{e.source.namespace, e.source.pod, e.source.container, e.source.filename, e.line} {
		_, _ = h.WriteString(strconv.Itoa(len(text)))
		_, _ = h.WriteString(text)
	}
	return seenLine{ns: e.ns, hash: h.Sum64()}
}

// add remembers a line, in place of the oldest when there are too many.
func (s *seenLines) add(e *logEntry) {
	s.newest = max(s.newest, e.ns)
	if len(s.ring) < cap(s.ring) {
		s.ring = append(s.ring, s.key(e))
		return
	}
	s.forgotten = max(s.forgotten, s.ring[s.next].ns)
	s.ring[s.next] = s.key(e)
	s.next = (s.next + 1) % len(s.ring)
}

// expectRepeats prepares for lines from a time on to come again.
func (s *seenLines) expectRepeats(from int64) {
	s.expected = map[seenLine]int{}
	for _, line := range s.ring {
		if line.ns >= from {
			s.expected[line]++
		}
	}
}

// repeats tells whether a line is one of those that come again. Lines without
// an id that are all the same count: only as many as there were are repeats.
func (s *seenLines) repeats(e *logEntry) bool {
	key := s.key(e)
	n := s.expected[key]
	switch n {
	case 0:
		return false
	case 1:
		delete(s.expected, key)
	default:
		s.expected[key] = n - 1
	}
	return true
}
