package logql

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Operations that code asks for by name.
const (
	opRate             = "rate"
	opRateCounter      = "rate_counter"
	opCountOverTime    = "count_over_time"
	opBytesRate        = "bytes_rate"
	opBytesOverTime    = "bytes_over_time"
	opAbsentOverTime   = "absent_over_time"
	opSumOverTime      = "sum_over_time"
	opAvgOverTime      = "avg_over_time"
	opMinOverTime      = "min_over_time"
	opMaxOverTime      = "max_over_time"
	opStdvarOverTime   = "stdvar_over_time"
	opStddevOverTime   = "stddev_over_time"
	opQuantileOverTime = "quantile_over_time"
	opFirstOverTime    = "first_over_time"
	opLastOverTime     = "last_over_time"
)

// rangeOp is what a range aggregation allows.
type rangeOp struct {
	lines, unwrap, grouping bool
}

var rangeOps = map[string]rangeOp{
	opRate:             {lines: true, unwrap: true},
	opRateCounter:      {unwrap: true},
	opCountOverTime:    {lines: true},
	opBytesRate:        {lines: true},
	opBytesOverTime:    {lines: true},
	opAbsentOverTime:   {lines: true, unwrap: true},
	opSumOverTime:      {unwrap: true},
	opAvgOverTime:      {unwrap: true, grouping: true},
	opMinOverTime:      {unwrap: true, grouping: true},
	opMaxOverTime:      {unwrap: true, grouping: true},
	opStdvarOverTime:   {unwrap: true, grouping: true},
	opStddevOverTime:   {unwrap: true, grouping: true},
	opQuantileOverTime: {unwrap: true, grouping: true},
	opFirstOverTime:    {unwrap: true, grouping: true},
	opLastOverTime:     {unwrap: true, grouping: true},
}

var vectorOps = map[string]bool{
	"sum": true, "avg": true, "min": true, "max": true, "count": true, "stddev": true, "stdvar": true,
	"topk": true, "bottomk": true, "approx_topk": true, "sort": true, "sort_desc": true,
}

// takesCount tells whether the first argument is a number of series.
func takesCount(op string) bool { return op == "topk" || op == "bottomk" || op == "approx_topk" }

// functions are the names of all functions, for error messages.
var functions = slices.Sorted(maps.Keys(func() map[string]bool {
	all := map[string]bool{"label_replace": true, "vector": true}
	maps.Copy(all, vectorOps)
	for name := range rangeOps {
		all[name] = true
	}
	return all
}()))

// operand reads an expression without binary operators.
func (p *queryParser) operand() Expr {
	defer p.enter()()
	t := p.peek()
	switch {
	case t.is("{"):
		return p.logExpr()
	case t.is("("):
		p.take()
		e := p.expr()
		p.expect(")")
		if l, ok := e.(*LogExpr); ok {
			return p.moreStages(l)
		}
		return e
	case t.kind == tokNumber, t.is("-"), t.is("+"):
		return &Literal{p.number()}
	case t.kind == tokIdent:
		return p.call()
	}
	p.unexpected("{", "(", "NUMBER", "a function")
	return nil
}

func (p *queryParser) call() Expr {
	t := p.take()
	_, isRange := rangeOps[t.text]
	switch {
	case isRange:
		return p.rangeAgg(t)
	case vectorOps[t.text]:
		return p.vectorAgg(t)
	case t.text == "label_replace":
		return p.labelReplace()
	case t.text == "vector":
		p.expect("(")
		v := p.number()
		p.expect(")")
		return &Vector{v}
	case p.peek().is("("):
		p.fail(t.pos, "function %s is not supported; there are %s", t.text, strings.Join(functions, " "))
	default:
		p.fail(t.pos, "syntax error: unexpected %s, expecting { or ( or NUMBER or a function", t)
	}
	return nil
}

func (p *queryParser) labelReplace() Expr {
	p.expect("(")
	e := &LabelReplace{Expr: p.metricArg()}
	p.expect(",")
	dst := p.str()
	p.expect(",")
	e.Replacement = p.str().text
	p.expect(",")
	src := p.str()
	p.expect(",")
	re := p.str()
	p.expect(")")
	e.Dst, e.Src, e.Regexp = dst.text, src.text, re.text
	if p.err == nil && !isLabelName(e.Dst) {
		p.fail(dst.pos, "invalid label name %q for label_replace", e.Dst)
	}
	p.checkRegexp(re)
	return e
}

func isLabelName(s string) bool {
	return s != "" && isIdentStart(s[0]) && identLen(s) == len(s)
}

func (p *queryParser) checkRegexp(t token) {
	if p.err != nil {
		return
	}
	if _, err := regexp.Compile(t.text); err != nil {
		p.fail(t.pos, "%s", err)
	}
}

// metricArg reads an argument that is a metric query.
func (p *queryParser) metricArg() MetricExpr {
	t := p.peek()
	m, ok := p.expr().(MetricExpr)
	if !ok {
		p.fail(t.pos, "a metric query is needed here, this is a log query; count_over_time(… [5m]) makes one of it")
	}
	return m
}

