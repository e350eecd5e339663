package main

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// grepSettings are the flags of grep.
type grepSettings struct {
	logSettings

	patterns      []string
	ignoreCase    bool
	invert        bool
	extended      bool
	fixed         bool
	maxCount      int
	before, after int
	context       int
	count         bool
	onlyMatching  bool
}

func newGrepCommand(p *process) *cobra.Command {
	s := &grepSettings{}
	cmd := &cobra.Command{
		Use:     "grep PATTERN [TYPE/NAME | POD | FILE | REGEXP]",
		Short:   "Search the lines of all pods and files, also of those that are gone",
		GroupID: groupAsking,
		Long: `Search the lines of all pods and files, oldest first, also of pods that are
deleted. PATTERN is a regular expression of RE2's syntax, as with grep -E; several
-e are alternatives. A stack trace is one record: it is printed as a whole when one
of its lines matches.

-n, -A, -l, -c, -f and -o mean what they mean to kubectl. What they mean to grep has
long names: --count, --only-matching, --after, --before.

Exit codes: 0 lines were found, 1 none, 2 wrong usage or an error of the server, 4
forbidden, 5 found, but not all could be searched.`,
		Example: `  # In all pods of a Deployment, during the last hour
  binnacle grep 'timeout|refused' deploy/cart -n shop

  # A text with special characters, anywhere, of any case, during the last day
  binnacle grep -F -i 'user[42]' --since 1d

  # Not health checks, from now on
  binnacle grep -v healthz deploy/cart -f

  # Three lines before and after each panic, of the same container
  binnacle grep panic -n shop --context 3

  # How often, in which container?
  binnacle grep 'HTTP/1.1" 5[0-9][0-9]' -n shop --since 6h --count

  # Wait for it
  binnacle grep -f -m 1 'ready to serve' deploy/cart -n shop`,
	}
	s.addPatternFlags(cmd)
	s.addSelectionFlags(cmd)
	s.addTimeFlags(cmd)
	s.addPrintFlags(cmd)
	s.addConnectionFlags(p, cmd)
	s.addCompletion(p, cmd, 1)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(s.patterns) > 0 {
			return exactOrNone("the pod or workload")(cmd, args)
		}
		if len(args) == 0 {
			return usagef("the pattern is missing")
		}
		return exactOrNone("the pod or workload")(cmd, args[1:])
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.explicit(cmd)
		patterns := s.patterns
		if len(patterns) == 0 {
			patterns, args = args[:1], args[1:]
		}
		return s.run(cmd.Context(), p, patterns, strings.Join(args, ""))
	}
	return cmd
}

// addPatternFlags adds grep's own flags.
func (s *grepSettings) addPatternFlags(cmd *cobra.Command) {
	b := flagBlock{cmd.Flags(), "What to find"}
	b.addShort(listValue(&s.patterns, "PATTERN"), "regexp", "e", "pattern to find, in place of the argument; repeatable")
	b.addShort(boolValue(&s.ignoreCase), "ignore-case", "i", "upper and lower case are the same")
	b.addShort(boolValue(&s.invert), "invert-match", "v", "the lines that do not match")
	b.addShort(boolValue(&s.extended), "extended-regexp", "E", "patterns are regular expressions, as they are anyway")
	b.addShort(boolValue(&s.fixed), "fixed-strings", "F", "patterns are texts, not regular expressions")
	b.addShort(numberValue(&s.maxCount), "max-count", "m", "stop after N lines, of all pods together")
	b.add(numberValue(&s.before), "before", "print N lines before each match, of the same container")
	b.add(numberValue(&s.after), "after", "print N lines after each match, of the same container")
	b.add(numberValue(&s.context), "context", "print N lines before and after")
	b.add(boolValue(&s.count), "count", "print how many lines match in each container, not the lines")
	b.add(boolValue(&s.onlyMatching), "only-matching", "print only what matches, each match on a line")
	cmd.MarkFlagsMutuallyExclusive("extended-regexp", "fixed-strings")
}

