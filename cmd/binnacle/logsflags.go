package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/storage"
)

// logSettings are the flags that logs and grep share.
type logSettings struct {
	clientSettings

	namespaces    []string
	allNamespaces bool
	selector      string
	containers    []string
	nodes         []string
	restart       string
	previous      bool

	since            time.Duration
	sinceTime, until string
	follow           bool

	include, exclude []string
	level            string

	output     string
	prefix     bool
	prefixSet  bool
	timestamps bool
	timezone   string
	highlight  []string
}

const (
	kindTime   = "TIME"
	kindRegexp = "REGEXP"
)

// addConnectionFlags adds the flags of a client to a command that has no others
// below it. Every flag of the command may come from the environment, so that
// BINNACLE_NAMESPACE is the namespace of a shell.
func (s *logSettings) addConnectionFlags(p *process, cmd *cobra.Command) {
	s.define(cmd.Flags())
	s.defineColor(flagBlock{cmd.Flags(), "Connection"})
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if err := p.applyEnvironment(cmd.Flags()); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// addSelectionFlags adds the flags that say whose lines are wanted.
func (s *logSettings) addSelectionFlags(cmd *cobra.Command) {
	b := flagBlock{cmd.Flags(), "Which pods"}
	b.addShort(listValue(&s.namespaces, "NAME"), "namespace", "n", "namespace of the pods; repeatable (default all)")
	b.addShort(boolValue(&s.allNamespaces), "all-namespaces", "A", "all namespaces, as without -n")
	b.addShort(textValue(&s.selector, "SELECTOR"), "selector", "l", "labels of the log stream, such as stream=stderr,node!=a; labels of pods are not stored")
	b.addShort(regexpValue(&s.containers), "container", "c", "name of the container, or a regular expression for all of it; repeatable")
	b.add(listValue(&s.nodes, "NAME"), "node", "only pods on this node; repeatable")
	b.addShort(boolValue(&s.previous), "previous", "p", "the run of each container before its last restart")
	b.add(restartValue(&s.restart), "restart", "only the run with this restart number, 0 being the first")
}

// addTimeFlags adds the flags that say which times are wanted.
func (s *logSettings) addTimeFlags(cmd *cobra.Command) {
	s.since = time.Hour
	b := flagBlock{cmd.Flags(), "Which lines"}
	b.add(durationValue(&s.since, 0), "since", "how far to look back; 0 is everything stored")
	b.add(textValue(&s.sinceTime, kindTime), "since-time", "start instead of --since: RFC 3339, Unix seconds, or a time ago such as -2h")
	b.add(textValue(&s.until, kindTime), "until", "end, in the same notation (default now)")
	b.addShort(boolValue(&s.follow), "follow", "f", "print new lines as they are written, also those of pods that start later")
	b.add(regexpValue(&s.include), "include", "only lines that one of these matches; repeatable")
	b.add(regexpValue(&s.exclude), "exclude", "no lines that this matches; repeatable")
	b.add(enumValue(&s.level, levelNames()...), "level", "only lines of this severity and worse ones")
	cmd.MarkFlagsMutuallyExclusive("since", "since-time")
	cmd.MarkFlagsMutuallyExclusive("follow", "until")
	cmd.MarkFlagsMutuallyExclusive("follow", "previous")
	cmd.MarkFlagsMutuallyExclusive("restart", "previous")
}

// addPrintFlags adds the flags that say how lines look.
func (s *logSettings) addPrintFlags(cmd *cobra.Command) {
	s.output, s.timezone = formatDefault, zoneLocal
	b := flagBlock{cmd.Flags(), "How it looks"}
	b.addShort(formatValue(&s.output), "output", "o", "json is one document, raw the bare line, template=… a Go template of json's fields")
	b.add(boolValue(&s.prefix), "prefix", "begin lines with pod and container (default when there are several)")
	b.addShort(boolValue(&s.timestamps), "timestamps", "t", "print the time of each line")
	b.add(zoneValue(&s.timezone), "timezone", "time zone of printed times: Local, UTC or a name such as Europe/Oslo")
	b.add(regexpValue(&s.highlight), "highlight", "mark what this matches; repeatable")
}

// levelNames are the values of --level.
func levelNames() []string {
	var names []string
	for l := storage.LevelTrace; int(l) < storage.Levels; l++ {
		names = append(names, l.String())
	}
	return names
}

// levelsFrom is a regular expression for the names of a level and all worse.
func levelsFrom(level string) string {
	names := levelNames()
	return strings.Join(names[slices.Index(names, level):], "|")
}

// regexpValue takes regular expressions, several times.
func regexpValue(target *[]string) setting {
	return &list{target: target, kind: kindRegexp, parse: func(s string) (string, error) {
		_, err := compilePattern(s)
		return s, err
	}}
}

// compilePattern explains what is wrong with a regular expression.
func compilePattern(s string) (*regexp.Regexp, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("%q is not UTF-8: no line matches it", s)
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression of RE2's syntax: %s", s, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// restartValue takes restart numbers.
func restartValue(target *string) setting {
	return &single[string]{target: target, kind: kindNumber, format: func(s string) string { return s }, parse: func(s string) (string, error) {
		if _, err := strconv.ParseUint(s, 10, 32); err != nil {
			return "", fmt.Errorf("%q is not a restart number: want 0, 1, 2, …", s)
		}
		return s, nil
	}}
}

// zoneLocal is the time zone of the machine.
const zoneLocal = "Local"

// zoneValue takes time zones.
func zoneValue(target *string) setting {
	return &single[string]{target: target, kind: "ZONE", format: func(s string) string { return s }, parse: func(s string) (string, error) {
		if _, err := time.LoadLocation(s); err != nil || s == "" {
			return "", fmt.Errorf("%q is not a time zone known here, such as Local, UTC or Europe/Oslo", s)
		}
		return s, nil
	}}
}

// zone is the time zone of printed times.
func (s *logSettings) zone(p *process) *time.Location {
	if s.timezone == zoneLocal {
		return p.zone
	}
	zone, err := time.LoadLocation(s.timezone)
	if err != nil { // the flag let only those through that can be loaded
		return time.UTC
	}
	return zone
}

// logWindow is the span of time that is searched. A zero start is everything
// stored, a zero end is the server's now.
type logWindow struct {
	start, end time.Time
}

// window works out the span of time from the flags.
func (s *logSettings) window(now time.Time) (logWindow, error) {
	var w logWindow
	var err error
	if w.end, err = parseTime(s.until, now); err != nil {
		return w, usagef("flag --until: %w", err)
	}
	end := w.end
	if end.IsZero() {
		end = now
	}
	switch {
	case s.sinceTime != "":
		if w.start, err = parseTime(s.sinceTime, now); err != nil {
			return w, usagef("flag --since-time: %w", err)
		}
	case s.since > 0:
		w.start = end.Add(-s.since)
	}
	if !w.start.Before(end) {
		return w, usagef("the range is empty: it starts at %s and ends at %s", w.start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return w, nil
}

// describe tells people which times are searched.
func (w logWindow) describe(now time.Time, zone *time.Location) string {
	const clock = time.DateTime
	switch {
	case w.start.IsZero() && w.end.IsZero():
		return "everything stored"
	case w.start.IsZero():
		return "everything stored before " + w.end.In(zone).Format(clock)
	case w.end.IsZero():
		return fmt.Sprintf("the last %s, since %s", formatDuration(now.Sub(w.start).Round(time.Second)), w.start.In(zone).Format(clock))
	default:
		return fmt.Sprintf("%s to %s", w.start.In(zone).Format(clock), w.end.In(zone).Format(clock))
	}
}
