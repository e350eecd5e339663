package elastic

import (
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// maxWindow is the largest page that a server gives (index.max_result_window).
const maxWindow = 10_000

// clauses are the parts of a bool query in filter context.
type clauses struct {
	filter  []any
	mustNot []any
}

func (c *clauses) must(query any)    { c.filter = append(c.filter, query) }
func (c *clauses) exclude(query any) { c.mustNot = append(c.mustNot, query) }

func (c *clauses) query() map[string]any {
	b := map[string]any{}
	if len(c.filter) > 0 {
		b["filter"] = c.filter
	}
	if len(c.mustNot) > 0 {
		b["must_not"] = c.mustNot
	}
	if len(b) == 0 {
		return map[string]any{"match_all": map[string]any{}}
	}
	return map[string]any{"bool": b}
}

func anyOf(queries ...any) map[string]any {
	return map[string]any{"bool": map[string]any{"should": queries, "minimum_should_match": 1}}
}

func not(query any) map[string]any {
	return map[string]any{"bool": map[string]any{"must_not": []any{query}}}
}

func term(field, value string) map[string]any {
	return map[string]any{"term": map[string]any{field: value}}
}

func terms(field string, values []string) map[string]any {
	return map[string]any{"terms": map[string]any{field: values}}
}

func exists(field string) map[string]any {
	return map[string]any{"exists": map[string]any{"field": field}}
}

// addTime adds Start <= time < End. It is false when there is no such time.
func (c *clauses) addTime(start, end int64) bool {
	if start >= end || end <= 0 {
		return false
	}
	bounds := map[string]any{}
	// date_nanos begins in 1970 and ends with int64.
	if start > 0 {
		bounds["gte"] = formatTime(start)
	}
	if end < math.MaxInt64 {
		bounds["lt"] = formatTime(end)
	}
	if len(bounds) > 0 {
		c.must(map[string]any{"range": map[string]any{fieldTime: bounds}})
	}
	return true
}

func formatTime(ns int64) string {
	var e encoder
	return string(e.appendTime(nil, ns))
}

func parseTime(text string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, err
	}
	return t.UnixNano(), nil
}

// addLevels adds a set of levels, of which 0 means all.
func (c *clauses) addLevels(levels uint8) {
	if levels == 0 {
		return
	}
	var names []string
	for l := storage.LevelUnknown + 1; int(l) < storage.Levels; l++ {
		if levels&(1<<l) != 0 {
			names = append(names, l.String())
		}
	}
	named := terms(fieldLevel, names)
	switch {
	case levels&(1<<storage.LevelUnknown) == 0:
		c.must(named)
	case len(names) == 0:
		c.exclude(exists(fieldLevel))
	default:
		c.must(anyOf(named, not(exists(fieldLevel))))
	}
}

// addMatcher adds what the index can tell of a matcher. It is false where that
// is not all; Lucene's regular expressions are not Go's, so they are decided
// here, by stream.
func (c *clauses) addMatcher(m *labels.Matcher, caps capabilities) bool {
	field := caps.field(m.Name)
	if field == "" {
		return false
	}
	values := []string{m.Value}
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		if values = m.SetMatches(); len(values) == 0 {
			return false
		}
	}
	var named []string
	absent := false
	for _, v := range values {
		if v == "" {
			absent = true
			continue
		}
		named = append(named, v)
	}
	var query any
	switch {
	case !absent:
		query = terms(field, named)
	case len(named) == 0:
		query = not(exists(field))
	default:
		query = anyOf(terms(field, named), not(exists(field)))
	}
	if m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp {
		c.exclude(query)
	} else {
		c.must(query)
	}
	return true
}

// addLine adds what the index can tell of the text. It is false where that is
// not all.
func (c *clauses) addLine(m *storage.LineMatcher) bool {
	var found []any
	all, everything := true, false
	for _, p := range m.Patterns {
		globs, exact := globsOf(p)
		all = all && exact
		if m.Negate && !exact {
			continue // what it finds may be more than the pattern does
		}
		for _, g := range globs {
			if g.pattern == "" {
				everything = true
				break
			}
			found = append(found, wildcard(g))
		}
	}
	switch {
	case m.Negate && everything:
		c.exclude(map[string]any{"match_all": map[string]any{}})
	case m.Negate:
		for _, query := range found {
			c.exclude(query)
		}
	case !everything:
		// Lines that are too long for the index may be meant.
		c.must(anyOf(append(found, term(fieldIgnored, fieldRaw))...))
	}
	return all
}

func wildcard(g glob) map[string]any {
	q := map[string]any{"value": gap + g.pattern + gap}
	if g.fold {
		q["case_insensitive"] = true
	}
	return map[string]any{"wildcard": map[string]any{fieldRaw: q}}
}

// plan is a query as far as the index can answer it.
type plan struct {
	clauses clauses
	// none tells that nothing can match.
	none bool
	// byStream tells that the matchers have to be looked at here, byLine the
	// lines.
	byStream, byLine bool
}

// planOf translates q, its time and matchers first: they serve to find the
// streams.
func planOf(q storage.LogQuery, caps capabilities) plan {
	var p plan
	p.none = !p.clauses.addTime(q.Start, q.End)
	for _, m := range q.Matchers {
		p.byStream = !p.clauses.addMatcher(m, caps) || p.byStream
	}
	p.clauses.addLevels(q.Levels)
	for _, m := range q.Lines {
		p.byLine = !p.clauses.addLine(m) || p.byLine
	}
	return p
}

func matchesAll(matchers []*labels.Matcher, l labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return false
		}
	}
	return true
}
