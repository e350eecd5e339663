package main

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxContextFiles bounds the logs of which lines are kept for context.
	maxContextFiles = 1000
	// maxGroup bounds the lines that are kept until a group is complete.
	maxGroup = 1000
	// groupSeparator stands between groups of lines that do not follow each
	// other, as grep prints it.
	groupSeparator = "--"
)

// searchContext prints the lines that match with those around them in the
// same log. It asks twice: first which logs have matches, then for all the
// lines of those logs, as what surrounds a match is not known before.
func (s *grepSettings) searchContext(ctx context.Context, c *logClient, sel *selection, q queryRequest, lines *contextLines) (int64, error) {
	files := matchedFiles{}
	end, err := c.stream(ctx, "query_range", q.values(), files.entry, func() error { return nil })
	if errors.Is(err, errEnough) {
		err = nil
	}
	if len(files) == 0 {
		return 0, c.outcome(end, 0, err)
	}
	if err != nil {
		return 0, err
	}
	if len(files) > maxContextFiles {
		return 0, usagef("more than %d containers have lines that match: name a workload or pod, or leave out --before, --after and --context", maxContextFiles)
	}
	q.expr, q.limit = files.narrow(sel).expression(nil), 0
	lines.most = int64(s.maxCount)
	lines.wanted = s.wanted(lines.pattern)
	if _, _, err := c.once(ctx, q, lines, lines.printer.flush); err != nil {
		return lines.matched, err
	}
	if end.More {
		c.note("the first %d lines that match (-m); later ones are left out", lines.matched)
	}
	return lines.matched, nil
}

// wanted decides on lines as the query for those that match does.
func (s *grepSettings) wanted(pattern *linePattern) func(*logEntry) bool {
	var include []*regexp.Regexp
	if len(s.include) > 0 {
		include = append(include, regexp.MustCompile(anyRegexp(s.include)))
	}
	var exclude []*regexp.Regexp
	for _, expr := range s.exclude {
		exclude = append(exclude, regexp.MustCompile(expr))
	}
	levels := levelNames()
	if s.level != "" {
		levels = strings.Split(levelsFrom(s.level), "|")
	}
	return func(e *logEntry) bool {
		matches := func(re *regexp.Regexp) bool { return re.MatchString(e.line) }
		return pattern.matches(e.line) &&
			(include == nil || matches(include[0])) && !slices.ContainsFunc(exclude, matches) &&
			(s.level == "" || slices.Contains(levels, e.level()))
	}
}

// matchedFiles are the logs that have matches.
type matchedFiles map[string]*logSource

func (m matchedFiles) entry(e *logEntry) error {
	if m[e.source.file] == nil {
		m[e.source.file] = e.source
	}
	if len(m) > maxContextFiles {
		return errEnough
	}
	return nil
}

// narrow is the selection of all lines of the logs, whatever their level. It
// may have logs that did not match.
func (m matchedFiles) narrow(sel *selection) *selection {
	out := *sel
	out.level = ""
	out.matchers = slices.Clone(sel.matchers)
	for _, label := range []string{storage.LabelNamespace, storage.LabelPod, storage.LabelContainer, storage.LabelFilename} {
		var values []string
		for _, source := range m {
			values = append(values, source.labels[label])
		}
		slices.Sort(values)
		out.matchers = append(out.matchers, oneOfValues(label, slices.Compact(values)))
	}
	return &out
}

// contextLines prints matches with the lines around them, a group of lines of
// one log at a time.
type contextLines struct {
	before, after int
	pattern       *linePattern
	wanted        func(*logEntry) bool
	printer       *logPrinter
	// most is how many matches to print, 0 for all.
	most int64

	files   map[string]*fileContext
	matched int64
	// waiting counts the groups that want lines after their last match.
	waiting int
	// last is the log whose group was printed last; nil before the first.
	last *fileContext
}

// fileContext is what is kept of one log.
type fileContext struct {
	// recent are the last lines, which are in no group yet.
	recent []*logEntry
	// group is empty when no match is near.
	group []groupLine
	// rest is how many lines the group still wants.
	rest int
	// continued is set when the group follows on what was printed of it.
	continued bool
}

type groupLine struct {
	*logEntry
	match bool
}

func newContextLines(before, after int, pattern *linePattern, printer *logPrinter) *contextLines {
	return &contextLines{before: before, after: after, pattern: pattern, printer: printer, files: map[string]*fileContext{}}
}

func (c *contextLines) entry(e *logEntry) error {
	f := c.files[e.source.file]
	if f == nil {
		f = &fileContext{}
		c.files[e.source.file] = f
	}
	if err := c.place(f, e); err != nil {
		return err
	}
	if c.most > 0 && c.matched >= c.most && c.waiting == 0 {
		return errEnough
	}
	return nil
}

// place puts a line into the group of its log, or keeps it for the next one.
func (c *contextLines) place(f *fileContext, e *logEntry) error {
	switch {
	case (c.most == 0 || c.matched < c.most) && c.wanted(e):
		c.matched++
		for _, r := range f.recent {
			f.group = append(f.group, groupLine{r, false})
		}
		f.group = append(f.group, groupLine{e, true})
		f.recent = f.recent[:0]
		c.want(f, c.after)
	case f.rest > 0:
		f.group = append(f.group, groupLine{e, false})
		c.want(f, f.rest-1)
	default:
		f.recent = append(f.recent, e)
		if len(f.recent) <= c.before {
			return nil
		}
		// A line is left out between the group and what may follow.
		f.recent = slices.Delete(f.recent, 0, 1)
		err := c.print(f)
		f.continued = false
		return err
	}
	if len(f.group) >= maxGroup {
		err := c.print(f)
		f.continued = true
		return err
	}
	return nil
}

// want sets how many lines the group of a log wants.
func (c *contextLines) want(f *fileContext, rest int) {
	if f.rest > 0 {
		c.waiting--
	}
	if f.rest = rest; rest > 0 {
		c.waiting++
	}
}

// print writes the group of a log.
func (c *contextLines) print(f *fileContext) error {
	if len(f.group) == 0 {
		return nil
	}
	text, isText := c.printer.format.(*textFormat)
	if isText && c.last != nil && (!f.continued || c.last != f) {
		if _, err := c.printer.out.WriteString(groupSeparator + "\n"); err != nil {
			return err
		}
	}
	c.last = f
	for _, line := range f.group {
		var marks [][2]int
		mark := "-"
		if line.match {
			mark, marks = ":", findMarks(line.line, c.printer.marks)
		}
		if isText {
			text.mark = mark
		}
		if err := c.printer.marked(line.logEntry, marks); err != nil {
			return err
		}
	}
	f.group = nil
	return nil
}

// finish prints the groups that no further line completed, in the order of
// their first lines.
func (c *contextLines) finish() error {
	var open []*fileContext
	for _, f := range c.files {
		if len(f.group) > 0 {
			open = append(open, f)
		}
	}
	slices.SortFunc(open, func(a, b *fileContext) int { return a.group[0].at.Compare(b.group[0].at) })
	for _, f := range open {
		if err := c.print(f); err != nil {
			return err
		}
	}
	return c.printer.finish()
}
