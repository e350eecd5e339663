package logql

import (
	"slices"
	"strings"
)

const (
	// maxDepth bounds the nesting of parentheses and calls.
	maxDepth = 100
	// maxJoined bounds the operators of a query, which nest to the left.
	maxJoined = 1000
)

// Parse reads a query. Errors are *ParseError.
func Parse(text string) (Expr, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &queryParser{text: text, tokens: tokens}
	e := p.expr()
	if p.err == nil && p.peek().kind != tokEOF {
		p.unexpected("end of query")
	}
	if p.err != nil {
		return nil, p.err
	}
	return e, nil
}

// ParseSelector reads a stream selector with line filters and stages: a log
// query, no metric query.
func ParseSelector(text string) (*LogExpr, error) {
	e, err := Parse(text)
	if err != nil {
		return nil, err
	}
	l, ok := e.(*LogExpr)
	if !ok {
		return nil, errorAt(text, 0, "a log query is needed here, this is a metric query")
	}
	return l, nil
}

// queryParser is a recursive descent. The first error ends it: err is kept and the
// position is moved to the end, where every loop stops.
type queryParser struct {
	text   string
	tokens []token
	i      int
	depth  int
	joined int
	err    *ParseError
}

func (p *queryParser) peek() token { return p.tokens[p.i] }

func (p *queryParser) peek2() token { return p.tokens[min(p.i+1, len(p.tokens)-1)] }

func (p *queryParser) take() token {
	t := p.tokens[p.i]
	if p.i < len(p.tokens)-1 {
		p.i++
	}
	return t
}

func (p *queryParser) fail(pos int, format string, args ...any) {
	if p.err == nil {
		p.err = errorAt(p.text, pos, format, args...)
	}
	p.i = len(p.tokens) - 1
}

// unexpected says what the next token is and what was expected.
func (p *queryParser) unexpected(expecting ...string) {
	t := p.peek()
	msg := "syntax error: unexpected " + t.String()
	if len(expecting) > 0 {
		msg += ", expecting " + strings.Join(expecting, " or ")
	}
	p.fail(t.pos, "%s", msg)
}

// accept takes the next token if it is this operator or word.
func (p *queryParser) accept(text string) bool {
	if !p.peek().is(text) {
		return false
	}
	p.take()
	return true
}

func (p *queryParser) expect(text string) {
	if !p.accept(text) {
		p.unexpected(text)
	}
}

func (p *queryParser) ident() token {
	if p.peek().kind != tokIdent {
		p.unexpected("IDENTIFIER")
		return token{}
	}
	return p.take()
}

func (p *queryParser) str() token {
	if p.peek().kind != tokString {
		p.unexpected("STRING")
		return token{}
	}
	return p.take()
}

// number reads a number with an optional sign.
func (p *queryParser) number() float64 {
	sign := 1.0
	if p.accept("-") {
		sign = -1
	} else {
		p.accept("+")
	}
	if p.peek().kind != tokNumber {
		p.unexpected("NUMBER")
		return 0
	}
	return sign * p.take().number
}

// enter counts nesting; its result undoes that.
func (p *queryParser) enter() func() {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.peek().pos, "nested too deep: more than %d levels", maxDepth)
	}
	return func() { p.depth-- }
}

// join counts operators.
func (p *queryParser) join(op token) {
	p.joined++
	if p.joined > maxJoined {
		p.fail(op.pos, "too many operators: more than %d", maxJoined)
	}
}

// binaryOp is how an operator binds.
type binaryOp struct {
	precedence int
	compares   bool
	set        bool
}

// binaryOps has Prometheus' order of precedence. ^ binds to the right.
var binaryOps = map[string]binaryOp{
	"or":  {precedence: 1, set: true},
	"and": {precedence: 2, set: true}, "unless": {precedence: 2, set: true},
	"==": {precedence: 3, compares: true}, "!=": {precedence: 3, compares: true},
	">": {precedence: 3, compares: true}, ">=": {precedence: 3, compares: true},
	"<": {precedence: 3, compares: true}, "<=": {precedence: 3, compares: true},
	"+": {precedence: 4}, "-": {precedence: 4},
	"*": {precedence: 5}, "/": {precedence: 5}, "%": {precedence: 5},
	"^": {precedence: 6},
}

