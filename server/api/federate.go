package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc" //nolint:depguard // the type of every store's iterators, not a store
	"github.com/prometheus/prometheus/util/httputil"
)

const federatePath = "/federate"

// maxFederated bounds the series of one answer, which is kept in memory until
// it is sorted: a million take about 200 MB.
const maxFederated = 1_000_000

// federation serves the newest sample of the series that match, for another
// server to scrape. Upstream's own handler is private to its package web; the
// answers are the same.
type federation struct {
	api    *API
	parser parser.Parser
	now    func() time.Time
	max    int
	failed prometheus.Counter
}

func newFederation(a *API) *federation {
	f := &federation{
		api:    a,
		parser: parser.NewParser(parser.Options{}),
		now:    time.Now,
		max:    maxFederated,
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "binnacle_federation_errors_total",
			Help: "Federation requests that could not be answered completely.",
		}),
	}
	a.opts.Registry.MustRegister(f.failed)
	return f
}

// federated is the newest sample of one series.
type federated struct {
	name   string
	labels labels.Labels
	t      int64
	v      float64
	h      *histogram.FloatHistogram // nil for a float
}

// ServeHTTP answers in the exposition format that the client asks for, packed
// if it can unpack.
func (f *federation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	httputil.CompressionHandler{Handler: http.HandlerFunc(f.serve)}.ServeHTTP(w, r)
}

func (f *federation) serve(w http.ResponseWriter, r *http.Request) {
	selectors, err := f.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	samples, err := f.collect(r, selectors)
	if err != nil {
		f.failed.Inc()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	enc := newFederationEncoder(w, format, f.api.opts.Config().GlobalConfig.ExternalLabels)
	for _, s := range samples {
		if err = enc.add(s); err != nil {
			break
		}
	}
	if err == nil {
		err = enc.flush()
	}
	if err != nil {
		// The status is gone; a client that left is the usual reason.
		f.failed.Inc()
		f.api.opts.Logger.Warn("Federation was not answered completely.", "err", err)
	}
}

// collect returns the newest samples within the lookback, sorted by metric.
func (f *federation) collect(r *http.Request, selectors [][]*labels.Matcher) ([]federated, error) {
	maxt := f.now().UnixMilli()
	mint := maxt - f.api.opts.Lookback.Milliseconds()
	q, err := f.api.opts.Storage.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := q.Close(); err != nil {
			f.api.opts.Logger.Warn("Cannot close the reader of a federation request.", "err", err)
		}
	}()
	hints := &storage.SelectHints{Start: mint, End: maxt}
	sets := make([]storage.SeriesSet, 0, len(selectors))
	for _, matchers := range selectors {
		sets = append(sets, q.Select(r.Context(), true, hints, matchers...))
	}
	set := storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	var samples []federated
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		it = series.Iterator(it)
		s, ok, err := newest(it, mint, maxt)
		if err != nil {
			return nil, fmt.Errorf("read series %s: %w", series.Labels(), err)
		}
		if s.labels = series.Labels(); !ok {
			continue
		}
		if len(samples) == f.max {
			return nil, fmt.Errorf("more than %d series match; narrow match[]", f.max)
		}
		s.name = s.labels.Get(model.MetricNameLabel)
		samples = append(samples, s)
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(samples, func(a, b federated) int { return cmp.Compare(a.name, b.name) })
	return samples, nil
}

// newest returns the last sample within the given times, and false when there
// is none or it says that the series has ended: the exposition formats cannot
// express that.
func newest(it chunkenc.Iterator, mint, maxt int64) (s federated, ok bool, err error) {
	var h *histogram.FloatHistogram // reused
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		t := it.AtT()
		if t > maxt {
			break
		}
		if t < mint {
			continue
		}
		s.t, s.h, ok = t, nil, true
		if typ == chunkenc.ValFloat {
			_, s.v = it.At()
			continue
		}
		_, h = it.AtFloatHistogram(h)
		s.h = h
	}
	if err := it.Err(); err != nil {
		return s, false, err
	}
	if s.h != nil {
		return s, !value.IsStaleNaN(s.h.Sum), nil
	}
	return s, ok && !value.IsStaleNaN(s.v), nil
}
