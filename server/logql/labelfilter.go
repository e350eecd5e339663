package logql

import (
	"strconv"
	"strings"
)

// filterFunc decides on labels. It may set an error, with which the record is
// kept.
type filterFunc func(v *view) bool

// filterStep keeps records by their labels.
type filterStep filterFunc

func (f filterStep) run(line []byte, v *view) ([]byte, bool) { return line, f(v) }

func compileFilter(f LabelFilter) (filterFunc, error) {
	switch f := f.(type) {
	case *StringFilter:
		m := f.Matcher
		return func(v *view) bool {
			value, _ := v.get(m.Name)
			return m.Matches(value)
		}, nil
	case *NumberFilter:
		return compileNumberFilter(f), nil
	case *IPFilter:
		ip, err := parseIPPattern(f.Pattern)
		return func(v *view) bool {
			value, ok := v.get(f.Name)
			return ok && ip.matchValue(value) != f.Negate
		}, err
	default:
		return compileBinaryFilter(f.(*BinaryFilter))
	}
}

func compileBinaryFilter(f *BinaryFilter) (filterFunc, error) {
	left, err := compileFilter(f.Left)
	if err != nil {
		return nil, err
	}
	right, err := compileFilter(f.Right)
	if f.Or {
		return func(v *view) bool { return left(v) || right(v) }, err
	}
	return func(v *view) bool { return left(v) && right(v) }, err
}

// compileNumberFilter compares numbers. Records without the label are left
// out; those whose value is no number, or that have an error already, are kept.
func compileNumberFilter(f *NumberFilter) filterFunc {
	compare := comparisons[f.Op]
	return func(v *view) bool {
		if v.err != "" {
			return true
		}
		value, ok := v.get(f.Name)
		if !ok {
			return false
		}
		n, err := f.Unit.parse(value)
		if err != nil {
			v.setError(errFilter, err.Error())
			return true
		}
		return compare(n, f.Value)
	}
}

var comparisons = map[string]func(a, b float64) bool{
	"==": func(a, b float64) bool { return a == b },
	"!=": func(a, b float64) bool { return a != b },
	">":  func(a, b float64) bool { return a > b },
	">=": func(a, b float64) bool { return a >= b },
	"<":  func(a, b float64) bool { return a < b },
	"<=": func(a, b float64) bool { return a <= b },
}

func (u Unit) parse(s string) (float64, error) {
	switch u {
	case UnitDuration:
		d, err := parseDuration(s)
		return float64(d), err
	case UnitBytes:
		n, err := parseBytes(s)
		return float64(n), err
	default:
		return strconv.ParseFloat(strings.TrimSpace(s), 64)
	}
}

// dropStep removes labels.
type dropStep struct{ conditions []LabelCondition }

func (s *dropStep) run(line []byte, v *view) ([]byte, bool) {
	for _, c := range s.conditions {
		if value, ok := v.get(c.Name); ok && (c.Matcher == nil || c.Matcher.Matches(value)) {
			v.remove(c.Name)
		}
	}
	return line, true
}

// keepStep removes all labels but some; errors stay.
type keepStep struct {
	conditions []LabelCondition
	scratch    []pair
}

func (s *keepStep) run(line []byte, v *view) ([]byte, bool) {
	s.scratch = v.visible(s.scratch[:0])
	for _, p := range s.scratch {
		if p.name != errorLabel && p.name != errorDetailsLabel && !s.keeps(p) {
			v.remove(p.name)
		}
	}
	return line, true
}

func (s *keepStep) keeps(p pair) bool {
	for _, c := range s.conditions {
		if c.Name == p.name && (c.Matcher == nil || c.Matcher.Matches(p.value)) {
			return true
		}
	}
	return false
}
