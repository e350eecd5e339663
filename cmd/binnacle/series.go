package main

import (
	"context"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

func newSeriesCommand(p *process, shared *clientSettings) *cobra.Command {
	s := &querySettings{clientSettings: shared, output: formatRaw}
	cmd := &cobra.Command{
		Use:   "series MATCH...",
		Short: "List the series that match a selector",
		Example: `  binnacle query series 'container_memory_working_set_bytes{namespace="shop"}'
  binnacle query series '{id="/"}' 'node_load1' --since 1d`,
		Args: minArgs(1, "a selector, such as '{id=\"/\"}',"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.series(cmd.Context(), p, args) },
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	s.addRangeFlags(cmd, b)
	b.addShort(enumValue(&s.output, formatRaw, formatJSON, formatJSONL), "output", "o", "format: json is the API's own document")
	return cmd
}

func (s *querySettings) series(ctx context.Context, p *process, matches []string) error {
	start, end, err := s.window(p.now())
	if err != nil {
		return err
	}
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	sets, _, err := c.Series(ctx, matches, start, end)
	if err := c.finish(err); err != nil {
		return err
	}
	if s.output == formatJSON {
		return c.printDocument()
	}
	if s.output == formatJSONL {
		return printLines(c, sets)
	}
	lines := make([]string, len(sets))
	for i, set := range sets {
		lines[i] = model.Metric(set).String()
	}
	return c.printNames(lines)
}

func newLabelsCommand(p *process, shared *clientSettings) *cobra.Command {
	s := &querySettings{clientSettings: shared, output: formatRaw}
	cmd := &cobra.Command{
		Use:   "labels [NAME]",
		Short: "List label names, or the values of one label",
		Example: `  binnacle query labels
  binnacle query labels namespace
  binnacle query labels __name__ --match '{job="node-exporter"}'`,
		Args: exactOrNone("the label"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.labels(cmd.Context(), p, args) },
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	s.addRangeFlags(cmd, b)
	b.add(listValue(&s.matches, "SELECTOR"), "match", "only labels of series that match; repeatable")
	b.addShort(enumValue(&s.output, formatRaw, formatJSON), "output", "o", "format: json is the API's own document")
	return cmd
}

// exactOrNone allows one argument, which is described by what.
func exactOrNone(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return exactArgs(1, what)(cmd, args)
	}
}

func (s *querySettings) labels(ctx context.Context, p *process, args []string) error {
	start, end, err := s.window(p.now())
	if err != nil {
		return err
	}
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	var lines []string
	if len(args) == 0 {
		names, _, queryErr := c.LabelNames(ctx, s.matches, start, end)
		err = queryErr
		for _, name := range names {
			lines = append(lines, string(name))
		}
	} else {
		values, _, queryErr := c.LabelValues(ctx, args[0], s.matches, start, end)
		err = queryErr
		for _, value := range values {
			lines = append(lines, string(value))
		}
	}
	if err := c.finish(err); err != nil {
		return err
	}
	if s.output == formatJSON {
		return c.printDocument()
	}
	return c.printNames(lines)
}

// printNames writes one name on each line.
func (c *client) printNames(lines []string) error {
	if len(lines) == 0 {
		c.note("nothing found")
		return nil
	}
	return c.print(strings.Join(lines, "\n") + "\n")
}
