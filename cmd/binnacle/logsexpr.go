package main

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/binnacle-obs/binnacle/storage"
)

// selection is whose lines are wanted, in the terms of LogQL.
type selection struct {
	// matchers go into the stream selector.
	matchers []labelMatcher
	// filters are label filters: they can say "or", which a selector cannot.
	filters []string
	// level is the least severity of lines, "" for any.
	level string
	// alone is set when there is one container only: who wrote a line needs
	// not be said.
	alone bool
}

// lineFilter is one condition on the text of lines.
type lineFilter struct {
	// op is one of |= != |~ !~.
	op string
	// patterns are alternatives.
	patterns []string
}

func (f lineFilter) String() string {
	quoted := make([]string, len(f.patterns))
	for i, p := range f.patterns {
		quoted[i] = strconv.Quote(p)
	}
	return f.op + " " + strings.Join(quoted, " or ")
}

// expression is the LogQL query for the lines of a selection. Line filters
// come first, where a store can use its index for them.
func (sel *selection) expression(lines []lineFilter) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range sel.matchers {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.String())
	}
	b.WriteByte('}')
	for _, f := range lines {
		b.WriteString(" " + f.String())
	}
	if sel.level != "" {
		b.WriteString(" | " + matches(storage.LabelLevel, levelsFrom(sel.level)).String())
	}
	for _, f := range sel.filters {
		b.WriteString(" | " + f)
	}
	return b.String()
}

// base is the part of the selection that flags alone give.
func (s *logSettings) base() (*selection, error) {
	sel := &selection{level: s.level}
	if namespaces := s.namespaceList(); len(namespaces) > 0 {
		sel.matchers = append(sel.matchers, oneOfValues(storage.LabelNamespace, namespaces))
	}
	if len(s.nodes) > 0 {
		sel.matchers = append(sel.matchers, oneOfValues(storage.LabelNode, s.nodes))
	}
	if len(s.containers) > 0 {
		sel.matchers = append(sel.matchers, matches(storage.LabelContainer, anyRegexp(s.containers)))
	}
	if s.restart != "" {
		sel.matchers = append(sel.matchers, equals(storage.LabelRestart, s.restart))
	}
	if s.selector != "" {
		labels, err := parseSelector(s.selector)
		if err != nil {
			return nil, usagef("flag --selector: %w", err)
		}
		sel.matchers = append(sel.matchers, labels...)
	}
	return sel, nil
}

// namespaceList is empty for all namespaces. No namespace has a comma in its
// name, so that "-n a,b" can mean both.
func (s *logSettings) namespaceList() []string {
	if s.allNamespaces {
		return nil
	}
	var out []string
	for _, text := range s.namespaces {
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}

// anyRegexp is a regular expression for what one of exprs matches.
func anyRegexp(exprs []string) string {
	if len(exprs) == 1 {
		return exprs[0]
	}
	return "(?:" + strings.Join(exprs, ")|(?:") + ")"
}

// lineFilters are those of --include and --exclude.
func (s *logSettings) lineFilters() []lineFilter {
	var out []lineFilter
	if len(s.include) > 0 {
		out = append(out, lineFilter{"|~", []string{anyRegexp(s.include)}})
	}
	for _, expr := range s.exclude {
		out = append(out, lineFilter{"!~", []string{expr}})
	}
	return out
}

// addWorkload narrows the selection to the pods of a workload: those that
// carry its labels, and those that carry none but are named as its pods are.
func (sel *selection) addWorkload(t target) {
	w := workloadTypes[t.kind]
	pods := matches(storage.LabelPod, w.podNames(t.name)).String()
	if w.kind == "" {
		sel.matchers = append(sel.matchers, matches(storage.LabelPod, w.podNames(t.name)))
		return
	}
	sel.matchers = append(sel.matchers, matches(storage.LabelPod, podPrefix(t.name)))
	labelled := equals(storage.LabelWorkload, t.name).String() + " and " +
		matches(storage.LabelWorkloadType, "(?i)"+w.kind).String()
	unlabelled := equals(storage.LabelWorkload, "").String() + " and " + pods
	if t.kind == "job" {
		// The label of a CronJob's Job names the CronJob.
		unlabelled = matches(storage.LabelWorkloadType, "|(?i)cronjob").String() + " and " + pods
	}
	sel.filters = append(sel.filters, "("+labelled+") or ("+unlabelled+")")
}

// queryRequest is a question for lines.
type queryRequest struct {
	expr   string
	window logWindow
	// limit is 0 for all lines.
	limit int
	// last asks for the newest lines, newest first.
	last bool
}

func (q queryRequest) values() url.Values {
	params := url.Values{"query": {q.expr}, "limit": {strconv.Itoa(q.limit)}, "direction": {"forward"}}
	if q.last {
		params.Set("direction", "backward")
	}
	q.window.addTo(params)
	return params
}

// addTo adds the span to the parameters of a request. The server's own
// default for start is an hour ago: everything has to be asked for.
func (w logWindow) addTo(params url.Values) {
	start := int64(0)
	if !w.start.IsZero() {
		start = w.start.UnixNano()
	}
	params.Set("start", nanoseconds(start))
	if !w.end.IsZero() {
		params.Set("end", nanoseconds(w.end.UnixNano()))
	}
}

// nanoseconds writes a time in a notation that cannot be taken for seconds.
func nanoseconds(ns int64) string {
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
