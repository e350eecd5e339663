package logql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// VolumeQuery asks how many bytes of text there are.
type VolumeQuery struct {
	// Matchers select streams, and records by their level.
	Matchers []*labels.Matcher
	// Start and End bound the times: Start <= Time < End, in ns.
	Start, End int64
	// Step is the width of a bucket; 0 asks for one sum, for which whole blocks
	// of the store may be counted that are partly outside of the span.
	Step time.Duration
	// TargetLabels tell the results apart. None: those that Matchers name, or
	// all if they name none.
	TargetLabels []string
	// ByName adds up per name of a label instead of per combination of values.
	ByName bool
	// Limit is how many results to return, the largest first; 0 is all.
	Limit int
}

// Volume is one result of a VolumeQuery.
type Volume struct {
	// Labels tell it apart; with ByName it is Name that does.
	Labels labels.Labels
	Name   string
	// Bytes has one value a bucket, [Start+i*Step, Start+(i+1)*Step). Total is
	// their sum.
	Bytes []int64
	Total int64
}

// Volume answers q, largest first.
func (e *Engine) Volume(ctx context.Context, q VolumeQuery) ([]Volume, Stats, error) {
	var result []Volume
	stats, err := e.run(ctx, "volume", func(ctx context.Context, b *budget) error {
		if q.Step < 0 || q.Step > 0 && (q.End-q.Start)/int64(q.Step) >= maxSteps {
			return errSteps
		}
		v := &volumes{query: q, budget: b, results: map[string]*Volume{}}
		if err := e.volumes(ctx, v); err != nil {
			return err
		}
		result = v.sorted()
		return nil
	})
	return result, stats, err
}

func (e *Engine) volumes(ctx context.Context, v *volumes) error {
	q := v.query
	p, err := newPlan(&LogExpr{Matchers: q.Matchers}, needNames())
	if err != nil || p.none || q.End <= q.Start {
		return err
	}
	v.names = q.TargetLabels
	for _, m := range q.Matchers {
		if len(q.TargetLabels) == 0 && !slices.Contains(v.names, m.Name) {
			v.names = append(v.names, m.Name)
		}
	}
	levels := p.levels != 0 || slices.ContainsFunc(v.names, isLevel)
	if q.Step > 0 || levels {
		return e.countVolumes(ctx, v, p)
	}
	streams, err := e.opts.Store.Streams(ctx, p.matchers, q.Start, q.End)
	if err != nil {
		return err
	}
	for _, s := range streams {
		if err := v.add(s.Labels, []int64{s.Bytes}); err != nil {
			return err
		}
	}
	return nil
}

// countVolumes counts records by the labels that tell results apart.
func (e *Engine) countVolumes(ctx context.Context, v *volumes, p *plan) error {
	q := v.query
	by := countLabels(v.names)
	if len(by) == 0 {
		streams, err := e.opts.Store.Streams(ctx, p.matchers, q.Start, q.End)
		if err != nil {
			return err
		}
		by = labelNames(streams)
	}
	lq := p.query(q.Start, q.End)
	lq.MaxBytes = v.budget.maxBytes()
	step := int64(q.Step)
	if step == 0 {
		step = q.End - q.Start
	}
	if counter, ok := e.opts.Store.(storage.LogCounter); ok {
		counts, exact, err := counter.Count(ctx, lq, step, by)
		if err != nil {
			return err
		}
		if exact {
			for _, c := range counts {
				if err := v.add(c.Labels, c.Bytes); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return e.readVolumes(ctx, v, lq, step, by)
}

func labelNames(streams []storage.StreamInfo) []string {
	seen := map[string]bool{}
	var names []string
	for _, s := range streams {
		s.Labels.Range(func(l labels.Label) {
			if !seen[l.Name] {
				seen[l.Name] = true
				names = append(names, l.Name)
			}
		})
	}
	slices.Sort(names)
	return names
}

// readVolumes counts for stores that cannot.
func (e *Engine) readVolumes(ctx context.Context, v *volumes, q storage.LogQuery, step int64, by []string) error {
	q.NoLine = true
	b := labels.NewBuilder(labels.EmptyLabels())
	levels := slices.Contains(by, storage.LabelLevel)
	buckets := make([]int64, (q.End-q.Start+step-1)/step)
	return e.selectRecords(ctx, q, v.budget, func(r *storage.Record) error {
		b.Reset(r.Stream.Labels)
		b.Keep(by...)
		if levels {
			b.Set(storage.LabelLevel, r.Level.String())
		}
		i := (r.Time - q.Start) / step
		buckets[i] = int64(r.Size)
		err := v.add(b.Labels(), buckets)
		buckets[i] = 0
		return err
	})
}

// volumes adds up results.
type volumes struct {
	query   VolumeQuery
	budget  *budget
	names   []string
	results map[string]*Volume
}

func (v *volumes) add(l labels.Labels, bytes []int64) error {
	if !v.query.ByName {
		if len(v.names) > 0 {
			l = v.pick(l)
		}
		return v.addTo(string(l.Bytes(nil)), Volume{Labels: l}, bytes)
	}
	var err error
	l.Range(func(one labels.Label) {
		if err == nil && one.Value != "" && (len(v.query.TargetLabels) == 0 || slices.Contains(v.names, one.Name)) {
			err = v.addTo(one.Name, Volume{Name: one.Name}, bytes)
		}
	})
	return err
}

// pick leaves the labels that tell results apart.
func (v *volumes) pick(l labels.Labels) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, name := range v.names {
		source := name
		if name == detectedLevel {
			source = storage.LabelLevel
		}
		b.Set(name, l.Get(source))
	}
	return b.Labels()
}

func (v *volumes) addTo(key string, empty Volume, bytes []int64) error {
	r := v.results[key]
	if r == nil {
		r = &empty
		r.Bytes = make([]int64, len(bytes))
		v.results[key] = r
		if err := v.budget.addSeries(len(key)); err != nil {
			return err
		}
		if err := v.budget.addSamples(len(bytes)); err != nil {
			return err
		}
	}
	for i, n := range bytes {
		r.Bytes[i] += n
		r.Total += n
	}
	return nil
}

func (v *volumes) sorted() []Volume {
	list := make([]Volume, 0, len(v.results))
	for _, r := range v.results {
		if r.Total > 0 {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b Volume) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), labels.Compare(a.Labels, b.Labels), cmp.Compare(a.Name, b.Name))
	})
	if v.query.Limit > 0 && len(list) > v.query.Limit {
		list = list[:v.query.Limit]
	}
	return list
}

// String names a result as Loki does.
func (v Volume) String() string {
	if v.Name != "" {
		return v.Name
	}
	return fmt.Sprint(v.Labels)
}