func (p *queryParser) grouping() *Grouping {
	t := p.peek()
	if !t.is("by") && !t.is("without") {
		return nil
	}
	p.take()
	return &Grouping{Without: t.text == "without", Labels: p.labelList()}
}

func (p *queryParser) vectorAgg(op token) Expr {
	e := &VectorAgg{Op: op.text, Grouping: p.grouping()}
	p.expect("(")
	if takesCount(op.text) {
		t := p.peek()
		k := p.number()
		if k < 1 || k != math.Trunc(k) || k > math.MaxInt32 {
			p.fail(t.pos, "invalid parameter for %s: it takes a whole number of at least 1", op.text)
		}
		e.Param = int(k)
		p.expect(",")
	} else if t := p.peek(); t.kind == tokNumber && p.peek2().is(",") {
		p.fail(t.pos, "unsupported parameter for operation %s(%s,", op.text, t.text)
	}
	arg := p.peek()
	e.Expr = p.metricArg()
	if p.err == nil && isScalar(e.Expr) {
		p.fail(arg.pos, "%s takes a vector, not a number", op.text)
	}
	p.expect(")")
	at := p.peek()
	if g := p.grouping(); g != nil {
		if e.Grouping != nil {
			p.fail(at.pos, "%s has two groupings", op.text)
		}
		e.Grouping = g
	}
	if e.Grouping != nil && (op.text == "sort" || op.text == "sort_desc") {
		p.fail(op.pos, "grouping not allowed for %s aggregation", op.text)
	}
	return e
}

func (p *queryParser) rangeAgg(op token) Expr {
	e := &RangeAgg{Op: op.text}
	p.expect("(")
	if op.text == opQuantileOverTime {
		e.Param = p.number()
		p.expect(",")
	} else if t := p.peek(); t.kind == tokNumber && p.peek2().is(",") {
		p.fail(t.pos, "parameter %s not supported for operation %s", t.text, op.text)
	}
	p.logRange(e)
	p.expect(")")
	e.Grouping = p.grouping()
	allowed := rangeOps[op.text]
	switch {
	case p.err != nil:
	case e.Grouping != nil && !allowed.grouping:
		p.fail(op.pos, "grouping not allowed for %s aggregation", op.text)
	case e.Unwrap != nil && !allowed.unwrap:
		p.fail(op.pos, "invalid aggregation %s with unwrap", op.text)
	case e.Unwrap == nil && !allowed.lines:
		p.fail(op.pos, "invalid aggregation %s without unwrap", op.text)
	}
	return e
}

// logRange reads a log query with a range, an offset and an unwrap, which may
// stand before or behind the stages, inside parentheses or outside of them.
func (p *queryParser) logRange(e *RangeAgg) {
	p.logRangeOperand(e)
	if p.err == nil && e.Range == 0 {
		p.unexpected("a RANGE such as [5m]")
	}
}

func (p *queryParser) logRangeOperand(e *RangeAgg) {
	defer p.enter()()
	switch {
	case p.accept("("):
		p.logRangeOperand(e)
		p.expect(")")
	case p.peek().is("{"):
		e.Log = p.selector()
	default:
		p.unexpected("{", "(")
		return
	}
	for p.err == nil {
		t := p.peek()
		switch {
		case t.kind == tokRange:
			p.take()
			if e.Range != 0 {
				p.fail(t.pos, "there is a range already")
			}
			e.Range = time.Duration(t.number)
			e.Offset = p.offset()
		case t.is("|") && p.peek2().is("unwrap"):
			p.unwrap(e)
		case e.Unwrap != nil && t.is("|"):
			p.take()
			e.Unwrap.Filters = append(e.Unwrap.Filters, p.labelFilter())
		case e.Unwrap == nil && startsStage(t):
			e.Log.Stages = append(e.Log.Stages, p.stage())
		default:
			return
		}
	}
}

// maxOffset bounds offsets and ranges: it keeps times far from the ends of int64.
const maxOffset = 50 * 365 * 24 * time.Hour

func (p *queryParser) offset() time.Duration {
	if !p.accept("offset") {
		return 0
	}
	sign := time.Duration(1)
	if p.accept("-") {
		sign = -1
	}
	if p.peek().kind != tokDuration {
		p.unexpected("DURATION")
		return 0
	}
	t := p.take()
	if t.number > float64(maxOffset) {
		p.fail(t.pos, "offset %s is too large", t.text)
	}
	return sign * time.Duration(t.number)
}

func (p *queryParser) unwrap(e *RangeAgg) {
	p.take()
	t := p.take()
	if e.Unwrap != nil {
		p.fail(t.pos, "only one unwrap is allowed")
		return
	}
	name := p.ident()
	e.Unwrap = &Unwrap{Label: name.text}
	if !p.accept("(") {
		return
	}
	switch name.text {
	case "duration", "duration_seconds", "bytes":
	default:
		p.fail(name.pos, "unknown conversion %s for unwrap; there are duration duration_seconds bytes", name.text)
	}
	e.Unwrap.Conversion, e.Unwrap.Label = name.text, p.ident().text
	p.expect(")")
}
