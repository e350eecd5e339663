package elastic

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxGlobs bounds the alternatives that a pattern is taken apart into.
	maxGlobs = 32
	// maxGlobText bounds the text of a glob; Lucene bounds the automaton that
	// it makes of one.
	maxGlobText = 256
	// maxClass is the largest character class that is spelled out.
	maxClass = 8
)

// glob is a wildcard query without the stars at its ends. "" finds everything.
type glob struct {
	pattern string
	// fold ignores the case of ASCII letters.
	fold bool
}

// globsOf returns wildcards of which at least one finds every line that the
// pattern finds. With exact set they find no other lines.
func globsOf(p storage.LinePattern) (globs []glob, exact bool) {
	if !p.Regexp {
		if !utf8.ValidString(p.Text) {
			return []glob{{}}, false
		}
		return bounded([]glob{{pattern: escaped(p.Text)}}, true)
	}
	re, err := syntax.Parse(p.Text, syntax.Perl)
	if err != nil {
		return []glob{{}}, false
	}
	w := globber{exact: true}
	return bounded(w.walk(re.Simplify()), w.exact)
}

// bounded gives up globs that are too many or too long.
func bounded(globs []glob, exact bool) ([]glob, bool) {
	for _, g := range globs {
		if len(g.pattern) > maxGlobText {
			return []glob{{}}, false
		}
		if strings.Trim(g.pattern, gap) == "" {
			return []glob{{}}, exact
		}
	}
	return globs, exact
}

const gap = "*"

// escaped is text without the meaning of its wildcards.
func escaped(text string) string {
	return wildcards.Replace(text)
}

var wildcards = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`)

// globber translates a regular expression. What has no translation becomes a
// gap, and the result is not exact.
type globber struct{ exact bool }

func (w *globber) walk(re *syntax.Regexp) []glob {
	switch re.Op {
	case syntax.OpLiteral:
		return []glob{w.literal(re)}
	case syntax.OpEmptyMatch:
		return []glob{{}}
	case syntax.OpCapture:
		return w.walk(re.Sub[0])
	case syntax.OpConcat:
		return w.concat(re.Sub)
	case syntax.OpAlternate:
		return w.alternate(re.Sub)
	case syntax.OpCharClass:
		return w.class(re)
	case syntax.OpPlus:
		return w.then(w.walk(re.Sub[0]), w.gap())
	case syntax.OpRepeat:
		if re.Min > 0 {
			return w.then(w.walk(re.Sub[0]), w.gap())
		}
		return w.gap()
	case syntax.OpQuest:
		return w.limit(append(w.walk(re.Sub[0]), glob{}))
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		w.exact = false
		return []glob{{}}
	default:
		return w.gap()
	}
}

func (w *globber) gap() []glob {
	w.exact = false
	return []glob{{pattern: gap}}
}

func (w *globber) literal(re *syntax.Regexp) glob {
	if re.Flags&syntax.FoldCase == 0 {
		return glob{pattern: escaped(string(re.Rune))}
	}
	// Go folds all of Unicode: K is also the Kelvin sign and S the long s. The
	// servers fold ASCII.
	w.exact = false
	var b strings.Builder
	for _, r := range re.Rune {
		if r >= utf8.RuneSelf || strings.ContainsRune("kKsS", r) {
			b.WriteByte('?')
			continue
		}
		b.WriteString(escaped(string(r)))
	}
	return glob{pattern: b.String(), fold: true}
}

func (w *globber) class(re *syntax.Regexp) []glob {
	var globs []glob
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if len(globs) == maxClass {
				return w.gap()
			}
			globs = append(globs, glob{pattern: escaped(string(r))})
		}
	}
	if len(globs) == 0 {
		return w.gap()
	}
	return globs
}

func (w *globber) concat(subs []*syntax.Regexp) []glob {
	globs := []glob{{}}
	for _, sub := range subs {
		globs = w.then(globs, w.walk(sub))
	}
	return globs
}

// then is every one of a before every one of b.
func (w *globber) then(a, b []glob) []glob {
	if len(a)*len(b) > maxGlobs {
		if len(b) > 1 {
			return w.then(a, w.gap())
		}
		return w.then(w.gap(), b)
	}
	out := make([]glob, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			text := x.pattern + y.pattern
			if strings.HasSuffix(x.pattern, gap) && y.pattern == gap && !strings.HasSuffix(x.pattern, `\`+gap) {
				text = x.pattern
			}
			out = append(out, glob{pattern: text, fold: x.fold || y.fold})
		}
	}
	return out
}

func (w *globber) alternate(subs []*syntax.Regexp) []glob {
	var globs []glob
	for _, sub := range subs {
		globs = append(globs, w.walk(sub)...)
	}
	return w.limit(globs)
}

func (w *globber) limit(globs []glob) []glob {
	if len(globs) > maxGlobs {
		return w.gap()
	}
	return globs
}
