package logql

import "github.com/prometheus/prometheus/model/labels"

func isComparison(t token) bool {
	if t.kind != tokOp {
		return false
	}
	switch t.text {
	case "=", "==", "!=", ">", ">=", "<", "<=", "=~", "!~":
		return true
	}
	return false
}

// labelFilter reads conditions joined by or, by and, by commas or by nothing;
// or binds weakest.
func (p *queryParser) labelFilter() LabelFilter {
	defer p.enter()()
	left := p.labelFilterAnd()
	for p.peek().is("or") {
		p.join(p.take())
		left = &BinaryFilter{Or: true, Left: left, Right: p.labelFilterAnd()}
	}
	return left
}

func (p *queryParser) labelFilterAnd() LabelFilter {
	left := p.labelFilterOperand()
	for p.err == nil {
		t := p.peek()
		switch {
		case t.is("and"), t.is(","):
			p.take()
		case t.is("or") || t.kind != tokIdent && !t.is("("):
			return left
		}
		p.join(t)
		left = &BinaryFilter{Left: left, Right: p.labelFilterOperand()}
	}
	return left
}

func (p *queryParser) labelFilterOperand() LabelFilter {
	if p.accept("(") {
		f := p.labelFilter()
		p.expect(")")
		return f
	}
	name := p.ident()
	op := p.peek()
	if !isComparison(op) {
		p.unexpected("=", "==", "!=", ">", ">=", "<", "<=", "=~", "!~")
		return nil
	}
	p.take()
	t := p.peek()
	if t.kind == tokString {
		typ, ok := matchTypes[op.text]
		if !ok {
			p.fail(op.pos, "syntax error: unexpected %s before a STRING, expecting = or != or =~ or !~", op)
			return nil
		}
		return newStringFilter(p.newMatcher(typ, name.text, p.take()))
	}
	if op.text == "=~" || op.text == "!~" {
		p.unexpected("STRING")
		return nil
	}
	if t.is("ip") {
		return p.ipFilter(name, op)
	}
	return p.numberFilter(name.text, op.text)
}

func newStringFilter(m *labels.Matcher) LabelFilter {
	if m == nil {
		return nil
	}
	return &StringFilter{m}
}

func (p *queryParser) ipFilter(name, op token) LabelFilter {
	if op.text != "=" && op.text != "!=" {
		p.fail(op.pos, "ip() is for = and !=, not for %s", op)
		return nil
	}
	p.take()
	p.expect("(")
	t := p.str()
	p.expect(")")
	p.checkIP(t)
	return &IPFilter{Name: name.text, Negate: op.text == "!=", Pattern: t.text}
}

func (p *queryParser) numberFilter(name, op string) LabelFilter {
	if op == "=" {
		op = "=="
	}
	f := &NumberFilter{Name: name, Op: op}
	sign := 1.0
	if p.accept("-") {
		sign = -1
	} else {
		p.accept("+")
	}
	t := p.peek()
	switch t.kind {
	case tokNumber:
	case tokDuration:
		f.Unit = UnitDuration
	case tokBytes:
		f.Unit = UnitBytes
		if sign < 0 {
			p.fail(t.pos, "a size cannot be negative")
		}
	default:
		p.unexpected("NUMBER", "DURATION", "BYTES", "STRING")
		return nil
	}
	f.Value = sign * p.take().number
	return f
}
