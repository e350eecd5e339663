//go:build system

package elasticsearch

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// itemsRejected: every tenth item of every bulk request is rejected.
func (s *Server) itemsRejected(t *testing.T) {
	p := newProxy(t, s)
	p.rejectEvery = 10
	o := s.options()
	o.URLs = []string{p.URL}
	store := open(t, o)
	l := newLedger(8, 2000, time.Now().Add(-time.Hour))
	seen := l.deliverAll(t, store, 500, nil)
	require.Positive(t, seen.partial.Load())
	require.Greater(t, p.rejected.Load(), int64(1500))
	l.requireExact(t, store)
}

// cutAndRolledOver: connections are cut after the request was carried out, and
// a new index begins before the batch is sent again.
func (s *Server) cutAndRolledOver(t *testing.T) {
	p := newProxy(t, s)
	o := s.options()
	o.URLs = []string{p.URL}
	store := open(t, o)
	l := newLedger(4, 3000, time.Now())
	var requests, cuts atomic.Int64
	p.cut = func() bool {
		if requests.Add(1)%6 != 0 || cuts.Load() == 5 {
			return false
		}
		cuts.Add(1)
		s.rollOver(t, o.Index)
		return true
	}
	seen := l.deliverAll(t, store, 300, nil)
	require.EqualValues(t, 5, cuts.Load())
	require.GreaterOrEqual(t, seen.failed.Load(), int64(5), "a search may fail beside them, while a new index starts")
	l.requireExact(t, store)
}

// agentKilled: a process is killed between the answer of the server and the
// saving of its position; a new index begins before the next process sends
// everything again. Some of the earlier process' items were rejected, so that
// what is stored has gaps.
func (s *Server) agentKilled(t *testing.T) {
	p := newProxy(t, s)
	p.rejectEvery = 7
	o := s.options()
	o.URLs = []string{p.URL}
	l := newLedger(5, 400, time.Now().Add(-time.Second))
	for kill := range 3 {
		before := open(t, o)
		for _, of := range l.records {
			// Whatever it answers is not heard.
			_ = before.Write(t.Context(), of[:100*(kill+1)])
		}
		require.NoError(t, before.Close())
		s.rollOver(t, o.Index)
		o = s.sameIndex(o)
	}
	p.rejectEvery = 0
	after := open(t, o)
	l.deliverAll(t, after, 150, nil)
	l.requireExact(t, after)
}

// deadLetters: what the mapping does not take is kept apart, once.
func (s *Server) deadLetters(t *testing.T) {
	o := s.options()
	store := open(t, o)
	l := newLedger(2, 20, time.Now())
	bad := newLedger(1, 1, time.Now().Add(-time.Hour)).records[0]
	bad[0].Time = -1 // date_nanos begins in 1970
	bad[0].Source = storage.SourceID{9}
	batch := append(append([]storage.Record{}, l.records[0]...), bad...)
	batch = append(batch, l.records[1]...)
	require.NoError(t, store.Write(t.Context(), batch))
	require.NoError(t, store.Write(t.Context(), batch))
	l.requireExact(t, store)

	s.Call(t, http.MethodPost, "/dead-letters-"+o.Index+"/_refresh", "")
	var found struct {
		Hits struct {
			Hits []struct {
				ID     string `json:"_id"`
				Source struct {
					Error struct{ Type, Message string }
					Event struct{ Original string }
				} `json:"_source"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(s.Call(t, http.MethodGet, "/dead-letters-"+o.Index+"/_search", ""), &found))
	require.Len(t, found.Hits.Hits, 1)
	letter := found.Hits.Hits[0]
	require.Equal(t, bad[0].ID().String(), letter.ID)
	require.NotEmpty(t, letter.Source.Error.Type)
	require.NotEmpty(t, letter.Source.Error.Message)
	require.Contains(t, letter.Source.Event.Original, string(bad[0].Line))
	require.True(t, json.Valid([]byte(letter.Source.Event.Original)))
}

// overloaded runs on a server with tiny limits: it answers 413 to large
// requests and 429 to many.
func (s *Server) overloaded(t *testing.T) {
	store := open(t, s.options())
	l := newLedger(12, 4000, time.Now())
	seen := l.deliverAll(t, store, 4000, nil)
	t.Logf("%d partial failures, %d times too large, %d failures", seen.partial.Load(), seen.tooLarge.Load(), seen.failed.Load())
	require.Positive(t, seen.tooLarge.Load(), "no 413")
	require.Positive(t, seen.partial.Load(), "no 429")
	l.requireExact(t, store)
}

// killed: the server is killed while records are written, and starts again
// after a while.
func (s *Server) killed(t *testing.T) {
	store := open(t, s.options())
	l := newLedger(6, 3000, time.Now())
	var once sync.Once
	var written atomic.Int64
	var restarted sync.WaitGroup
	seen := l.deliverAll(t, store, 200, func() {
		if written.Add(1) == 30 {
			once.Do(func() {
				s.Kill(t)
				restarted.Go(func() { s.Restart(t) })
			})
		}
	})
	restarted.Wait()
	require.Positive(t, seen.failed.Load())
	l.requireExact(t, store)
}
