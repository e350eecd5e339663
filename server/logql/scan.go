package logql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// scan reads the records of a range aggregation as samples of series.
type scan struct {
	ctx    context.Context
	store  storage.LogStore
	budget *budget
	plan   *plan
	query  storage.LogQuery
	// group names the labels of series: all if nil.
	group  *Grouping
	unwrap *unwrapper
	// size makes the length of the line the value of a sample, else it is 1.
	size bool

	it      storage.LogIterator
	records []storage.Record
	series  map[string]int
	labels  []labels.Labels
	key     []byte
	pairs   []pair
	builder labels.ScratchBuilder
}

// rangeSample is a sample of the series with this number.
type rangeSample struct {
	series int
	time   int64
	value  float64
}

// next returns the next sample, or io.EOF.
func (s *scan) next() (rangeSample, error) {
	for {
		for len(s.records) > 0 {
			r := &s.records[0]
			s.records = s.records[1:]
			sample, ok, err := s.sample(r)
			if ok || err != nil {
				return sample, err
			}
		}
		if err := s.fill(); err != nil {
			return rangeSample{}, err
		}
	}
}

func (s *scan) fill() error {
	if s.plan.none {
		return io.EOF
	}
	if s.it == nil {
		s.query.MaxBytes = s.budget.maxBytes()
		it, err := s.store.Select(s.ctx, s.query)
		if err != nil {
			return err
		}
		s.it = it
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	var err error
	s.records, err = s.it.Next()
	return err
}

// close must be called once, also after an error.
func (s *scan) close() error {
	if s.it == nil {
		return nil
	}
	s.budget.addStats(s.it.Stats())
	return s.it.Close()
}

// sample passes a record through the pipeline.
func (s *scan) sample(r *storage.Record) (rangeSample, bool, error) {
	line, keep := s.plan.pipeline.run(r)
	if !keep {
		return rangeSample{}, false, nil
	}
	v := &s.plan.pipeline.view
	value := 1.0
	switch {
	case s.unwrap != nil:
		var ok bool
		if value, ok = s.unwrap.value(v); !ok {
			return rangeSample{}, false, nil
		}
	case s.size && s.query.NoLine:
		value = float64(r.Size)
	case s.size:
		value = float64(len(line))
	}
	if v.err != "" {
		return rangeSample{}, false, s.pipelineError(v)
	}
	id, err := s.cachedSeriesOf(v)
	return rangeSample{id, r.Time, value}, true, err
}

// PipelineError means that a stage could not handle a line of a metric query.
type PipelineError struct {
	// Kind is the value of the label __error__, Details that of
	// __error_details__ and Labels are the line's.
	Kind, Details string
	Labels        labels.Labels
}

// Error is Loki's text, with which it is known how to go on.
func (e *PipelineError) Error() string {
	return fmt.Sprintf("pipeline error: '%s' for series: '%s'.\n"+
		"Use a label filter to intentionally skip this error. (e.g | __error__!=\"%s\").\n"+
		"To skip all potential errors you can match empty errors.(e.g __error__=\"\")\n"+
		"The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n", e.Kind, e.Labels, e.Kind)
}

func (s *scan) pipelineError(v *view) error {
	kind, details := strings.Clone(v.err), strings.Clone(v.errDetails)
	return &PipelineError{kind, details, buildLabels(&s.builder, v.visible(nil))}
}

// cachedSeriesOf remembers the series of a stream's records of a level that
// have no other labels.
func (s *scan) cachedSeriesOf(v *view) (int, error) {
	if !v.plain() {
		return s.seriesOf(v)
	}
	cached := &v.stream.series[v.level]
	if *cached == 0 {
		id, err := s.seriesOf(v)
		*cached = id + 1
		return id, err
	}
	return *cached - 1, nil
}

// seriesOf returns the number of the series that the labels belong to.
func (s *scan) seriesOf(v *view) (int, error) {
	s.pairs = s.pairs[:0]
	if s.group != nil && !s.group.Without {
		for _, name := range s.group.Labels {
			if value, ok := v.get(name); ok && value != "" && !s.unwraps(name) {
				s.pairs = append(s.pairs, pair{name, value})
			}
		}
	} else {
		s.pairs = v.visible(s.pairs)
		s.pairs = slices.DeleteFunc(s.pairs, func(p pair) bool {
			return s.unwraps(p.name) || s.group != nil && slices.Contains(s.group.Labels, p.name)
		})
		sortPairs(s.pairs)
	}
	s.key = s.key[:0]
	for _, p := range s.pairs {
		s.key = append(append(s.key, p.name...), 0xff)
		s.key = append(append(s.key, p.value...), 0xff)
	}
	if id, ok := s.series[string(s.key)]; ok {
		return id, nil
	}
	// The key is kept twice: here and as labels.
	id, err := s.addSeries(buildLabels(&s.builder, s.pairs), 2*len(s.key))
	s.series[string(s.key)] = id
	return id, err
}

func (s *scan) unwraps(name string) bool { return s.unwrap != nil && s.unwrap.label == name }

func (s *scan) addSeries(l labels.Labels, bytes int) (int, error) {
	s.labels = append(s.labels, l)
	return len(s.labels) - 1, s.budget.addSeries(bytes)
}

// unwrapper takes samples from a label.
type unwrapper struct {
	label   string
	convert func(string) (float64, error)
	filters []filterFunc
}

func newUnwrapper(u *Unwrap) (*unwrapper, error) {
	if u == nil {
		return nil, nil
	}
	w := &unwrapper{label: u.Label}
	switch u.Conversion {
	case "duration", "duration_seconds":
		w.convert = durationSeconds
	case "bytes":
		w.convert = UnitBytes.parse
	default:
		w.convert = func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	}
	for _, f := range u.Filters {
		check, err := compileFilter(f)
		if err != nil {
			return nil, err
		}
		w.filters = append(w.filters, check)
	}
	return w, nil
}

// value returns false for a record that has no sample.
func (u *unwrapper) value(v *view) (float64, bool) {
	text, ok := v.get(u.label)
	if !ok || text == "" {
		return 0, false
	}
	value, err := u.convert(text)
	if err != nil {
		v.setError(errSample, err.Error())
	}
	for _, holds := range u.filters {
		if !holds(v) {
			return 0, false
		}
	}
	return value, true
}

// labelsNeeded are the labels that a range aggregation uses.
func labelsNeeded(e *RangeAgg, group *Grouping) needs {
	if group == nil || group.Without {
		return needAll
	}
	n := needNames(group.Labels...)
	if e.Unwrap != nil {
		n.add(e.Unwrap.Label)
		for _, f := range e.Unwrap.Filters {
			n.add(filterLabels(f)...)
		}
	}
	return n
}

// notEOF is err without io.EOF.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
