package tsdb

import (
	"log/slog"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// recordChecker decodes records of the log, reusing its buffers.
type recordChecker struct {
	decoder record.Decoder

	series     []record.RefSeries
	samples    []record.RefSample
	stones     []tombstones.Stone
	exemplars  []record.RefExemplar
	markers    []record.RefMmapMarker
	metadata   []record.RefMetadata
	histograms []record.RefHistogramSample
	floats     []record.RefFloatHistogramSample

	// known are the series seen so far; nil if nobody asks for orphans.
	known map[uint64]struct{}
	// orphans counts samples of series that are not known.
	orphans int
	// newest is the latest timestamp of a float sample so far.
	newest int64
	// lostFrom and lostTo are the samples' times around everything that could
	// not be read; 0 is not known, as at the log's beginning and end.
	lostFrom, lostTo int64
	// inGap says that the next sample ends a gap.
	inGap bool
}

func newRecordChecker() *recordChecker {
	return &recordChecker{decoder: record.NewDecoder(nil, slog.New(slog.DiscardHandler))}
}

// damaged notes when what could not be read was written.
func (c *recordChecker) damaged() {
	if c.lostFrom == 0 {
		c.lostFrom = c.newest
	}
	c.lostTo, c.inGap = 0, true
}

// record decodes one record. Types that this version does not know pass, as
// upstream skips them.
func (c *recordChecker) record(rec []byte) (err error) {
	switch c.decoder.Type(rec) {
	case record.Series:
		c.series, err = c.decoder.Series(rec, c.series[:0])
		c.noteSeries()
	case record.Samples, record.SamplesV2:
		c.samples, err = c.decoder.Samples(rec, c.samples[:0])
		c.noteSamples()
	case record.Tombstones:
		c.stones, err = c.decoder.Tombstones(rec, c.stones[:0])
	case record.Exemplars:
		c.exemplars, err = c.decoder.Exemplars(rec, c.exemplars[:0])
	case record.MmapMarkers:
		c.markers, err = c.decoder.MmapMarkers(rec, c.markers[:0])
	case record.Metadata:
		c.metadata, err = c.decoder.Metadata(rec, c.metadata[:0])
	case record.HistogramSamples, record.HistogramSamplesV2, record.CustomBucketsHistogramSamples:
		c.histograms, err = c.decoder.HistogramSamples(rec, c.histograms[:0])
		for _, h := range c.histograms {
			c.noteSample(h.Ref)
		}
	case record.FloatHistogramSamples, record.FloatHistogramSamplesV2, record.CustomBucketsFloatHistogramSamples:
		c.floats, err = c.decoder.FloatHistogramSamples(rec, c.floats[:0])
		for _, h := range c.floats {
			c.noteSample(h.Ref)
		}
	}
	return err
}

func (c *recordChecker) noteSeries() {
	if c.known == nil {
		return
	}
	for _, s := range c.series {
		c.known[uint64(s.Ref)] = struct{}{}
	}
}

func (c *recordChecker) noteSamples() {
	if c.inGap && len(c.samples) > 0 {
		c.lostTo, c.inGap = c.samples[0].T, false
	}
	for _, s := range c.samples {
		c.newest = max(c.newest, s.T)
		c.noteSample(s.Ref)
	}
}

func (c *recordChecker) noteSample(ref chunks.HeadSeriesRef) {
	if c.known == nil {
		return
	}
	if _, ok := c.known[uint64(ref)]; !ok {
		c.orphans++
	}
}
