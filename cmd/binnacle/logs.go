package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// allLines is the value of --tail for every line.
const allLines = -1

// logsSettings are the flags of logs.
type logsSettings struct {
	logSettings
	tail int
}

func newLogsCommand(p *process) *cobra.Command {
	s := &logsSettings{tail: allLines}
	cmd := &cobra.Command{
		Use:     "logs [TYPE/NAME | POD | FILE | REGEXP]",
		Short:   "Print the lines of pods, workloads and files, also of those that are gone",
		GroupID: groupAsking,
		Long: `Print the lines of pods, workloads and files, oldest first, the pods of a workload
merged in the order of time. Pods that are deleted, earlier ones of the same
workload and earlier runs of a container are included.

TYPE is deploy, sts, ds, job, cronjob, rs or pod, as with kubectl. A name alone is
that of a pod, or else a regular expression for part of the names of pods, or else
of files. Without a name it is everything.
What was searched is said on stderr; -q keeps it quiet.`,
		Example: `  # The last hour of all pods of a Deployment, then new lines as they come
  binnacle logs deploy/cart -n shop
  binnacle logs deploy/cart -n shop -f

  # The last 100 lines before a container was started again
  binnacle logs cart-7d9f8c6b5d-x2x4k -n shop -p --tail 100

  # Errors of all pods whose name has "cart" in it, without health checks
  binnacle logs cart --since 1d --level error --exclude healthz

  # Last Monday morning, with times in UTC
  binnacle logs sts/db -c postgres --since-time 2026-03-02T08:00:00Z --until 2026-03-02T09:00:00Z -t --timezone UTC

  # For other programs
  binnacle logs deploy/cart -o jsonl | jq -r 'select(.level == "error") | .message'
  binnacle logs deploy/cart -o 'template={{.Timestamp}} {{.Pod}} {{.Message}}'

  # A file of this machine
  binnacle logs /var/log/syslog --since 10m`,
		Args: exactOrNone("the pod or workload"),
	}
	s.addSelectionFlags(cmd)
	s.addTimeFlags(cmd)
	flagBlock{cmd.Flags(), "Which lines"}.add(tailValue(&s.tail), "tail", "only the last N lines of all pods together (default all)")
	s.addPrintFlags(cmd)
	s.addConnectionFlags(p, cmd)
	s.addCompletion(p, cmd, 0)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.explicit(cmd)
		return s.run(cmd.Context(), p, strings.Join(args, ""))
	}
	return cmd
}

// tailValue takes a number of lines, or kubectl's -1 for all.
func tailValue(target *int) setting {
	return &single[int]{
		target: target, kind: kindNumber,
		format: func(n int) string {
			if n == allLines {
				return ""
			}
			return strconv.Itoa(n)
		},
		parse: func(s string) (int, error) {
			n, err := strconv.Atoi(s)
			if err != nil || n < allLines {
				return 0, fmt.Errorf("%q is not a number of lines", s)
			}
			return n, nil
		},
	}
}

// explicit notes which flags were given, where that makes a difference.
func (s *logSettings) explicit(cmd *cobra.Command) {
	s.prefixSet = cmd.Flags().Changed("prefix")
	if s.previous && !cmd.Flags().Changed("since") && s.sinceTime == "" {
		s.since = 0 // whenever it was
	}
}

func (s *logsSettings) run(ctx context.Context, p *process, name string) error {
	switch {
	case s.follow && s.output == formatJSON:
		return usagef("-o json is one document, which -f would never end: use -o jsonl")
	case s.tail == 0 && !s.follow:
		return usagef("--tail 0 prints nothing without -f")
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
	printer, err := s.newPrinter(c, sel.alone)
	if err != nil {
		return err
	}
	s.announce(c, w)
	q := queryRequest{expr: sel.expression(s.lineFilters()), window: w, limit: max(0, s.tail)}
	if s.follow {
		if s.tail == 0 {
			q.window.start = p.now()
		}
		return s.followLines(ctx, c, q, printer, printer.entry)
	}
	return s.printLines(ctx, c, q, printer)
}

// announce says on stderr what is searched.
func (s *logSettings) announce(c *logClient, w logWindow) {
	where := "all namespaces"
	if names := s.namespaceList(); len(names) > 0 {
		where = "namespace " + strings.Join(names, ", ")
	}
	c.note("searching %s, %s", w.describe(c.p.now(), s.zone(c.p)), where)
}

// printLines prints what is stored.
func (s *logsSettings) printLines(ctx context.Context, c *logClient, q queryRequest, printer *logPrinter) error {
	var sink entrySink = printer
	if q.limit > 0 {
		q.last = true
		sink = &lastLines{entrySink: printer}
	}
	end, printed, err := c.once(ctx, q, sink, printer.flush)
	switch {
	case err != nil:
		return err
	case end.More:
		c.note("the last %d lines; earlier ones are left out", printed)
	case printed == 0:
		s.noteNothing(ctx, c, q)
	}
	return nil
}

// noteNothing says when there was something, if there ever was. Whether a text
// was there at any time is not asked: that could take long.
func (s *logsSettings) noteNothing(ctx context.Context, c *logClient, q queryRequest) {
	var newest lastLines
	if !q.window.start.IsZero() && len(s.lineFilters()) == 0 && s.level == "" {
		q.window.start, q.limit, q.last = time.Time{}, 1, true
		// Nothing is known when this fails; what was asked for was answered.
		_, _ = c.stream(ctx, "query_range", q.values(), newest.entry, func() error { return nil })
	}
	if len(newest.entries) == 0 {
		c.note("nothing found")
		return
	}
	end := q.window.end
	if end.IsZero() {
		end = c.p.now()
	}
	at := newest.entries[0].at
	ago := end.Sub(at).Truncate(time.Minute) + time.Minute
	c.note("nothing found; the last line before is of %s: give --since %s", at.In(s.zone(c.p)).Format(time.DateTime), formatDuration(ago))
}

// followLines passes what is stored to entry, which prints it, and then what
// is written.
func (s *logSettings) followLines(ctx context.Context, c *logClient, q queryRequest, printer *logPrinter, entry func(*logEntry) error) error {
	silent := s.clientSettings
	silent.quiet = true
	watcher, err := newClient(c.p, silent)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	seen := newJoins(c)
	go func() {
		defer close(watching)
		seen.watch(ctx, watcher)
	}()
	defer func() {
		cancel()
		<-watching
	}()
	f := &follower{
		c: c, query: q,
		each: func(e *logEntry) error {
			seen.see(e.source)
			return entry(e)
		},
		idle: func() error {
			seen.leave()
			return printer.flush()
		},
	}
	err = f.run(ctx)
	if finishErr := printer.finish(); finishErr != nil {
		return finishErr
	}
	return err
}
