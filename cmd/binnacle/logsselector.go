package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/binnacle-obs/binnacle/storage"
)

// streamLabels are the labels that an agent gives to streams of lines.
var streamLabels = []string{
	storage.LabelCluster, storage.LabelContainer, storage.LabelFilename, storage.LabelNamespace, storage.LabelNode, storage.LabelPod,
	storage.LabelRestart, storage.LabelStream, storage.LabelUID, storage.LabelWorkload, storage.LabelWorkloadType,
}

// labelMatcher is one condition of a LogQL stream selector.
type labelMatcher struct {
	name, op, value string
}

func (m labelMatcher) String() string { return m.name + m.op + strconv.Quote(m.value) }

func equals(name, value string) labelMatcher { return labelMatcher{name, "=", value} }

// matches is for a regular expression that has to match all of the value.
func matches(name, expr string) labelMatcher { return labelMatcher{name, "=~", expr} }

// oneOfValues matches any of values, which are literal.
func oneOfValues(name string, values []string) labelMatcher {
	seen := map[string]bool{}
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		again := seen[v]
		seen[v] = true
		return again
	})
	if len(values) == 1 {
		return equals(name, values[0])
	}
	return matches(name, alternatives(values))
}

// alternatives is a regular expression for any of values.
func alternatives(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(quoted, "|")
}

// selectorTerm is one requirement of a Kubernetes label selector:
// "a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b,c)", "a", "!a".
var selectorTerm = regexp.MustCompile(`^\s*(?:(!)\s*([-./\w]+)|([-./\w]+)\s*(?:(==|=|!=)\s*([-.\w]*)|\s(in|notin)\s*\(([^()]*)\))?)\s*$`)

// parseSelector reads a Kubernetes label selector.
func parseSelector(text string) ([]labelMatcher, error) {
	var out []labelMatcher
	for _, term := range splitSelector(text) {
		m := selectorTerm.FindStringSubmatch(term)
		if m == nil {
			return nil, fmt.Errorf("%q is not a selector, such as container=app,stream!=stdout or \"node in (a,b)\"", strings.TrimSpace(term))
		}
		switch {
		case m[1] == "!":
			out = append(out, equals(m[2], ""))
		case m[4] == "!=":
			out = append(out, labelMatcher{m[3], "!=", m[5]})
		case m[4] != "":
			out = append(out, equals(m[3], m[5]))
		case m[6] == "in":
			out = append(out, oneOfValues(m[3], selectorValues(m[7])))
		case m[6] == "notin":
			out = append(out, labelMatcher{m[3], "!~", alternatives(selectorValues(m[7]))})
		default:
			out = append(out, labelMatcher{m[3], "!=", ""})
		}
	}
	return out, nil
}

// splitSelector splits at commas outside of parentheses.
func splitSelector(text string) []string {
	var terms []string
	depth, start := 0, 0
	for i, r := range text {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			terms = append(terms, text[start:i])
			start = i + 1
		}
	}
	return append(terms, text[start:])
}

func selectorValues(list string) []string {
	values := strings.Split(list, ",")
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return values
}

// checkLabels refuses names that are no labels of streams. known are those
// that the server has beside the agents' own.
func checkLabels(matchers []labelMatcher, known []string) error {
	all := slices.Concat(streamLabels, known)
	for _, m := range matchers {
		if !slices.Contains(all, m.name) {
			return usagef("flag --selector: %q is no label of log streams. Labels of Kubernetes pods are not stored with logs: "+
				"name a workload instead (deploy/NAME), or use one of %s", m.name, strings.Join(all, ", "))
		}
	}
	return nil
}
