package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// querySettings are the flags of the query commands.
type querySettings struct {
	*clientSettings // shared by all of them
	output          string

	at         string
	start, end string
	since      time.Duration
	step       time.Duration
	matches    []string
}

func newQueryCommand(p *process) *cobra.Command {
	s := &clientSettings{}
	cmd := &cobra.Command{
		Use:     "query",
		Short:   "Ask a server in PromQL",
		GroupID: groupAsking,
		Example: `  binnacle query instant 'topk(5, rate(container_cpu_usage_seconds_total[1m]))'
  binnacle query range 'node_load1' --since 6h
  binnacle query series '{id="/"}'
  binnacle query labels node`,
	}
	addClientFlags(p, cmd, s)
	cmd.AddCommand(newInstantCommand(p, s), newRangeCommand(p, s), newSeriesCommand(p, s), newLabelsCommand(p, s))
	asksForSubcommand(cmd)
	return cmd
}

// addClientFlags gives cmd and the commands below it the flags of a client,
// and their environment variables.
func addClientFlags(p *process, cmd *cobra.Command, s *clientSettings) {
	s.define(cmd.PersistentFlags())
	s.defineColor(flagBlock{cmd.PersistentFlags(), "Connection"})
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		if err := p.applyEnvironment(cmd.PersistentFlags()); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

func newInstantCommand(p *process, shared *clientSettings) *cobra.Command {
	s := &querySettings{clientSettings: shared, output: formatTable}
	cmd := &cobra.Command{
		Use:   "instant EXPR",
		Short: "Evaluate an expression at one time",
		Long: `Evaluate an expression at one time.

The table has a column for each label that tells the results apart; labels that
all of them share are printed once, on stderr.`,
		Example: `  binnacle query instant 'count(container_memory_working_set_bytes)'
  binnacle query instant 'node_load1' --time 2026-03-01T09:30:00Z
  binnacle query instant 'rate(node_cpu_seconds_total[5m])' --time -2h
  binnacle query instant 'up' -o json | jq '.data.result'`,
		Args: exactArgs(1, "the expression"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.instant(cmd.Context(), p, args[0]) },
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	b.add(textValue(&s.at, "TIME"), "time", "time to evaluate at: RFC 3339, Unix seconds, or a time ago such as -2h (default now)")
	b.addShort(enumValue(&s.output, formatTable, formatJSON, formatJSONL, formatRaw), "output", "o", "format: json is the API's own document, raw is PromQL's notation")
	return cmd
}

func (s *querySettings) instant(ctx context.Context, p *process, expr string) error {
	at, err := parseTime(s.at, p.now())
	if err != nil {
		return usagef("flag --time: %w", err)
	}
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	value, _, err := c.Query(ctx, expr, at)
	if s.output == formatJSON && c.recorder.status == http.StatusOK {
		err = nil // the document can be printed even if its type is not known here
	}
	if err := c.finish(err); err != nil {
		return err
	}
	return c.printValue(value, s.output)
}

func newRangeCommand(p *process, shared *clientSettings) *cobra.Command {
	s := &querySettings{clientSettings: shared}
	cmd := &cobra.Command{
		Use:   "range EXPR",
		Short: "Evaluate an expression over a range of time",
		Long: `Evaluate an expression over a range of time, and draw it as a chart when the
output is a terminal.`,
		Example: `  binnacle query range 'node_load1'
  binnacle query range 'sum by (node) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))' --since 1d
  binnacle query range 'node_load1' --start 2026-03-01T09:00:00Z --end 2026-03-01T10:00:00Z --step 1m
  binnacle query range 'node_load1' -o table`,
		Args: exactArgs(1, "the expression"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.overRange(cmd.Context(), p, args[0]) },
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	s.addRangeFlags(cmd, b)
	b.add(durationValue(&s.step, time.Millisecond), "step", "time between two evaluations (default what fits the output)")
	b.addShort(enumValue(&s.output, formatChart, formatTable, formatJSON, formatJSONL, formatRaw), "output", "o", "format (default chart on a terminal, else table)")
	return cmd
}

// addRangeFlags adds the flags that give a range of time.
func (s *querySettings) addRangeFlags(cmd *cobra.Command, b flagBlock) {
	s.since = time.Hour
	b.add(durationValue(&s.since, time.Millisecond), "since", "how far to look back from the end")
	b.add(textValue(&s.start, "TIME"), "start", "start instead of --since: RFC 3339, Unix seconds, or a time ago such as -2h")
	b.add(textValue(&s.end, "TIME"), "end", "end, in the same notation (default now)")
	cmd.MarkFlagsMutuallyExclusive("since", "start")
}

// window works out start and end from the flags.
func (s *querySettings) window(now time.Time) (start, end time.Time, err error) {
	if end, err = parseTime(s.end, now); err != nil {
		return start, end, usagef("flag --end: %w", err)
	}
	if end.IsZero() {
		end = now
	}
	start = end.Add(-s.since)
	if s.start != "" {
		if start, err = parseTime(s.start, now); err != nil {
			return start, end, usagef("flag --start: %w", err)
		}
	}
	// The API counts in milliseconds: samples then lie exactly on our steps.
	start, end = start.Truncate(time.Millisecond), end.Truncate(time.Millisecond)
	if !start.Before(end) {
		return start, end, usagef("the range is empty: it starts at %s and ends at %s", start.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	return start, end, nil
}

func (s *querySettings) overRange(ctx context.Context, p *process, expr string) error {
	start, end, err := s.window(p.now())
	if err != nil {
		return err
	}
	columns := p.columns(p.stdout)
	format := s.output
	if format == "" && columns > 0 {
		format = formatChart
	}
	if columns == 0 {
		columns = defaultColumns
	}
	step := s.step
	if step == 0 {
		points := 250 // as Prometheus' own graphs
		if format == formatChart {
			points = plotColumns(columns)
		}
		step = niceStep(end.Sub(start), points)
	}
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	value, _, err := c.QueryRange(ctx, expr, promv1.Range{Start: start, End: end, Step: step})
	if err := c.finish(err); err != nil {
		return err
	}
	c.note("from %s to %s, step %s", start.In(p.zone).Format(time.DateTime), end.In(p.zone).Format(time.DateTime), model.Duration(step))
	matrix, ok := value.(model.Matrix)
	if format != formatChart || !ok {
		return c.printValue(value, format)
	}
	return c.printChart(matrix, &chart{
		start: start, end: end, step: step, columns: columns, colored: c.colored(),
		binary: strings.Contains(expr, "_bytes"), zone: p.zone,
	})
}

// niceSteps are the steps that divide minutes, hours and days evenly.
var niceSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// niceStep is the shortest even step that gives at most points points.
func niceStep(span time.Duration, points int) time.Duration {
	for _, step := range niceSteps {
		if span/step <= time.Duration(points) {
			return step
		}
	}
	days := math.Ceil(span.Hours() / 24 / float64(points))
	return time.Duration(days) * 24 * time.Hour
}

func (c *client) printChart(matrix model.Matrix, drawing *chart) error {
	if len(matrix) == 0 {
		c.note("nothing found")
		return nil
	}
	text, omitted := drawing.draw(matrix)
	if text == "" {
		c.note("%d series, none of which has numbers to draw: try -o table", len(matrix))
		return nil
	}
	if omitted > 0 {
		c.note("the %d series with the highest peaks of %d; -o table has all", len(matrix)-omitted, len(matrix))
	}
	return c.print(text)
}

// printValue writes a result in one of the formats but chart.
func (c *client) printValue(value model.Value, format string) error {
	switch format {
	case formatJSON:
		return c.printDocument()
	case formatJSONL:
		return c.printValueLines(value)
	case formatRaw:
		return c.printRaw(value)
	}
	var t *table
	switch v := value.(type) {
	case model.Vector:
		t = c.vectorTable(v)
	case model.Matrix:
		t = c.matrixTable(v)
	case *model.Scalar:
		t = &table{header: []string{"VALUE"}, rows: [][]string{{v.Value.String()}}}
	default:
		return fmt.Errorf("the server sent a result of the unknown type %T: use -o json", value)
	}
	if len(t.rows) == 0 {
		c.note("nothing found")
		return nil
	}
	return c.print(t.render(c.colored()))
}

func (c *client) printValueLines(value model.Value) error {
	switch v := value.(type) {
	case model.Vector:
		return printLines(c, v)
	case model.Matrix:
		return printLines(c, v)
	default:
		return printLines(c, []model.Value{value})
	}
}

func (c *client) printRaw(value model.Value) error {
	text := value.String()
	if text == "" {
		c.note("nothing found")
		return nil
	}
	return c.print(text + "\n")
}

// apart splits labels, and prints those that all series share.
func (c *client) apart(metrics []model.Metric) []model.LabelName {
	names, shared := splitLabels(metrics)
	if len(shared) > 0 {
		c.note("all: %s", shared)
	}
	return names
}

func (c *client) vectorTable(vector model.Vector) *table {
	metrics := make([]model.Metric, len(vector))
	for i, s := range vector {
		metrics[i] = s.Metric
	}
	names := c.apart(metrics)
	t := &table{header: append(labelHeader(names), "VALUE")}
	for _, s := range vector {
		t.rows = append(t.rows, append(labelCells(s.Metric, names), pointText(s.Value, s.Histogram)))
	}
	return t
}

func (c *client) matrixTable(matrix model.Matrix) *table {
	metrics := make([]model.Metric, len(matrix))
	for i, s := range matrix {
		metrics[i] = s.Metric
	}
	names := c.apart(metrics)
	t := &table{header: append(labelHeader(names), "TIME", "VALUE")}
	for _, s := range matrix {
		for _, v := range s.Values {
			t.rows = append(t.rows, append(labelCells(s.Metric, names), clock(v.Timestamp, c.p.zone), v.Value.String()))
		}
		for _, h := range s.Histograms {
			t.rows = append(t.rows, append(labelCells(s.Metric, names), clock(h.Timestamp, c.p.zone), h.Histogram.String()))
		}
	}
	return t
}

// parseTime reads RFC 3339, Unix seconds, or a duration before now with a
// minus sign. "" is the zero time, which stands for the server's now.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if text == "now" {
		return now, nil
	}
	if ago, ok := strings.CutPrefix(text, "-"); ok {
		if d, err := model.ParseDuration(ago); err == nil {
			return now.Add(-time.Duration(d)), nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e11 {
		return time.UnixMilli(int64(math.Round(seconds * 1000))), nil
	}
	return time.Time{}, errors.New(strconv.Quote(text) + " is not a time, such as 2026-03-01T09:30:00Z, 1772357400, -2h or now")
}
