package storage

import (
	"slices"
	"unicode/utf8"

	"github.com/grafana/regexp/syntax"
)

const (
	// maxAlternatives bounds what is derived from a regular expression: more
	// literals than this take longer to look for than the expression itself.
	maxAlternatives = 32
	// maxClass is how many characters of a class are taken one by one.
	maxClass = 4
)

// facts are what is known of the texts that an expression matches.
type facts struct {
	// exact are all of them, nil when that is not known.
	exact []literal
	// need is what each of them contains, when exact is nil.
	need alternatives
}

// alternatives returns what a line must contain.
func (f facts) alternatives() alternatives {
	if f.exact == nil {
		return f.need
	}
	var out alternatives
	for _, l := range f.exact {
		if l.text == "" {
			return nil
		}
		out = append(out, literals{l})
	}
	return out
}

// analyze returns what it can tell without ever being wrong.
func analyze(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return facts{exact: []literal{{}}}
	case syntax.OpLiteral:
		return analyzeLiteral(re)
	case syntax.OpCharClass:
		return analyzeClass(re)
	case syntax.OpCapture:
		return analyze(re.Sub[0])
	case syntax.OpConcat:
		return analyzeConcat(re.Sub)
	case syntax.OpAlternate:
		return analyzeAlternate(re.Sub)
	case syntax.OpPlus:
		return facts{need: analyze(re.Sub[0]).alternatives()}
	case syntax.OpRepeat:
		if re.Min > 0 {
			return facts{need: analyze(re.Sub[0]).alternatives()}
		}
	case syntax.OpQuest:
		if f := analyze(re.Sub[0]); f.exact != nil && len(f.exact) < maxAlternatives {
			return facts{exact: append(slices.Clone(f.exact), literal{})}
		}
	}
	return facts{}
}

// analyzeLiteral splits a literal at characters that match more than their own
// bytes: U+FFFD stands for any byte that is not UTF-8, and without regard to
// case there are letters beyond ASCII that match those of ASCII (k and s).
func analyzeLiteral(re *syntax.Regexp) facts {
	fold := re.Flags&syntax.FoldCase != 0
	var pieces literals
	var piece []rune
	flush := func() {
		if len(piece) > 0 {
			text := string(piece)
			if fold {
				text = lowerASCII(text)
			}
			pieces = append(pieces, literal{text: text, fold: fold})
			piece = piece[:0]
		}
	}
	whole := true
	for _, r := range re.Rune {
		if r == utf8.RuneError || fold && (r >= utf8.RuneSelf || r|0x20 == 'k' || r|0x20 == 's') {
			flush()
			whole = false
			continue
		}
		piece = append(piece, r)
	}
	flush()
	switch {
	case len(pieces) == 0:
		return facts{}
	case whole:
		return facts{exact: pieces}
	}
	return facts{need: alternatives{pieces}}
}

// analyzeClass takes small classes apart.
func analyzeClass(re *syntax.Regexp) facts {
	var out []literal
	for i := 0; i < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if r == utf8.RuneError || len(out) == maxClass {
				return facts{}
			}
			out = append(out, literal{text: string(r)})
		}
	}
	return facts{exact: out}
}

func analyzeConcat(subs []*syntax.Regexp) facts {
	run := []literal{{}}
	var need alternatives
	whole := true
	flush := func() {
		need = need.and(facts{exact: run}.alternatives())
		run = []literal{{}}
	}
	for _, sub := range subs {
		f := analyze(sub)
		if f.exact == nil {
			flush()
			need = need.and(f.need)
			whole = false
			continue
		}
		joined, ok := product(run, f.exact)
		if !ok {
			flush()
			whole = false
			joined = f.exact
		}
		run = joined
	}
	if whole {
		return facts{exact: run}
	}
	flush()
	return facts{need: need}
}

// product joins each text of a with each of b, unless that is too many or they
// differ in how they treat case.
func product(a, b []literal) ([]literal, bool) {
	if len(a)*len(b) > maxAlternatives {
		return nil, false
	}
	var out []literal
	for _, x := range a {
		for _, y := range b {
			if x.text != "" && y.text != "" && x.fold != y.fold {
				return nil, false
			}
			out = append(out, literal{text: x.text + y.text, fold: x.fold && x.text != "" || y.fold && y.text != ""})
		}
	}
	return out, true
}

func analyzeAlternate(subs []*syntax.Regexp) facts {
	var exact []literal
	var need alternatives
	whole, known := true, true
	for _, sub := range subs {
		f := analyze(sub)
		whole = whole && f.exact != nil
		exact = append(exact, f.exact...)
		a := f.alternatives()
		known = known && a != nil
		need = append(need, a...)
	}
	switch {
	case len(exact) > maxAlternatives || len(need) > maxAlternatives:
		return facts{}
	case whole:
		return facts{exact: exact}
	case known:
		return facts{need: need}
	}
	return facts{}
}
