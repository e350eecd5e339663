package loki

import (
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// admit is where the text of every query passes before it is evaluated, as
// every selector passes selector. It tells whether it is a metric query.
func (h *Handler) admit(text string) (metric bool, err error) {
	expr, err := logql.Parse(text)
	if err != nil {
		return false, err
	}
	_, isLog := expr.(*logql.LogExpr)
	return !isLog, nil
}

// admitLogs is admit for endpoints that need lines.
func (h *Handler) admitLogs(text string) error {
	metric, err := h.admit(text)
	if err == nil && metric {
		err = badRequest("a log query is needed here, a metric query has no lines")
	}
	return err
}

// selector returns the matchers of a text that is a stream selector alone, or
// empty for all streams.
func (h *Handler) selector(text string) ([]*labels.Matcher, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	expr, err := logql.ParseSelector(text)
	if err != nil {
		return nil, err
	}
	if len(expr.Stages) > 0 {
		return nil, badRequest("only label matchers are supported here, not %s", expr.Stages[0])
	}
	return expr.Matchers, nil
}

// format writes a query as one would write it.
func format(text string) (string, error) {
	expr, err := logql.Parse(text)
	if err != nil {
		return "", err
	}
	return expr.String(), nil
}