func (p *queryParser) expr() Expr {
	start := p.peek()
	left := p.operand()
	if _, ok := left.(*LogExpr); ok {
		if op := p.peek(); p.isBinaryOp(op) {
			p.fail(op.pos, "unexpected type for left leg of binary operation (%s): log queries cannot be combined, only metric queries can", op.text)
		}
		return left
	}
	return p.binary(left, start, 1)
}

func (p *queryParser) isBinaryOp(t token) bool {
	_, ok := binaryOps[t.text]
	return ok && (t.kind == tokOp || t.kind == tokIdent)
}

// binary continues left with operators of at least this precedence.
func (p *queryParser) binary(left Expr, start token, precedence int) Expr {
	defer p.enter()()
	for {
		op := p.peek()
		info := binaryOps[op.text]
		if !p.isBinaryOp(op) || info.precedence < precedence {
			return left
		}
		p.take()
		p.join(op)
		e := &Binary{Op: op.text}
		if p.accept("bool") {
			e.Bool = true
			if !info.compares {
				p.fail(op.pos, "bool modifier is for comparisons, not for %s", op.text)
			}
		}
		e.Matching = p.matching(info)
		rightStart := p.peek()
		next := info.precedence + 1
		if op.text == "^" {
			next--
		}
		right := p.binary(p.operand(), rightStart, next)
		e.Left, e.Right = p.needMetric(left, start, "left", op.text), p.needMetric(right, rightStart, "right", op.text)
		p.checkBinary(e, info, op)
		left = e
	}
}

func (p *queryParser) needMetric(e Expr, at token, leg, op string) MetricExpr {
	m, ok := e.(MetricExpr)
	if !ok {
		p.fail(at.pos, "unexpected type for %s leg of binary operation (%s): a metric query or a number is needed", leg, op)
	}
	return m
}

func isScalar(e MetricExpr) bool {
	switch e := e.(type) {
	case *Literal:
		return true
	case *Binary:
		return isScalar(e.Left) && isScalar(e.Right)
	}
	return false
}

func (p *queryParser) checkBinary(e *Binary, info binaryOp, op token) {
	if p.err != nil {
		return
	}
	left, right := isScalar(e.Left), isScalar(e.Right)
	switch {
	case info.set && (left || right):
		p.fail(op.pos, "unexpected literal for %s: set operations are between vectors", op.text)
	case info.compares && left && right && !e.Bool:
		p.fail(op.pos, "comparisons between numbers need the bool modifier")
	case e.Matching != nil && (left || right):
		p.fail(op.pos, "on and ignoring are for operations between vectors")
	}
}

// matching reads on/ignoring and group_left/group_right.
func (p *queryParser) matching(info binaryOp) *Matching {
	t := p.peek()
	if !t.is("on") && !t.is("ignoring") {
		return nil
	}
	p.take()
	m := &Matching{On: t.text == "on", Labels: p.labelList()}
	t = p.peek()
	if !t.is("group_left") && !t.is("group_right") {
		return m
	}
	p.take()
	m.Group = strings.TrimPrefix(t.text, "group_")
	if info.set {
		p.fail(t.pos, "no grouping allowed for set operations")
	}
	if p.peek().is("(") {
		// A parenthesis may also begin the right side.
		if next := p.peek2(); next.is(")") || next.kind == tokIdent && !p.startsOperand(p.i+1) {
			m.Include = p.labelList()
		}
	}
	for _, name := range m.Include {
		if m.On && slices.Contains(m.Labels, name) {
			p.fail(t.pos, "label %q must not occur in on and %s at once", name, t.text)
		}
	}
	return m
}

// startsOperand tells whether the identifier at index i begins an expression.
func (p *queryParser) startsOperand(i int) bool {
	return i+1 < len(p.tokens) && (p.tokens[i+1].is("(") || p.tokens[i+1].is("by") || p.tokens[i+1].is("without"))
}

// labelList reads "(a, b)".
func (p *queryParser) labelList() []string {
	p.expect("(")
	var names []string
	for !p.accept(")") && p.err == nil {
		if len(names) > 0 && !p.accept(",") {
			p.unexpected(",", ")")
		}
		names = append(names, p.ident().text)
	}
	return names
}

// Format writes a query in one line, with parentheses where operators meet and
// without comments.
func Format(text string) (string, error) {
	e, err := Parse(text)
	if err != nil {
		return "", err
	}
	return e.String(), nil
}
