package logql

import (
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// logExpr reads a selector and stages, without a range.
func (p *queryParser) logExpr() Expr { return p.moreStages(p.selector()) }

// moreStages continues e with the stages that follow.
func (p *queryParser) moreStages(e *LogExpr) Expr {
	for p.err == nil && startsStage(p.peek()) {
		if p.peek().is("!=") && p.peek2().kind != tokString && !p.peek2().is("ip") {
			return e // an operation that expr refuses
		}
		e.Stages = append(e.Stages, p.stage())
	}
	return e
}

func startsStage(t token) bool {
	return t.is("|") || isLineFilterOp(t)
}

func isLineFilterOp(t token) bool {
	if t.kind != tokOp {
		return false
	}
	switch t.text {
	case "|=", "!=", "|~", "!~", "|>", "!>":
		return true
	}
	return false
}

func (p *queryParser) selector() *LogExpr {
	e := &LogExpr{}
	p.expect("{")
	for !p.accept("}") && p.err == nil {
		if len(e.Matchers) > 0 && !p.accept(",") {
			p.unexpected(",", "}")
		}
		e.Matchers = append(e.Matchers, p.matcher())
	}
	return e
}

var matchTypes = map[string]labels.MatchType{
	"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp,
}

// matcher reads a name, an operator and a string.
func (p *queryParser) matcher() *labels.Matcher {
	name := p.ident()
	op := p.peek()
	typ, ok := matchTypes[op.text]
	if !ok || op.kind != tokOp {
		p.unexpected("=", "!=", "=~", "!~")
		return nil
	}
	p.take()
	return p.newMatcher(typ, name.text, p.str())
}

func (p *queryParser) newMatcher(typ labels.MatchType, name string, value token) *labels.Matcher {
	if p.err != nil {
		return nil
	}
	m, err := labels.NewMatcher(typ, name, value.text)
	if err != nil {
		p.fail(value.pos, "%s", err)
	}
	return m
}

// bareStages may be followed by a line filter: | json != "x" is no condition
// on a label named json, unless it stands in parentheses.
var bareStages = map[string]bool{"json": true, "logfmt": true, "unpack": true, "decolorize": true}

// stage reads a line filter or "| name …".
func (p *queryParser) stage() Stage {
	if isLineFilterOp(p.peek()) {
		return p.lineFilter()
	}
	p.expect("|")
	t := p.peek()
	if t.is("(") {
		return &LabelFilterStage{p.labelFilter()}
	}
	if t.kind != tokIdent {
		p.unexpected("a parser", "a label filter", "a formatter")
		return nil
	}
	if op := p.peek2(); isComparison(op) && (!bareStages[t.text] || !isLineFilterOp(op)) {
		return &LabelFilterStage{p.labelFilter()}
	}
	p.take()
	switch t.text {
	case "json":
		return &JSONParser{p.extractions(checkJSONPath)}
	case "logfmt":
		return p.logfmt()
	case "pattern":
		return p.pattern()
	case "regexp":
		return p.regexpParser()
	case "unpack":
		return &UnpackParser{}
	case "line_format":
		return p.lineFormat()
	case "label_format":
		return p.labelFormat()
	case "drop":
		return &DropLabels{p.conditions()}
	case "keep":
		return &KeepLabels{p.conditions()}
	case "decolorize":
		return &Decolorize{}
	case "unwrap":
		p.fail(t.pos, "unwrap is for range aggregations such as sum_over_time(… | unwrap x [5m])")
	case "distinct":
		p.fail(t.pos, "stage distinct is not supported")
	default:
		p.fail(t.pos, "syntax error: unexpected IDENTIFIER (%s), expecting a stage (json logfmt pattern regexp unpack line_format label_format drop keep decolorize) or a label filter", t.text)
	}
	return nil
}

func (p *queryParser) lineFilter() Stage {
	f := &LineFilter{Op: p.take().text}
	for {
		pattern := FilterPattern{}
		t := p.peek()
		if t.is("ip") {
			p.take()
			p.expect("(")
			t = p.str()
			p.expect(")")
			pattern.IP = true
			p.checkIPFilter(f.Op, t)
		} else {
			t = p.str()
			p.checkLinePattern(f.Op, t)
		}
		pattern.Text = t.text
		f.Patterns = append(f.Patterns, pattern)
		if op := p.peek(); !op.is("or") || p.peek2().kind != tokString && !p.peek2().is("ip") {
			return f
		}
		p.take()
	}
}

func (p *queryParser) checkIPFilter(op string, t token) {
	if op != "|=" && op != "!=" {
		p.fail(t.pos, "ip() is for |= and !=, not for %s", op)
		return
	}
	p.checkIP(t)
}

func (p *queryParser) checkIP(t token) {
	if p.err != nil {
		return
	}
	if _, err := parseIPPattern(t.text); err != nil {
		p.fail(t.pos, "%s", err)
	}
}

func (p *queryParser) checkLinePattern(op string, t token) {
	switch op {
	case "|~", "!~":
		p.checkRegexp(t)
	case "|>", "!>":
		if p.err != nil {
			return
		}
		if _, err := parseLinePattern(t.text); err != nil {
			p.fail(t.pos, "%s", err)
		}
	}
}

// extractions reads: a="path", b, c="path".
func (p *queryParser) extractions(check func(path string) error) []Extraction {
	var list []Extraction
	for p.peek().kind == tokIdent {
		name := p.take()
		x := Extraction{Label: name.text, Path: name.text}
		if p.accept("=") {
			path := p.str()
			if p.err != nil {
				return nil
			}
			if err := check(path.text); err != nil {
				p.fail(path.pos, "%s", err)
			}
			x.Path = path.text
		}
		list = append(list, x)
		if !p.peek().is(",") {
			break
		}
		p.take()
		if p.peek().kind != tokIdent {
			p.unexpected("IDENTIFIER")
		}
	}
	return list
}

func (p *queryParser) logfmt() Stage {
	s := &LogfmtParser{}
	for p.peek().kind == tokFlag {
		switch t := p.take(); t.text {
		case "--strict":
			s.Strict = true
		case "--keep-empty":
			s.KeepEmpty = true
		default:
			p.fail(t.pos, "unknown flag %s of logfmt; there are --strict and --keep-empty", t.text)
		}
	}
	s.Extractions = p.extractions(checkLogfmtKey)
	return s
}

func (p *queryParser) pattern() Stage {
	t := p.str()
	if p.err != nil {
		return nil
	}
	if _, err := parsePattern(t.text); err != nil {
		p.fail(t.pos, "%s", err)
	}
	return &PatternParser{t.text}
}

func (p *queryParser) regexpParser() Stage {
	t := p.str()
	if p.err != nil {
		return nil
	}
	re, err := regexp.Compile(t.text)
	if err != nil {
		p.fail(t.pos, "%s", err)
		return nil
	}
	seen := map[string]bool{}
	for _, name := range re.SubexpNames() {
		switch {
		case name == "":
		case !isLabelName(name):
			p.fail(t.pos, "invalid extracted label name '%s'", name)
		case seen[name]:
			p.fail(t.pos, "duplicate extracted label name '%s'", name)
		}
		seen[name] = name != ""
	}
	delete(seen, "")
	if len(seen) == 0 {
		p.fail(t.pos, "at least one named capture must be supplied, such as (?P<name>…)")
	}
	return &RegexpParser{t.text}
}

func (p *queryParser) lineFormat() Stage {
	t := p.str()
	p.checkTemplate(t)
	return &LineFormat{t.text}
}

func (p *queryParser) checkTemplate(t token) {
	if p.err != nil {
		return
	}
	if _, err := newTemplate(t.text); err != nil {
		p.fail(t.pos, "invalid template: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
}

func (p *queryParser) labelFormat() Stage {
	s := &LabelFormat{}
	seen := map[string]bool{}
	for {
		name := p.ident()
		p.expect("=")
		if p.err != nil {
			return nil
		}
		if name.text == errorLabel || name.text == errorDetailsLabel {
			p.fail(name.pos, "%s cannot be formatted", name.text)
		}
		if seen[name.text] {
			p.fail(name.pos, "multiple label name '%s' not allowed in a single format operation", name.text)
		}
		seen[name.text] = true
		f := Assignment{Name: name.text}
		switch t := p.peek(); t.kind {
		case tokIdent:
			f.Value, f.Rename = p.take().text, true
		case tokString:
			f.Value = p.take().text
			p.checkTemplate(t)
		default:
			p.unexpected("IDENTIFIER", "STRING")
		}
		s.Formats = append(s.Formats, f)
		if !p.accept(",") {
			return s
		}
	}
}

// conditions reads: a, b="x", c=~"y".
func (p *queryParser) conditions() []LabelCondition {
	var list []LabelCondition
	for {
		name := p.peek()
		c := LabelCondition{Name: name.text}
		if typ := matchTypes[p.peek2().text]; p.peek2().kind == tokOp && (typ != 0 || p.peek2().text == "=") {
			c.Matcher = p.matcher()
		} else {
			p.ident()
		}
		list = append(list, c)
		if !p.accept(",") {
			return list
		}
	}
}