// problems returns what flags contradict each other.
func (s *grepSettings) problems() error {
	context := s.before > 0 || s.after > 0 || s.context > 0
	switch {
	case s.follow && s.output == formatJSON:
		return usagef("-o json is one document, which -f would never end: use -o jsonl")
	case s.follow && (s.count || context):
		return usagef("--count, --before, --after and --context are for lines that are stored: they do not go with -f")
	case s.count && (context || s.onlyMatching):
		return usagef("--count prints no lines: it does not go with --before, --after, --context and --only-matching")
	case s.count && strings.HasPrefix(s.output, templatePrefix):
		return usagef("--count prints no lines: it does not go with -o template")
	case s.onlyMatching && s.invert:
		return usagef("--only-matching has nothing to print for lines that do not match (-v)")
	case s.onlyMatching && context:
		return usagef("--only-matching does not go with --before, --after and --context")
	}
	return nil
}

// run searches the lines of the target called name.
func (s *grepSettings) run(ctx context.Context, p *process, patterns []string, name string) error {
	if err := s.problems(); err != nil {
		return err
	}
	pattern, err := s.pattern(patterns)
	if err != nil {
		return err
	}
	c, err := newLogClient(p, s.clientSettings)
	if err != nil {
		return err
	}
	w, err := s.window(p.now())
	if err != nil {
		return err
	}
	sel, err := s.resolve(ctx, c, name, w)
	if err != nil {
		return err
	}
	var marks []*regexp.Regexp
	if !s.invert {
		marks = append(marks, pattern.re)
	}
	printer, err := s.newPrinter(c, sel.alone, marks...)
	if err != nil {
		return err
	}
	s.announce(c, w)
	q := queryRequest{expr: sel.expression(append(pattern.filters(), s.lineFilters()...)), window: w, limit: s.maxCount}
	if s.follow {
		return s.followMatches(ctx, c, q, s.sink(c, pattern, printer), printer)
	}
	found, err := s.search(ctx, c, sel, q, pattern, printer)
	switch {
	case err != nil:
		return err
	case found == 0:
		c.note("no line matches")
		return &codedError{exitNoMatch, errNoMatch}
	}
	return nil
}

// errNoMatch ends a search that found nothing; it was said already.
var errNoMatch = errors.New("no line matches")

// search prints the lines that match and returns their number.
func (s *grepSettings) search(ctx context.Context, c *logClient, sel *selection, q queryRequest, pattern *linePattern, printer *logPrinter) (int64, error) {
	before, after := max(s.before, s.context), max(s.after, s.context)
	if before > 0 || after > 0 {
		return s.searchContext(ctx, c, sel, q, newContextLines(before, after, pattern, printer))
	}
	sink := s.sink(c, pattern, printer)
	end, found, err := c.once(ctx, q, sink, printer.flush)
	if err == nil && end.More {
		c.note("the first %d lines that match (-m); later ones are left out", found)
	}
	return found, err
}

// sink is where the lines that match go.
func (s *grepSettings) sink(c *logClient, pattern *linePattern, printer *logPrinter) entrySink {
	switch {
	case s.count:
		return newMatchCounter(c, s.output, printer)
	case s.onlyMatching:
		return &onlyMatches{printer, pattern.re}
	default:
		return printer
	}
}

// onlyMatches prints the parts of lines that match.
type onlyMatches struct {
	*logPrinter
	re *regexp.Regexp
}

func (o *onlyMatches) entry(e *logEntry) error {
	for _, m := range o.re.FindAllStringIndex(e.line, -1) {
		if m[0] == m[1] {
			continue
		}
		part := *e
		part.line = e.line[m[0]:m[1]]
		if err := o.marked(&part, [][2]int{{0, len(part.line)}}); err != nil {
			return err
		}
	}
	return nil
}

// followMatches prints the lines that match as they are written, until there
// were as many as wanted.
func (s *grepSettings) followMatches(ctx context.Context, c *logClient, q queryRequest, sink entrySink, printer *logPrinter) error {
	q.limit = 0
	found := 0
	err := s.followLines(ctx, c, q, printer, func(e *logEntry) error {
		if err := sink.entry(e); err != nil {
			return err
		}
		if found++; found == s.maxCount {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
