package ledger

import (
	"bytes"
	"fmt"
	"strings"
)

// Record is a log record that came out of the pipeline.
type Record struct {
	Time   int64 // nanoseconds since the Unix epoch
	Line   []byte
	Labels map[string]string
}

// Checker compares records with what was written. It is not for concurrent
// use.
type Checker struct {
	accounts map[string]*seen
	order    []*seen
	// Ordered requires ascending times. Entries of a stream must come in the
	// order of their numbers either way.
	Ordered bool
	// Suffix takes entries before the first record of an account as not asked
	// for.
	Suffix bool
	lastAt int64
	report Report
}

// seen is what was found of an account.
type seen struct {
	Account
	found []bool
	next  int // number after that of the last record
}

// NewChecker expects the accounts and nothing else.
func NewChecker(accounts []Account) *Checker {
	c := &Checker{accounts: map[string]*seen{}, Ordered: true}
	for _, a := range accounts {
		s := &seen{Account: a, found: make([]bool, a.Entries)}
		c.accounts[accountKey(a.Source, a.Stream)] = s
		c.order = append(c.order, s)
	}
	return c
}

func accountKey(s Source, stream string) string { return s.String() + "/" + stream }

// Report counts what is wrong.
type Report struct {
	// Records were checked, Expected were written.
	Records, Expected int
	// Lost entries were written and not found.
	Lost int
	// Doubled are records beyond the first of an entry.
	Doubled int
	// Corrupt records have the head of an entry and not its text or time.
	Corrupt int
	// Disorder counts records that came after a later one.
	Disorder int
	// Mislabelled records have other labels than their log.
	Mislabelled int
	// Foreign records are no entries, or of no log that is expected.
	Foreign int
	// Examples are some of them in words.
	Examples []string
}

// Err is nil when every entry was found once, whole and in order.
func (r Report) Err() error {
	if r.Lost+r.Doubled+r.Corrupt+r.Disorder+r.Mislabelled+r.Foreign == 0 {
		return nil
	}
	return fmt.Errorf("of %d entries %d lost, %d doubled, %d corrupt, %d in disorder, %d mislabelled, %d foreign\n%s",
		r.Expected, r.Lost, r.Doubled, r.Corrupt, r.Disorder, r.Mislabelled, r.Foreign, strings.Join(r.Examples, "\n"))
}

// examples bounds what a report says in words of each kind of fault.
const examples = 3

func (c *Checker) note(count *int, format string, args ...any) {
	*count++
	if *count <= examples {
		c.report.Examples = append(c.report.Examples, fmt.Sprintf(format, args...))
	}
}

// Add checks a record. It keeps no reference to it.
func (c *Checker) Add(r Record) {
	c.report.Records++
	if c.Ordered && r.Time < c.lastAt {
		c.note(&c.report.Disorder, "disorder: time %d after %d: %s", r.Time, c.lastAt, clip(r.Line))
	}
	c.lastAt = max(c.lastAt, r.Time)
	e, err := parse(r.Line)
	if err != nil {
		c.note(&c.report.Foreign, "foreign: %v %v", err, r.Labels)
		return
	}
	s := c.accounts[accountKey(e.Source, e.Stream)]
	if s == nil || e.Number < 0 || e.Number >= s.Entries {
		c.note(&c.report.Foreign, "foreign: %s", clip(r.Line))
		return
	}
	c.content(s, &e, r)
	if s.found[e.Number] {
		c.note(&c.report.Doubled, "doubled: %s", clip(r.Line))
		return
	}
	s.found[e.Number] = true
	if e.Number < s.next {
		c.note(&c.report.Disorder, "disorder: after entry %d: %s", s.next-1, clip(r.Line))
	}
	s.next = e.Number + 1
}

// content checks text, time and labels.
func (c *Checker) content(s *seen, e *Entry, r Record) {
	if want := e.Stored(); !bytes.Equal(r.Line, want) {
		i := difference(r.Line, want)
		c.note(&c.report.Corrupt, "corrupt: %s has %d bytes of %d and differs from byte %d: %q, want %q",
			e.head(), len(r.Line), len(want), i, clip(r.Line[i:]), clip(want[i:]))
	} else if s.Timed && r.Time != e.Time {
		c.note(&c.report.Corrupt, "corrupt: time %d: %s", r.Time, clip(r.Line))
	}
	wrong := s.Timed && r.Labels["stream"] != e.Stream
	for name, value := range s.Labels {
		wrong = wrong || r.Labels[name] != value
	}
	if wrong {
		c.note(&c.report.Mislabelled, "mislabelled: %v: %s", r.Labels, clip(r.Line))
	}
}

// difference is the index of the first byte that differs.
func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (c *Checker) lost(s *seen, first, last int) {
	c.note(&c.report.Lost, "lost: %s entries %d to %d of %d", accountKey(s.Source, s.Stream), first, last, s.Entries)
	c.report.Lost += last - first
}

// Ended tells whether the last entry of every account was found.
func (c *Checker) Ended() bool {
	for _, s := range c.order {
		if s.Entries > 0 && !s.found[s.Entries-1] {
			return false
		}
	}
	return true
}

// Report tells what is wrong after the last record.
func (c *Checker) Report() Report {
	for _, s := range c.order {
		c.report.Expected += s.Entries
		begun := !c.Suffix
		for first := 0; first < s.Entries; first++ {
			if begun = begun || s.found[first]; s.found[first] || !begun {
				continue
			}
			last := first
			for last+1 < s.Entries && !s.found[last+1] {
				last++
			}
			c.lost(s, first, last)
			first = last
		}
	}
	return c.report
}
