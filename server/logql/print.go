package logql

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// String is the selector and the stages.
func (e *LogExpr) String() string {
	return printLog(e, "")
}

// printLog puts tail behind the stages.
func printLog(e *LogExpr, tail string) string {
	parts := make([]string, 0, len(e.Stages)+2)
	parts = append(parts, "{"+joinStrings(e.Matchers, matcherString)+"}")
	for i, s := range e.Stages {
		if i > 0 && joins(e.Stages[i-1], s) {
			parts = append(parts[:0], "("+strings.Join(parts, " ")+")")
		}
		parts = append(parts, s.String())
	}
	if tail != "" {
		parts = append(parts, tail)
	}
	return strings.Join(parts, " ")
}

// joins tells whether a line filter would be read as a condition of the label
// that the stage before it names last.
func joins(before, s Stage) bool {
	f, ok := s.(*LineFilter)
	if !ok || f.Op[0] != '!' {
		return false
	}
	var conditions []LabelCondition
	switch b := before.(type) {
	case *DropLabels:
		conditions = b.Labels
	case *KeepLabels:
		conditions = b.Labels
	}
	return len(conditions) > 0 && conditions[len(conditions)-1].Matcher == nil
}

func matcherString(m *labels.Matcher) string {
	return m.Name + m.Type.String() + strconv.Quote(m.Value)
}

func joinStrings[T any](list []T, text func(T) string) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = text(v)
	}
	return strings.Join(parts, ", ")
}

// String is the operator and its alternatives.
func (s *LineFilter) String() string {
	parts := make([]string, len(s.Patterns))
	for i, p := range s.Patterns {
		parts[i] = strconv.Quote(p.Text)
		if p.IP {
			parts[i] = "ip(" + parts[i] + ")"
		}
	}
	return s.Op + " " + strings.Join(parts, " or ")
}

func printExtractions(name string, list []Extraction) string {
	if len(list) == 0 {
		return name
	}
	return name + " " + joinStrings(list, func(x Extraction) string { return x.Label + "=" + strconv.Quote(x.Path) })
}

// String is the stage as it is written in a query.
func (s *JSONParser) String() string { return printExtractions("| json", s.Extractions) }

// String is the stage as it is written in a query.
func (s *LogfmtParser) String() string {
	name := "| logfmt"
	if s.Strict {
		name += " --strict"
	}
	if s.KeepEmpty {
		name += " --keep-empty"
	}
	return printExtractions(name, s.Extractions)
}

// String is the stage as it is written in a query.
func (s *PatternParser) String() string { return "| pattern " + strconv.Quote(s.Pattern) }

// String is the stage as it is written in a query.
func (s *RegexpParser) String() string { return "| regexp " + strconv.Quote(s.Regexp) }

// String is the stage as it is written in a query.
func (s *UnpackParser) String() string { return "| unpack" }

// String is the stage as it is written in a query.
func (s *LabelFilterStage) String() string {
	text := s.Filter.String()
	if bareStages[text[:identLen(text)]] {
		text = "(" + text + ")"
	}
	return "| " + text
}

// String is the stage as it is written in a query.
func (s *LineFormat) String() string { return "| line_format " + strconv.Quote(s.Template) }

// String is the stage as it is written in a query.
func (s *LabelFormat) String() string {
	return "| label_format " + joinStrings(s.Formats, func(f Assignment) string {
		if f.Rename {
			return f.Name + "=" + f.Value
		}
		return f.Name + "=" + strconv.Quote(f.Value)
	})
}

func printCondition(c LabelCondition) string {
	if c.Matcher == nil {
		return c.Name
	}
	return matcherString(c.Matcher)
}

// String is the stage as it is written in a query.
func (s *DropLabels) String() string { return "| drop " + joinStrings(s.Labels, printCondition) }

// String is the stage as it is written in a query.
func (s *KeepLabels) String() string { return "| keep " + joinStrings(s.Labels, printCondition) }

// String is the stage as it is written in a query.
func (s *Decolorize) String() string { return "| decolorize" }

// String is the comparison.
func (f *StringFilter) String() string { return matcherString(f.Matcher) }

// String is the comparison.
func (f *NumberFilter) String() string {
	value := formatFloat(f.Value)
	switch f.Unit {
	case UnitDuration:
		value = formatDuration(time.Duration(f.Value))
	case UnitBytes:
		value = strconv.FormatUint(uint64(f.Value), 10) + "B"
	}
	return f.Name + f.Op + value
}

// String is the comparison.
func (f *IPFilter) String() string {
	op := "="
	if f.Negate {
		op = "!="
	}
	return f.Name + op + "ip(" + strconv.Quote(f.Pattern) + ")"
}

// String puts parentheses around joined filters.
func (f *BinaryFilter) String() string {
	op := " and "
	if f.Or {
		op = " or "
	}
	return printOperand(f.Left) + op + printOperand(f.Right)
}

func printOperand(f LabelFilter) string {
	if _, ok := f.(*BinaryFilter); ok {
		return "(" + f.String() + ")"
	}
	return f.String()
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
