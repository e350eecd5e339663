package logql

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Expr is a parsed query: a *LogExpr or a MetricExpr. It is immutable.
type Expr interface {
	// String is the query in one line; parsing it gives an equal Expr.
	String() string
}

// MetricExpr is an expression whose value is a vector or a number: *RangeAgg,
// *VectorAgg, *Binary, *Literal, *Vector or *LabelReplace.
type MetricExpr interface {
	Expr
	metric()
}

// LogExpr selects lines and passes them through the stages of a pipeline.
type LogExpr struct {
	// Matchers select streams; none selects all.
	Matchers []*labels.Matcher
	Stages   []Stage
}

// Stage is a step of a pipeline: *LineFilter, *JSONParser, *LogfmtParser,
// *PatternParser, *RegexpParser, *UnpackParser, *LabelFilterStage, *LineFormat,
// *LabelFormat, *DropLabels, *KeepLabels or *Decolorize.
type Stage interface {
	String() string
	stage()
}

// LineFilter keeps lines by their text.
type LineFilter struct {
	// Op is |= != |~ !~ |> or !>.
	Op string
	// Patterns are alternatives: one must be found, or with a negative Op none.
	Patterns []FilterPattern
}

// FilterPattern is an alternative of a LineFilter.
type FilterPattern struct {
	Text string
	// IP tells that Text is an address, a range or a network to find in the line.
	IP bool
}

// Extraction takes what is at Path in a structured line as label Label.
type Extraction struct {
	Label, Path string
}

// JSONParser extracts labels of a line that is a JSON object: all of its
// members, or those named by Extractions.
type JSONParser struct {
	Extractions []Extraction
}

// LogfmtParser extracts labels of a line of key=value pairs.
type LogfmtParser struct {
	// Strict makes what is no pair an error; else it is skipped.
	Strict bool
	// KeepEmpty keeps keys that have no value.
	KeepEmpty   bool
	Extractions []Extraction
}

// PatternParser extracts labels by a text with <captures>.
type PatternParser struct{ Pattern string }

// RegexpParser extracts the named groups of a regular expression.
type RegexpParser struct{ Regexp string }

// UnpackParser undoes promtail's pack stage: a JSON object of labels whose
// member _entry is the line.
type UnpackParser struct{}

// LabelFilterStage keeps lines by their labels.
type LabelFilterStage struct{ Filter LabelFilter }

// LineFormat replaces the line by what a template makes of the labels.
type LineFormat struct{ Template string }

// LabelFormat sets and renames labels.
type LabelFormat struct{ Formats []Assignment }

// Assignment sets one label.
type Assignment struct {
	Name string
	// Value is a template, or the name of the label that is renamed to Name.
	Value  string
	Rename bool
}

// DropLabels removes labels.
type DropLabels struct{ Labels []LabelCondition }

// KeepLabels removes all labels but these.
type KeepLabels struct{ Labels []LabelCondition }

// LabelCondition names a label, if Matcher is set only where its value matches.
type LabelCondition struct {
	Name    string
	Matcher *labels.Matcher
}

// Decolorize removes ANSI escape sequences of the line.
type Decolorize struct{}

func (*LineFilter) stage()       {}
func (*JSONParser) stage()       {}
func (*LogfmtParser) stage()     {}
func (*PatternParser) stage()    {}
func (*RegexpParser) stage()     {}
func (*UnpackParser) stage()     {}
func (*LabelFilterStage) stage() {}
func (*LineFormat) stage()       {}
func (*LabelFormat) stage()      {}
func (*DropLabels) stage()       {}
func (*KeepLabels) stage()       {}
func (*Decolorize) stage()       {}

// LabelFilter is a condition on labels: *StringFilter, *NumberFilter,
// *IPFilter or *BinaryFilter.
type LabelFilter interface {
	String() string
	filter()
}

// StringFilter compares text.
type StringFilter struct{ Matcher *labels.Matcher }

// Unit says how a label's value is read before it is compared.
type Unit uint8

// Units of NumberFilter.
const (
	UnitNumber Unit = iota
	UnitDuration
	UnitBytes
)

// NumberFilter compares numbers.
type NumberFilter struct {
	Name string
	// Op is == != > >= < or <=.
	Op   string
	Unit Unit
	// Value is in ns for a duration, in bytes for a size.
	Value float64
}

// IPFilter compares addresses.
type IPFilter struct {
	Name    string
	Negate  bool
	Pattern string
}

// BinaryFilter joins two filters.
type BinaryFilter struct {
	// Or tells that one of the two suffices.
	Or          bool
	Left, Right LabelFilter
}

func (*StringFilter) filter() {}
func (*NumberFilter) filter() {}
func (*IPFilter) filter()     {}
func (*BinaryFilter) filter() {}

// Unwrap takes samples from the values of a label.
type Unwrap struct {
	Label string
	// Conversion is "", "duration", "duration_seconds" or "bytes".
	Conversion string
	// Filters apply to the labels that are left.
	Filters []LabelFilter
}

// Grouping names the labels that tell series apart, or with Without those that
// do not.
type Grouping struct {
	Without bool
	Labels  []string
}

// RangeAgg aggregates the lines of the time (t-Range-Offset, t-Offset].
type RangeAgg struct {
	Op string
	// Param is the quantile of quantile_over_time, else 0.
	Param    float64
	Log      *LogExpr
	Unwrap   *Unwrap
	Range    time.Duration
	Offset   time.Duration
	Grouping *Grouping
}

// VectorAgg aggregates the samples of one time.
type VectorAgg struct {
	Op string
	// Param is the number of series that topk, bottomk and approx_topk return, else 0.
	Param    int
	Expr     MetricExpr
	Grouping *Grouping
}

// Matching says which samples of two vectors belong together.
type Matching struct {
	On     bool
	Labels []string
	// Group is "", "left" (many on the left side match one on the right) or "right".
	Group string
	// Include are labels of the one side that the result gets.
	Include []string
}

// Binary is an operation on two expressions.
type Binary struct {
	Op string
	// Bool makes a comparison return 0 or 1.
	Bool        bool
	Matching    *Matching
	Left, Right MetricExpr
}

// Literal is a number.
type Literal struct{ Value float64 }

// Vector is a sample without labels.
type Vector struct{ Value float64 }

// LabelReplace sets a label by a regular expression on another.
type LabelReplace struct {
	Expr                          MetricExpr
	Dst, Replacement, Src, Regexp string
}

func (*RangeAgg) metric()     {}
func (*VectorAgg) metric()    {}
func (*Binary) metric()       {}
func (*Literal) metric()      {}
func (*Vector) metric()       {}
func (*LabelReplace) metric() {}
