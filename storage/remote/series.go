package remote

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// minCachedSeries is how many series are cached before any are dropped.
	minCachedSeries = 1 << 14
	// maxCachedSeries bounds the cache; past it every series is looked up again.
	maxCachedSeries = 1 << 19
	// maxSymbolBytes bounds the texts of all cached labels.
	maxSymbolBytes = 64 << 20
	// keepSeries is how long a series without samples stays cached. It is
	// longer than usual scrape intervals.
	keepSeries = 10 * time.Minute
	// maxSeriesBytes bounds the labels and metadata of one series, so that any
	// sample fits into a request.
	maxSeriesBytes = 128 << 10
)

var (
	errNoName  = errors.New("series has no metric name")
	errLabels  = errors.New("series has invalid or repeated labels")
	errTooLong = fmt.Errorf("labels and metadata of a series are longer than %d bytes", maxSeriesBytes)
)

// cachedSeries is what encoding a sample needs to know of its series.
type cachedSeries struct {
	series *storage.Series // nil: the place is free
	family *storage.Family // that help, unit and kind come from
	ids    []uint32        // symbol numbers: name, value, name, value, ...
	help   uint32
	unit   uint32
	kind   writev2.Metadata_MetricType
	seen   int64  // Unix seconds of the last sample
	hash   uint64 // of the labels, if the series is in byHash, or 0
}

// seriesCache finds the cachedSeries of a series by the number in its Ref, or
// by a hash of the labels where the caller has no *storage.Series. It never
// trusts a number: a place is valid only if it holds the very series.
type seriesCache struct {
	symbols symbols
	list    []cachedSeries
	free    []uint32
	byHash  map[uint64]uint32 // only series of appenderV2
	limit   int
}

func newSeriesCache() *seriesCache {
	c := &seriesCache{}
	c.reset()
	return c
}

func (c *seriesCache) reset() {
	c.symbols.reset()
	c.list = make([]cachedSeries, 1, 1024) // place 0 means unknown
	c.free = c.free[:0]
	c.byHash = make(map[uint64]uint32)
	c.limit = minCachedSeries
}

// lookup returns the place of s, which it makes at first use. The error says
// why no sample of the series can be sent.
func (c *seriesCache) lookup(s *storage.Series, now int64) (*cachedSeries, error) {
	if ref := s.Ref; ref > 0 && ref < uint64(len(c.list)) && c.list[ref].series == s {
		e := &c.list[ref]
		e.seen = now
		if e.family != s.Family {
			c.setFamily(e)
		}
		return e, nil
	}
	if err := checkSeries(s); err != nil {
		return nil, err
	}
	return c.add(s, now), nil
}

// checkSeries tells whether receivers can accept samples of the series.
func checkSeries(s *storage.Series) error {
	if s.Labels.Get(model.MetricNameLabel) == "" {
		return errNoName
	}
	size := len(s.Family.Help) + len(s.Family.Unit)
	s.Labels.Range(func(l labels.Label) { size += len(l.Name) + len(l.Value) })
	if size > maxSeriesBytes {
		return errTooLong
	}
	if _, repeated := s.Labels.HasDuplicateLabelNames(); repeated || !s.Labels.IsValid(model.UTF8Validation) {
		return errLabels
	}
	return nil
}

func (c *seriesCache) add(s *storage.Series, now int64) *cachedSeries {
	place := uint32(len(c.list))
	if n := len(c.free); n > 0 {
		place, c.free = c.free[n-1], c.free[:n-1]
	} else {
		c.list = append(c.list, cachedSeries{})
	}
	e := &c.list[place]
	*e = cachedSeries{series: s, ids: e.ids[:0], seen: now}
	s.Labels.Range(func(l labels.Label) {
		e.ids = append(e.ids, c.symbols.id(l.Name), c.symbols.id(l.Value))
	})
	c.setFamily(e)
	s.Ref = uint64(place)
	return e
}

func (c *seriesCache) setFamily(e *cachedSeries) {
	e.family = e.series.Family
	e.help, e.unit = c.symbols.id(e.family.Help), c.symbols.id(e.family.Unit)
	e.kind = writev2.FromMetadataType(e.family.Type)
}

// drop forgets a series that has ended.
func (c *seriesCache) drop(s *storage.Series) {
	if s.Ref == 0 || s.Ref >= uint64(len(c.list)) || c.list[s.Ref].series != s {
		return
	}
	e := &c.list[s.Ref]
	if e.hash != 0 {
		delete(c.byHash, e.hash)
	}
	e.series, e.family = nil, nil
	c.free = append(c.free, uint32(s.Ref))
	s.Ref = 0
}

// addHashed is add for a series that find can find.
func (c *seriesCache) addHashed(s *storage.Series, now int64) *cachedSeries {
	e := c.add(s, now)
	e.hash = s.Labels.Hash()
	c.byHash[e.hash] = uint32(s.Ref)
	return e
}

// find returns the cached series with these labels that addHashed added, or
// nil. ref may be anything.
func (c *seriesCache) find(ref uint64, ls labels.Labels) *storage.Series {
	if s := c.at(ref); s != nil && labels.Equal(s.Labels, ls) {
		return s
	}
	if s := c.at(uint64(c.byHash[ls.Hash()])); s != nil && labels.Equal(s.Labels, ls) {
		return s
	}
	return nil
}

func (c *seriesCache) at(ref uint64) *storage.Series {
	if ref == 0 || ref >= uint64(len(c.list)) {
		return nil
	}
	return c.list[ref].series
}

// shrink makes room when the cache has reached its limit: series without
// recent samples go, and with them the symbols that only they used. It must
// not be called while a request is under construction.
func (c *seriesCache) shrink(now int64) {
	if len(c.list) <= c.limit && c.symbols.size <= maxSymbolBytes {
		return
	}
	old := c.list
	c.reset()
	oldest := now - int64(keepSeries/time.Second)
	for i := range old {
		e := &old[i]
		if e.series != nil && e.seen >= oldest && len(c.list) < maxCachedSeries/2 && c.symbols.size < maxSymbolBytes/2 {
			if e.hash != 0 {
				c.addHashed(e.series, e.seen)
			} else {
				c.add(e.series, e.seen)
			}
		}
	}
	c.limit = min(max(minCachedSeries, 2*len(c.list)), maxCachedSeries)
}
