package logql

import (
	"strconv"
	"strings"
)

// String is the stage as it is written in a query.
func (u *Unwrap) String() string {
	text := "| unwrap " + u.Label
	if u.Conversion != "" {
		text = "| unwrap " + u.Conversion + "(" + u.Label + ")"
	}
	for _, f := range u.Filters {
		text += " | " + f.String()
	}
	return text
}

// String is the keyword and the labels.
func (g *Grouping) String() string {
	word := "by"
	if g.Without {
		word = "without"
	}
	return word + " (" + strings.Join(g.Labels, ", ") + ")"
}

func (g *Grouping) suffix() string {
	if g == nil {
		return ""
	}
	return " " + g.String()
}

// String is the aggregation with the range behind the pipeline.
func (e *RangeAgg) String() string {
	tail := ""
	if e.Unwrap != nil {
		tail = e.Unwrap.String() + " "
	}
	tail += "[" + formatDuration(e.Range) + "]"
	if e.Offset != 0 {
		tail += " offset " + formatDuration(e.Offset)
	}
	param := ""
	if e.Op == opQuantileOverTime {
		param = formatFloat(e.Param) + ", "
	}
	return e.Op + "(" + param + printLog(e.Log, tail) + ")" + e.Grouping.suffix()
}

// String is the aggregation with its grouping behind it.
func (e *VectorAgg) String() string {
	param := ""
	if takesCount(e.Op) {
		param = strconv.Itoa(e.Param) + ", "
	}
	return e.Op + "(" + param + e.Expr.String() + ")" + e.Grouping.suffix()
}

// String puts parentheses around operations.
func (e *Binary) String() string {
	text := printMetricOperand(e.Left) + " " + e.Op
	if e.Bool {
		text += " bool"
	}
	if m := e.Matching; m != nil {
		text += " " + m.String()
	}
	return text + " " + printMetricOperand(e.Right)
}

// String is the matching as it is written behind an operator.
func (m *Matching) String() string {
	word := "ignoring"
	if m.On {
		word = "on"
	}
	text := word + " (" + strings.Join(m.Labels, ", ") + ")"
	if m.Group != "" {
		text += " group_" + m.Group + " (" + strings.Join(m.Include, ", ") + ")"
	}
	return text
}

func printMetricOperand(e MetricExpr) string {
	if _, ok := e.(*Binary); ok {
		return "(" + e.String() + ")"
	}
	return e.String()
}

// String is the number.
func (e *Literal) String() string { return formatFloat(e.Value) }

// String is the call.
func (e *Vector) String() string { return "vector(" + formatFloat(e.Value) + ")" }

// String is the call.
func (e *LabelReplace) String() string {
	args := []string{e.Dst, e.Replacement, e.Src, e.Regexp}
	return "label_replace(" + e.Expr.String() + ", " + joinStrings(args, strconv.Quote) + ")"
}
