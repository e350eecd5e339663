package loki

import (
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// serveMetric answers a metric query.
func (h *Handler) serveMetric(w http.ResponseWriter, r *http.Request, q logql.Query) {
	value, stats, err := h.opts.Evaluator.Metric(r.Context(), q)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	result, err := appendValue(nil, value)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if len(result) > h.opts.MaxResultBytes {
		h.fail(w, r, tooLarge(len(result), h.opts.MaxResultBytes))
		return
	}
	writeValue(w, r, string(value.Type()), result, stats, nil)
}

// writeValue answers with an encoded result of numbers.
func writeValue(w http.ResponseWriter, r *http.Request, resultType string, result []byte, stats logql.Stats, warnings []string) {
	head := []byte(`{"resultType":"` + resultType + `","result":`)
	tail := append([]byte(`,"stats":`), encodeStats(stats)...)
	writeData(w, r, warnings, head, result, append(tail, '}'))
}

// appendValue appends the result of a metric query.
func appendValue(b []byte, value parser.Value) ([]byte, error) {
	switch v := value.(type) {
	case promql.Scalar:
		return appendPoint(b, v.T, v.V), nil
	case promql.Vector:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendSample(b, v[i].Metric, v[i].T, v[i].F)
		}
		return append(b, ']'), nil
	case promql.Matrix:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendSeries(b, v[i].Metric, v[i].Floats)
		}
		return append(b, ']'), nil
	}
	return b, fmt.Errorf("a result of type %T cannot be encoded", value)
}

func appendSample(b []byte, metric labels.Labels, ms int64, v float64) []byte {
	b = append(b, `{"metric":`...)
	b = appendLabels(b, metric)
	b = append(b, `,"value":`...)
	b = appendPoint(b, ms, v)
	return append(b, '}')
}

func appendSeries(b []byte, metric labels.Labels, points []promql.FPoint) []byte {
	b = append(b, `{"metric":`...)
	b = appendLabels(b, metric)
	b = append(b, `,"values":[`...)
	for i, p := range points {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPoint(b, p.T, p.F)
	}
	return append(b, `]}`...)
}
