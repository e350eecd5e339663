package logql

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func volumeRecords() []storage.Record {
	a := &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", "a")}
	b := &storage.Stream{Labels: labels.FromStrings("namespace", "shop", "pod", "b")}
	c := &storage.Stream{Labels: labels.FromStrings("namespace", "infra", "pod", "c", "rack", "1")}
	var records []storage.Record
	for i, s := range []*storage.Stream{a, b, c, a, a} {
		records = append(records, storage.Record{
			Stream: s, Time: int64(i) * second, Source: storage.SourceID{byte(i + 1)}, Line: make([]byte, 10*(i+1)), Level: storage.Level(i % 3),
		})
	}
	for i := range records {
		for j := range records[i].Line {
			records[i].Line[j] = 'x'
		}
	}
	return records
}

func TestVolume(t *testing.T) {
	shop := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "namespace", "shop")}
	warn := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "level", "debug")}
	for name, c := range map[string]struct {
		query VolumeQuery
		want  []string
		bytes []int64 // of the first
	}{
		"all streams":     {VolumeQuery{}, []string{`{namespace="shop", pod="a"}`, `{namespace="infra", pod="c", rack="1"}`, `{namespace="shop", pod="b"}`}, []int64{100}},
		"by matcher":      {VolumeQuery{Matchers: shop}, []string{`{namespace="shop"}`}, []int64{120}},
		"by target":       {VolumeQuery{TargetLabels: []string{"pod"}, Limit: 2}, []string{`{pod="a"}`, `{pod="c"}`}, []int64{100}},
		"by name":         {VolumeQuery{ByName: true}, []string{"namespace", "pod", "rack"}, []int64{150}},
		"by target names": {VolumeQuery{ByName: true, TargetLabels: []string{"rack"}}, []string{"rack"}, []int64{30}},
		"in steps":        {VolumeQuery{Step: 2 * time.Second, TargetLabels: []string{"namespace"}}, []string{`{namespace="shop"}`, `{namespace="infra"}`}, []int64{30, 40, 50}},
		"all in steps":    {VolumeQuery{Step: 5 * time.Second}, []string{`{namespace="shop", pod="a"}`, `{namespace="infra", pod="c", rack="1"}`, `{namespace="shop", pod="b"}`}, []int64{100}},
		"by level":        {VolumeQuery{TargetLabels: []string{"detected_level"}}, []string{`{detected_level="trace"}`, `{}`, `{detected_level="debug"}`}, []int64{70}},
		"of a level":      {VolumeQuery{Matchers: warn, TargetLabels: []string{"pod"}}, []string{`{pod="c"}`}, []int64{30}},
		"empty":           {VolumeQuery{End: -1}, nil, nil},
	} {
		for _, counter := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				store := storagetest.NewMemory()
				require.NoError(t, store.Write(t.Context(), volumeRecords()))
				opts := Options{Store: store}
				if !counter {
					opts.Store = struct{ storage.LogStore }{store}
				}
				e, err := New(opts)
				require.NoError(t, err)
				q := c.query
				if q.End == 0 {
					q.End = 5 * second
				}
				got, _, err := e.Volume(t.Context(), q)
				require.NoError(t, err)
				var names []string
				for _, v := range got {
					names = append(names, v.String())
				}
				require.Equal(t, c.want, names)
				if len(got) > 0 {
					require.Equal(t, c.bytes, got[0].Bytes)
				}
			})
		}
	}
}

func TestVolumeLimits(t *testing.T) {
	e, _ := newEngine(t, Options{MaxSeries: 2}, volumeRecords()...)
	_, _, err := e.Volume(t.Context(), VolumeQuery{End: 5 * second})
	require.ErrorIs(t, err, storage.ErrQueryLimit)
	_, _, err = e.Volume(t.Context(), VolumeQuery{End: 1e6 * second, Step: time.Second})
	require.ErrorIs(t, err, errSteps)
}
