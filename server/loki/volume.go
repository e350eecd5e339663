package loki

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// maxVolumeCells bounds the numbers that a volume over time keeps: groups
// times steps.
const maxVolumeCells = 2_000_000

// volumeQuery are the parameters of the two endpoints.
type volumeQuery struct {
	matchers   []*labels.Matcher
	start, end int64
	step       time.Duration
	// by are the labels to group by; nil for all labels that there are.
	by []string
	// names tells to sum up by each label alone, whatever its value.
	names bool
	limit int
}

// volumes is the bytes of one group, per step.
type volumes struct {
	labels labels.Labels
	bytes  []int64
	total  int64
}

// serveVolume answers with the bytes of each group over the whole span.
func (h *Handler) serveVolume(w http.ResponseWriter, r *http.Request) {
	q, err := h.volumeQuery(h.params(r))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	q.step = time.Duration(max(1, q.end-q.start))
	groups, warnings, err := h.volumes(r.Context(), q)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b := []byte{'['}
	for i, g := range groups {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendSample(b, g.labels, milliseconds(q.end), float64(g.total))
	}
	writeValue(w, r, "vector", append(b, ']'), logql.Stats{}, warnings)
}

// serveVolumeRange answers with the bytes of each group, step by step.
func (h *Handler) serveVolumeRange(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	q, err := h.volumeQuery(p)
	if err == nil {
		q.step, err = p.step(q.start, q.end)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	groups, warnings, err := h.volumes(r.Context(), q)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b := []byte{'['}
	for i, g := range groups {
		if i > 0 {
			b = append(b, ',')
		}
		points := make([]promql.FPoint, 0, len(g.bytes))
		for i, n := range g.bytes {
			if n > 0 {
				points = append(points, promql.FPoint{T: milliseconds(q.start + int64(i)*int64(q.step)), F: float64(n)})
			}
		}
		b = appendSeries(b, g.labels, points)
	}
	writeValue(w, r, "matrix", append(b, ']'), logql.Stats{}, warnings)
}

func (h *Handler) volumeQuery(p params) (q volumeQuery, err error) {
	if q.start, q.end, err = p.span(sinceMetadata); err != nil {
		return q, err
	}
	if q.matchers, err = h.selector(p.Get("query")); err != nil {
		return q, err
	}
	if q.limit, err = p.count("limit", defaultLimit); err != nil {
		return q, err
	}
	for name := range strings.SplitSeq(p.Get("targetLabels"), ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(q.by, name) {
			q.by = append(q.by, name)
		}
	}
	targeted := len(q.by) > 0
	for _, m := range q.matchers {
		if !targeted && !slices.Contains(q.by, m.Name) {
			q.by = append(q.by, m.Name)
		}
	}
	switch by := p.Get("aggregateBy"); by {
	case "", "series":
	case "labels":
		q.names = true
		if !targeted {
			q.by = nil
		}
	default:
		return q, badRequest("invalid aggregateBy %q: series or labels is needed", by)
	}
	return q, nil
}

// volumes returns the largest groups in descending order.
func (h *Handler) volumes(ctx context.Context, q volumeQuery) ([]volumes, []string, error) {
	infos, err := h.opts.Store.Streams(ctx, q.matchers, q.start, q.end)
	if err != nil {
		return nil, nil, err
	}
	if q.by == nil {
		q.by = labelNames(infos)
	}
	if err := checkCells(infos, q); err != nil {
		return nil, nil, err
	}
	counts, err := h.counts(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	groups := sumUp(counts, q)
	var warnings []string
	if len(groups) > q.limit {
		warnings = []string{fmt.Sprintf("these are the %d largest of %d groups", q.limit, len(groups))}
		groups = groups[:q.limit]
	}
	return groups, warnings, nil
}

func labelNames(infos []storage.StreamInfo) []string {
	names := make(map[string]struct{})
	for _, info := range infos {
		info.Labels.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
	}
	return sortedKeys(names)
}

// checkCells refuses what would need too much memory, before it is counted.
func checkCells(infos []storage.StreamInfo, q volumeQuery) error {
	groups := make(map[string]struct{})
	var key []byte
	for _, info := range infos {
		key = info.Labels.BytesWithLabels(key[:0], q.by...)
		groups[string(key)] = struct{}{}
	}
	steps := (q.end-q.start)/int64(q.step) + 1
	if int64(len(groups))*steps > maxVolumeCells {
		return fmt.Errorf("%w: %d groups in %d steps are too many; group by fewer labels or take a longer step", storage.ErrQueryLimit, len(groups), steps)
	}
	return nil
}

// counts asks the store to count, or counts itself.
func (h *Handler) counts(ctx context.Context, q volumeQuery) ([]storage.LogCount, error) {
	lq := storage.LogQuery{Matchers: q.matchers, Start: q.start, End: q.end, NoLine: true}
	slices.Sort(q.by)
	if counter, ok := h.opts.Store.(storage.LogCounter); ok {
		counts, exact, err := counter.Count(ctx, lq, int64(q.step), q.by)
		if err != nil || exact {
			return counts, err
		}
	}
	it, err := h.opts.Store.Select(ctx, lq)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	groups := make(map[string]*storage.LogCount)
	var key []byte
	for {
		records, err := it.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for i := range records {
			r := &records[i]
			key = r.Stream.Labels.BytesWithLabels(key[:0], q.by...)
			g := groups[string(key)]
			if g == nil {
				steps := (q.end - q.start + int64(q.step) - 1) / int64(q.step)
				g = &storage.LogCount{Labels: r.Stream.Labels.MatchLabels(true, q.by...), Bytes: make([]int64, steps)}
				groups[string(key)] = g
			}
			g.Bytes[(r.Time-q.start)/int64(q.step)] += int64(r.Size)
		}
	}
	counts := make([]storage.LogCount, 0, len(groups))
	for _, g := range groups {
		counts = append(counts, *g)
	}
	return counts, nil
}

// sumUp turns counts into the groups asked for, the largest first.
func sumUp(counts []storage.LogCount, q volumeQuery) []volumes {
	sums := make(map[string]*volumes)
	add := func(l labels.Labels, bytes []int64) {
		key := string(l.Bytes(nil))
		if sums[key] == nil {
			sums[key] = &volumes{labels: l, bytes: make([]int64, len(bytes))}
		}
		for i, n := range bytes {
			sums[key].bytes[i] += n
			sums[key].total += n
		}
	}
	for _, c := range counts {
		if !q.names {
			add(c.Labels, c.Bytes)
			continue
		}
		c.Labels.Range(func(l labels.Label) { add(labels.New(labels.Label{Name: l.Name}), c.Bytes) })
	}
	groups := make([]volumes, 0, len(sums))
	for _, v := range sums {
		groups = append(groups, *v)
	}
	slices.SortFunc(groups, func(x, y volumes) int {
		return cmp.Or(cmp.Compare(y.total, x.total), labels.Compare(x.labels, y.labels))
	})
	return groups
}
