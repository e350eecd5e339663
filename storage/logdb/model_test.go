package logdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// model is a random writer that keeps what it wrote in a plain store too.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	db      *DB
	options Options
	want    *storagetest.Memory
	streams []*storage.Stream
	offsets []int64
	base    int64
	serial  int
	last    []storage.Record
}

func newModel(t *testing.T, seed uint64, o Options) *model {
	m := &model{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), options: o, want: storagetest.NewMemory(),
		base: time.Now().Add(-2 * time.Hour).UnixNano(),
	}
	for i := range 12 {
		m.streams = append(m.streams, &storage.Stream{Labels: labels.FromStrings(
			"namespace", fmt.Sprint("ns", i%3), "pod", fmt.Sprint("pod", i), "stream", []string{"stdout", "stderr"}[i%2])})
		m.offsets = append(m.offsets, 0)
	}
	m.reopen()
	return m
}

// reopen closes the store, if it is open, and opens it again.
func (m *model) reopen() {
	if m.db != nil {
		require.NoError(m.t, m.db.Close())
	}
	db, err := Open(m.options)
	require.NoError(m.t, err)
	m.db = db
}

func (m *model) record() storage.Record {
	i := m.rnd.IntN(len(m.streams))
	m.serial++
	words := []string{"alpha", "Bravo", "charlie", "delta:", "ECHO", "fox=trot", "", "ünïcode"}
	line := fmt.Sprintf("%d %s %s", m.serial, words[m.rnd.IntN(len(words))], words[m.rnd.IntN(len(words))])
	if m.rnd.IntN(50) == 0 {
		line += string(make([]byte, 0)) + fmt.Sprintf("%0*d", m.rnd.IntN(20_000), 7)
	}
	r := storage.Record{
		Stream: m.streams[i], Time: m.base + int64(m.serial/3)*int64(time.Millisecond) - int64(m.rnd.IntN(5))*int64(time.Second),
		Line: []byte(line), Size: int32(len(line)), Level: storage.Level(m.rnd.IntN(storage.Levels)),
	}
	if i%4 != 3 {
		r.Source, r.Offset = storage.SourceID{byte(i), 1}, m.offsets[i]
		m.offsets[i] += int64(len(line)) + int64(m.rnd.IntN(60)) + 1
	} else {
		// Without a source the time must tell records apart for the order to be certain.
		r.Time = m.base - int64(m.serial)
	}
	if m.rnd.IntN(20) == 0 {
		r.Metadata = labels.FromStrings("trace", fmt.Sprint(m.serial))
	}
	if m.rnd.IntN(20) == 0 {
		r.Flags = storage.FlagJoined
	}
	return r
}

// write stores a batch in both, and sometimes the last one again.
func (m *model) write() {
	batch := m.last
	if m.rnd.IntN(5) > 0 || batch == nil {
		batch = nil
		for range m.rnd.IntN(300) {
			batch = append(batch, m.record())
		}
		require.NoError(m.t, m.want.Write(m.t.Context(), batch))
	}
	require.NoError(m.t, m.db.Write(m.t.Context(), batch))
	m.last = batch
}

func (m *model) query() storage.LogQuery {
	q := storage.LogQuery{
		Start: m.base - int64(m.rnd.IntN(10))*int64(time.Second), End: m.base + int64(m.rnd.IntN(10))*int64(time.Second) + 1,
		Order: storage.Order(m.rnd.IntN(3)), NoLine: m.rnd.IntN(4) == 0,
	}
	if m.rnd.IntN(2) == 0 {
		q.Levels = uint8(m.rnd.IntN(1 << storage.Levels))
	}
	if q.Order != storage.Unordered && m.rnd.IntN(2) == 0 {
		q.Limit = 1 + m.rnd.IntN(2000)
	}
	if m.rnd.IntN(2) == 0 {
		q.Matchers = append(q.Matchers, labels.MustNewMatcher(labels.MatchEqual, "namespace", fmt.Sprint("ns", m.rnd.IntN(4))))
	}
	if m.rnd.IntN(4) == 0 {
		q.Matchers = append(q.Matchers, labels.MustNewMatcher(labels.MatchNotRegexp, "pod", "pod[1-4]|x"))
	}
	patterns := []storage.LinePattern{
		{Text: "bravo"},
		{Text: "Bravo"},
		{Text: "fox=trot alp"},
		{Text: "(?i)bravo|echo", Regexp: true},
		{Text: "lph"},
		{Text: "ï"},
		{Text: "000007$", Regexp: true},
		{Text: "alpha.*delta", Regexp: true},
		{Text: fmt.Sprint(m.rnd.IntN(m.serial + 1))},
		{Text: "nowhere"},
	}
	for range m.rnd.IntN(3) {
		f, err := storage.NewLineMatcher(m.rnd.IntN(3) == 0, patterns[m.rnd.IntN(len(patterns))])
		require.NoError(m.t, err)
		q.Lines = append(q.Lines, f)
	}
	return q
}

// TestModel holds the store against the plain one while it writes, cuts,
// merges and is opened again.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			o := Options{Dir: t.TempDir(), HeadBytes: minHeadBytes << (seed % 2), BlockBytes: minBlock << seed, MaxQueryBytes: 32 * kib << (2 * seed)}
			m := newModel(t, seed, o)
			for range 60 {
				switch m.rnd.IntN(12) {
				case 0:
					m.reopen()
				case 1:
					require.NoError(t, m.db.compact(t.Context(), time.Now()))
				default:
					m.write()
				}
				q := m.query()
				storagetest.RequireSame(t, m.want, m.db, q)
				requireSameCount(t, m.want, m.db, q)
			}
			require.NotZero(t, m.db.State().Segments)
			m.reopen()
			storagetest.RequireSame(t, m.want, m.db, storage.LogQuery{End: time.Now().UnixNano(), Order: storage.Ascending})
			require.NoError(t, m.db.Close())
		})
	}
}

func requireSameCount(t *testing.T, want, got storage.LogCounter, q storage.LogQuery) {
	t.Helper()
	step := (q.End-q.Start)/7 + 1
	by := []string{"namespace", storage.LabelLevel}
	a, _, err := want.Count(context.Background(), q, step, by)
	require.NoError(t, err)
	b, exact, err := got.Count(context.Background(), q, step, by)
	require.NoError(t, err)
	require.True(t, exact)
	require.ElementsMatch(t, a, b)
}
