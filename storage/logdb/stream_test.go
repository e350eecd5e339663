package logdb

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// TestStreamIndex finds what matchers select, and forgets streams that nobody
// uses.
func TestStreamIndex(t *testing.T) {
	x := newStreamIndex()
	var all []*stream
	for i := range 100 {
		all = append(all, x.acquire(podStream(i).Labels))
	}
	require.Same(t, all[7], x.acquire(podStream(7).Labels))
	x.release(all[7:8])
	require.Equal(t, 100, x.len())
	find := func(matchers ...*labels.Matcher) int {
		set, n := x.find(matchers)
		got := 0
		for _, s := range all {
			if set.has(s) {
				got++
			}
		}
		require.Equal(t, n, got)
		return n
	}
	m := labels.MustNewMatcher
	require.Equal(t, 20, find(m(labels.MatchEqual, "namespace", "ns1")))
	require.Equal(t, 1, find(m(labels.MatchEqual, "namespace", "ns1"), m(labels.MatchEqual, "pod", "pod11")))
	require.Equal(t, 0, find(m(labels.MatchEqual, "namespace", "ns1"), m(labels.MatchEqual, "pod", "pod12")))
	require.Equal(t, 11, find(m(labels.MatchRegexp, "pod", "pod1.?")))
	require.Equal(t, 80, find(m(labels.MatchNotEqual, "namespace", "ns1")))
	require.Equal(t, 100, find(m(labels.MatchEqual, "absent", "")))
	require.Equal(t, 0, find(m(labels.MatchNotEqual, "absent", "")))
	require.Equal(t, 100, find(m(labels.MatchRegexp, "absent", ".*")))
	_, n := x.find(nil)
	require.Equal(t, -1, n, "all")

	x.release(all[1:])
	all = all[:1]
	require.Equal(t, 1, x.len())
	require.Equal(t, 1, find(m(labels.MatchRegexp, "pod", ".+")))
	x.release(all)
	require.Zero(t, x.len())
	require.Empty(t, x.byLabel)
	require.Empty(t, x.byHash)
}

// TestStreamsAreForgotten: the index does not grow with pods that are gone.
func TestStreamsAreForgotten(t *testing.T) {
	db := open(t, Options{})
	for i := range 50 {
		write(t, db, lines(i, 0, 1, hourAgo()))
		write(t, db, lines(i, 0, 1, hourAgo()))
	}
	require.Equal(t, 50, db.State().Streams)
	cutNow(t, db)
	require.Equal(t, 50, db.State().Streams)
	db.drop(db.segments[0], dropBytes)
	require.Zero(t, db.State().Streams)
	write(t, db, lines(1, 1, 1, hourAgo()))
	require.Len(t, read(t, db, always()), 1)
}

func BenchmarkFindStreams(b *testing.B) {
	x := newStreamIndex()
	for i := range 10_000 {
		x.acquire(podStream(i).Labels)
	}
	for _, m := range []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "pod", "pod4711"),
		labels.MustNewMatcher(labels.MatchEqual, "namespace", "ns1"),
		labels.MustNewMatcher(labels.MatchRegexp, "pod", "pod4.*"),
		labels.MustNewMatcher(labels.MatchNotRegexp, "pod", "pod4.*"),
	} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			for b.Loop() {
				x.find([]*labels.Matcher{m})
			}
		})
	}
}
