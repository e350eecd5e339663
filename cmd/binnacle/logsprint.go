package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// entrySink is what entries are passed to, one after the other.
type entrySink interface {
	// entry may keep e. errEnough says that no more are wanted.
	entry(e *logEntry) error
	// finish is called once, after the last entry, also of an answer that was
	// cut off.
	finish() error
}

// logPrinter writes entries to stdout.
type logPrinter struct {
	c      *logClient
	out    *bufio.Writer
	format lineFormat
	// marks are the expressions whose matches are highlighted.
	marks []*regexp.Regexp

	buffer    bytes.Buffer
	truncated int64
}

// newPrinter builds a printer from the flags. marks come beside those of
// --highlight.
func (s *logSettings) newPrinter(c *logClient, alone bool, marks ...*regexp.Regexp) (*logPrinter, error) {
	format, err := s.newLineFormat(c, alone)
	if err != nil {
		return nil, usagef("flag --output: %w", err)
	}
	for _, expr := range slices.Concat(s.highlight, s.include) {
		re, err := compilePattern(expr)
		if err != nil {
			return nil, usagef("flag --highlight: %w", err)
		}
		marks = append(marks, re)
	}
	return &logPrinter{c: c, out: bufio.NewWriterSize(c.p.stdout, 64<<10), format: format, marks: marks}, nil
}

func (p *logPrinter) entry(e *logEntry) error {
	return p.marked(e, findMarks(e.line, p.marks))
}

// marked writes an entry of which some parts are of interest.
func (p *logPrinter) marked(e *logEntry, marks [][2]int) error {
	if slices.Contains(e.flags, "truncated") {
		p.truncated++
	}
	p.buffer.Reset()
	if err := p.format.write(&p.buffer, e, marks); err != nil {
		return err
	}
	_, err := p.out.Write(p.buffer.Bytes())
	return err
}

// flush shows what was written up to now.
func (p *logPrinter) flush() error { return p.out.Flush() }

func (p *logPrinter) finish() error {
	if _, err := p.out.WriteString(p.format.end()); err != nil {
		return err
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if p.truncated > 0 {
		p.c.note("warning: lines that were longer than the agent's limit, of which only the beginning is stored: %d", p.truncated)
	}
	return nil
}

// tally passes entries on and counts them.
type tally struct {
	entrySink
	n int64
}

func (t *tally) entry(e *logEntry) error {
	t.n++
	return t.entrySink.entry(e)
}

// lastLines keeps the entries of an answer that comes newest first, and
// passes them on oldest first.
type lastLines struct {
	entrySink
	entries []*logEntry
}

func (l *lastLines) entry(e *logEntry) error {
	l.entries = append(l.entries, e)
	return nil
}

func (l *lastLines) finish() error {
	for _, e := range slices.Backward(l.entries) {
		if err := l.entrySink.entry(e); err != nil {
			return err
		}
	}
	return l.entrySink.finish()
}

// once passes the entries of one query to sink. flush shows what was printed
// while the server is still looking.
func (c *logClient) once(ctx context.Context, params queryRequest, sink entrySink, flush func() error) (logEnd, int64, error) {
	counted := &tally{entrySink: sink}
	end, err := c.stream(ctx, "query_range", params.values(), counted.entry, flush)
	if errors.Is(err, errEnough) {
		err = nil
	}
	var cut *cutError
	if err == nil || errors.As(err, &cut) {
		if finishErr := sink.finish(); finishErr != nil {
			err = finishErr
		}
	}
	return end, counted.n, c.outcome(end, counted.n, err)
}

// outcome turns how an answer ended into the error to end with. What is there
// is right in any case; with warnings it is not all.
func (c *logClient) outcome(end logEnd, printed int64, err error) error {
	if err == nil && end.Error != "" {
		err = fmt.Errorf("%s: %s", c.settings.addr, end.Error)
	}
	var cut *cutError
	switch {
	case err == nil && len(end.Warnings) > 0:
		return &codedError{exitPartial, errors.New("partial result: " + strings.Join(end.Warnings, "; "))}
	case err != nil && printed > 0 && (end.Error != "" || errors.As(err, &cut)):
		return &codedError{exitPartial, fmt.Errorf("partial result: %w", err)}
	default:
		return err
	}
}
