package loki

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// serveVolume answers with the bytes of each group over the whole span.
func (h *Handler) serveVolume(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	q, err := h.volumeQuery(p)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.answerVolume(w, r, q, "vector", func(b []byte, v logql.Volume) []byte {
		return appendSample(b, volumeLabels(v), milliseconds(q.End), float64(v.Total))
	})
}

// serveVolumeRange answers with the bytes of each group, step by step.
func (h *Handler) serveVolumeRange(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	q, err := h.volumeQuery(p)
	if err == nil {
		q.Step, err = p.step(q.Start, q.End)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.answerVolume(w, r, q, "matrix", func(b []byte, v logql.Volume) []byte {
		var points []promql.FPoint
		for i, n := range v.Bytes {
			if n > 0 {
				points = append(points, promql.FPoint{T: milliseconds(q.Start + int64(i)*int64(q.Step)), F: float64(n)})
			}
		}
		return appendSeries(b, volumeLabels(v), points)
	})
}

func (h *Handler) volumeQuery(p params) (q logql.VolumeQuery, err error) {
	if q.Start, q.End, err = p.span(sinceMetadata); err != nil {
		return q, err
	}
	if q.Matchers, err = h.selector(p.Get("query")); err != nil {
		return q, err
	}
	if q.Limit, err = p.count("limit", defaultLimit); err != nil {
		return q, err
	}
	for name := range strings.SplitSeq(p.Get("targetLabels"), ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(q.TargetLabels, name) {
			q.TargetLabels = append(q.TargetLabels, name)
		}
	}
	switch by := p.Get("aggregateBy"); by {
	case "", "series":
	case "labels":
		q.ByName = true
	default:
		return q, badRequest("invalid aggregateBy %q: series or labels is needed", by)
	}
	return q, nil
}

// answerVolume answers with the largest groups, each encoded by encode.
func (h *Handler) answerVolume(w http.ResponseWriter, r *http.Request, q logql.VolumeQuery, resultType string, encode func([]byte, logql.Volume) []byte) {
	limit := q.Limit
	q.Limit++ // one more tells whether there are more
	volumes, stats, err := h.opts.Evaluator.Volume(r.Context(), q)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var warnings []string
	if len(volumes) > limit {
		warnings = []string{fmt.Sprintf("there are more than %d groups; these are the largest", limit)}
		volumes = volumes[:limit]
		w.Header().Set(incompleteHeader, cutLimit)
	}
	b := []byte{'['}
	for i, v := range volumes {
		if i > 0 {
			b = append(b, ',')
		}
		b = encode(b, v)
	}
	writeValue(w, r, resultType, append(b, ']'), stats, warnings)
}

// volumeLabels are the labels of a group; of one that is a label whatever its
// value, Loki's answer has the label without a value.
func volumeLabels(v logql.Volume) labels.Labels {
	if v.Name != "" {
		return labels.New(labels.Label{Name: v.Name})
	}
	return v.Labels
}
