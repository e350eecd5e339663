package redact

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxAlternatives bounds the texts that are looked for on behalf of one rule.
const maxAlternatives = 8

// required derives from a regular expression texts of which every match holds
// one, each long enough for the scanner. There are none for many expressions,
// which are then tried on every line.
func required(expression string) (anyOf []string) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil // regexp.Compile has told
	}
	if anyOf = requiredOf(re); len(anyOf) > maxAlternatives {
		return nil
	}
	return anyOf
}

func requiredOf(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return fromLiteral(re)
	case syntax.OpCapture, syntax.OpPlus:
		return requiredOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredOf(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if texts := requiredOf(sub); len(texts) > 0 && (best == nil || len(texts) < len(best)) {
				best = texts
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			texts := requiredOf(sub)
			if len(texts) == 0 {
				return nil
			}
			all = append(all, texts...)
		}
		return all
	}
	return nil
}

// fromLiteral takes what folding by ASCII is right for: in any case, k and s
// match the Kelvin sign and the long s as well.
func fromLiteral(re *syntax.Regexp) []string {
	text := string(re.Rune)
	if re.Flags&syntax.FoldCase == 0 {
		if len(text) < window {
			return nil
		}
		return []string{text}
	}
	parts := strings.FieldsFunc(text, func(r rune) bool {
		return r >= utf8.RuneSelf || strings.ContainsRune("kKsS", r)
	})
	parts = slices.DeleteFunc(parts, func(part string) bool { return len(part) < window })
	if len(parts) == 0 {
		return nil
	}
	return parts[:1]
}
