// Package redact takes secrets out of log lines by rules: regular expressions
// and what to put in place of what they match. The built-in rules know common
// credentials by their form.
package redact

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/binnacle-obs/binnacle/storage"
)

// Redacted is what built-in rules put in place of a secret, and others do by
// default.
const Redacted = "[REDACTED]"

// maxRules is how many rules can be told apart by the bits of a hits.
const maxRules = 64

// Rule replaces what a regular expression matches.
type Rule struct {
	// Name in metrics.
	Name string
	// Regexp has Go's syntax and must not match the empty text.
	Regexp string
	// Replacement is the new text; $1 or ${name} stand for groups of Regexp. ""
	// means Redacted.
	Replacement string

	// anyOf has texts of which one is in each match, in any case: four bytes or
	// more. It is derived from Regexp if empty.
	anyOf []string
	// needs has shorter texts of which every match holds all.
	needs []string
}

// Options configure a Redactor.
type Options struct {
	// Rules apply after the built-in ones, in their order.
	Rules []Rule
	// NoBuiltin leaves out the built-in rules.
	NoBuiltin bool
	// Mark changes the text that is put in place of a match, to show it on a
	// terminal; it may be nil.
	Mark func([]byte) []byte
	// Registerer takes the binnacle_redact_* metrics; it may be nil.
	Registerer prometheus.Registerer
}

// Redactor applies rules. It is safe for concurrent use.
type Redactor struct {
	rules   []*rule
	scanner *scanner
	// always are the rules for which the scanner has nothing to look for.
	always hits
	keys   *keyBlocks // nil without built-in rules
	keyBit hits
	mark   func([]byte) []byte
}

// rule is a compiled Rule.
type rule struct {
	name        string
	re          *regexp.Regexp
	replacement []byte
	needs       [][]byte
	count       atomic.Int64
}

// New compiles the rules.
func New(o Options) (*Redactor, error) {
	r := &Redactor{scanner: &scanner{}, mark: o.Mark}
	all := o.Rules
	if !o.NoBuiltin {
		all = append(slices.Clone(builtin), o.Rules...)
	}
	if len(all) >= maxRules {
		return nil, fmt.Errorf("%d redaction rules: at most %d are possible, the built-in ones included", len(all), maxRules-1)
	}
	for _, definition := range all {
		if err := r.add(definition); err != nil {
			return nil, fmt.Errorf("redaction rule %q: %w", definition.Name, err)
		}
	}
	if !o.NoBuiltin {
		r.keys = newKeyBlocks(r.put)
		r.keyBit = 1 << len(r.rules)
		r.rules = append(r.rules, &r.keys.rule)
		r.scanner.add(r.keyBit, "PRIVATE KEY")
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(collector{r}); err != nil {
			return nil, fmt.Errorf("register metrics of redaction: %w", err)
		}
	}
	return r, nil
}

func (r *Redactor) add(definition Rule) error {
	if definition.Name == "" {
		return errors.New("a name is needed")
	}
	if slices.ContainsFunc(r.rules, func(other *rule) bool { return other.name == definition.Name }) || definition.Name == keyRule {
		return errors.New("there is another rule of this name")
	}
	u, err := compile(definition)
	if err != nil {
		return err
	}
	bit := hits(1) << len(r.rules)
	r.rules = append(r.rules, u)
	anyOf := definition.anyOf
	if len(anyOf) == 0 && len(u.needs) == 0 {
		anyOf = required(definition.Regexp)
	}
	for _, text := range anyOf {
		r.scanner.add(bit, text)
	}
	if len(anyOf) == 0 {
		r.always |= bit
	}
	return nil
}

var reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

func compile(definition Rule) (*rule, error) {
	re, err := regexp.Compile(definition.Regexp)
	if err != nil {
		return nil, err
	}
	if re.MatchString("") {
		return nil, fmt.Errorf("%q matches the empty text, so it would be replaced everywhere", definition.Regexp)
	}
	if definition.Replacement == "" {
		definition.Replacement = Redacted
	}
	for _, m := range reference.FindAllStringSubmatch(definition.Replacement, -1) {
		group := m[1] + m[2]
		if n, err := strconv.Atoi(group); group == "" || err == nil && n <= re.NumSubexp() || slices.Contains(re.SubexpNames(), group) {
			continue
		}
		return nil, fmt.Errorf("the replacement uses %s, but %q has no such group (write ${1}x for group 1 followed by x)", m[0], definition.Regexp)
	}
	u := &rule{name: definition.Name, re: re, replacement: []byte(definition.Replacement)}
	for _, text := range definition.needs {
		u.needs = append(u.needs, []byte(text))
	}
	return u, nil
}

// Edit takes secrets out of the line of a record. It makes a new line and sets
// storage.FlagRedacted if there are any; otherwise the record stays as it is.
// The records of a source must come in their order.
func (r *Redactor) Edit(record *storage.Record) {
	found := r.scanner.scan(record.Line) | r.always
	line, changed := record.Line, false
	if r.keys != nil {
		line, changed = r.keys.edit(record, found&r.keyBit != 0)
		found &^= r.keyBit
	}
	for ; found != 0; found &= found - 1 {
		var n int
		line, n = r.apply(r.rules[bits.TrailingZeros64(uint64(found))], line)
		changed = changed || n > 0
	}
	if changed {
		record.Line = line
		record.Flags |= storage.FlagRedacted
	}
}

// apply replaces the matches of one rule, and returns how many it did.
func (r *Redactor) apply(u *rule, line []byte) (out []byte, n int) {
	for _, text := range u.needs {
		if !bytes.Contains(line, text) {
			return line, 0
		}
	}
	matches := u.re.FindAllSubmatchIndex(line, -1)
	if len(matches) == 0 {
		return line, 0
	}
	last := 0
	for _, m := range matches {
		text := u.re.Expand(nil, u.replacement, line, m)
		if m[0] == m[1] || bytes.Equal(text, line[m[0]:m[1]]) {
			continue // redacted before
		}
		out = append(out, line[last:m[0]]...)
		out = append(out, r.put(text)...)
		last = m[1]
		n++
	}
	if n == 0 {
		return line, 0
	}
	u.count.Add(int64(n))
	return append(out, line[last:]...), n
}

// put is the text to put in place of a secret.
func (r *Redactor) put(text []byte) []byte {
	if r.mark != nil {
		return r.mark(text)
	}
	return text
}

// Count is how often a rule has replaced something.
type Count struct {
	Rule string
	N    int64
}

// Counts are those of all rules, in the order in which they apply.
func (r *Redactor) Counts() []Count {
	counts := make([]Count, len(r.rules))
	for i, u := range r.rules {
		counts[i] = Count{u.name, u.count.Load()}
	}
	return counts
}

// collector exports Counts.
type collector struct{ redactor *Redactor }

var descMatches = prometheus.NewDesc("binnacle_redact_replacements_total", "Secrets taken out of log lines.", []string{"rule"}, nil)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- descMatches }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, count := range c.redactor.Counts() {
		ch <- prometheus.MustNewConstMetric(descMatches, prometheus.CounterValue, float64(count.N), count.Rule)
	}
}
