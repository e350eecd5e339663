package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// topSettings are the flags of the top commands.
type topSettings struct {
	*clientSettings // shared by all of them
	output          string
	since           time.Duration
	sortBy          string
	noHeaders       bool
	namespace       string
	allNamespaces   bool
}

func newTopCommand(p *process) *cobra.Command {
	s := &clientSettings{}
	cmd := &cobra.Command{
		Use:     "top",
		Short:   "Show CPU and memory use of nodes, pods and containers",
		GroupID: groupAsking,
		Example: `  binnacle top node
  binnacle top pod -A --sort-by memory
  binnacle top container -n shop`,
	}
	addClientFlags(p, cmd, s)
	cmd.AddCommand(newTopNodeCommand(p, s), newTopPodCommand(p, s), newTopContainerCommand(p, s))
	asksForSubcommand(cmd)
	return cmd
}

// newTopSettings adds the flags that all top commands have to cmd.
func newTopSettings(cmd *cobra.Command, shared *clientSettings) *topSettings {
	s := &topSettings{clientSettings: shared, output: formatTable, since: time.Minute}
	b := flagBlock{cmd.Flags(), "Flags"}
	b.add(enumValue(&s.sortBy, "cpu", "memory", "name"), "sort-by", "column to sort by; cpu and memory highest first (default name)")
	b.add(durationValue(&s.since, time.Second), "since", "window that CPU use is averaged over")
	b.add(boolValue(&s.noHeaders), "no-headers", "print no headers")
	b.addShort(enumValue(&s.output, formatTable, formatJSON, formatJSONL), "output", "o", "format")
	return s
}

// addNamespaceFlags adds kubectl's flags for the namespace.
func (s *topSettings) addNamespaceFlags(cmd *cobra.Command) {
	s.namespace = "default"
	b := flagBlock{cmd.Flags(), "Flags"}
	b.addShort(textValue(&s.namespace, "NAME"), "namespace", "n", "namespace of the pods")
	b.addShort(boolValue(&s.allNamespaces), "all-namespaces", "A", "pods of all namespaces")
}

func newTopNodeCommand(p *process, shared *clientSettings) *cobra.Command {
	var s *topSettings
	cmd := &cobra.Command{
		Use:     "node [NAME]",
		Aliases: []string{"nodes", "no"},
		Short:   "Show CPU and memory use of nodes",
		Example: `  binnacle top node
  binnacle top node --sort-by cpu --since 5m`,
		Args: exactOrNone("the node"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), p, nodeView(), args) },
	}
	s = newTopSettings(cmd, shared)
	return cmd
}

func newTopPodCommand(p *process, shared *clientSettings) *cobra.Command {
	var s *topSettings
	cmd := &cobra.Command{
		Use:     "pod [NAME]",
		Aliases: []string{"pods", "po"},
		Short:   "Show CPU and memory use of pods",
		Long: `Show CPU and memory use of pods.

CPU/R is the use of CPU relative to the request, MEM/L the use of memory relative
to the limit, for pods all of whose containers have one.`,
		Example: `  binnacle top pod
  binnacle top pod -A --sort-by memory
  binnacle top pod -n shop -o json | jq '.[] | select(.memory_limit_ratio > 0.9)'`,
		Args: exactOrNone("the pod"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), p, podView(s), args) },
	}
	s = newTopSettings(cmd, shared)
	s.addNamespaceFlags(cmd)
	return cmd
}

func newTopContainerCommand(p *process, shared *clientSettings) *cobra.Command {
	var s *topSettings
	cmd := &cobra.Command{
		Use:     "container [NAME]",
		Aliases: []string{"containers"},
		Short:   "Show CPU and memory use of containers, or of services where there are no pods",
		Long: `Show CPU and memory use of the containers of pods. Where the server knows no
pods, the containers and systemd services of its machines are listed by cgroup.

CPU/R is the use of CPU relative to the request (CPU/L: to the limit), MEM/L the
use of memory relative to the limit, where there is one.`,
		Example: `  binnacle top container --sort-by cpu
  binnacle top container -n shop
  binnacle top container -A --since 5m`,
		Args: exactOrNone("the container"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.containers(cmd.Context(), p, args) },
	}
	s = newTopSettings(cmd, shared)
	s.addNamespaceFlags(cmd)
	return cmd
}

// containers lists containers of pods, or cgroups where there are no pods.
func (s *topSettings) containers(ctx context.Context, p *process, args []string) error {
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	pods, err := c.vector(ctx, `count(container_memory_working_set_bytes{pod!=""})`)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return s.run(ctx, p, cgroupView(), args)
	}
	return s.run(ctx, p, containerView(s), args)
}

// vector evaluates an expression now.
func (c *client) vector(ctx context.Context, expr string) (model.Vector, error) {
	value, _, err := c.Query(ctx, expr, time.Time{})
	if err := c.finish(err); err != nil {
		return nil, err
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("the server sent a %s for %s: want a vector", value.Type(), expr)
	}
	return vector, nil
}

// topRow is one line of top. NaN stands for what is not known.
type topRow struct {
	key    []string // values of the view's keys
	values [topValues]float64
}

// run asks for everything the view needs, and prints it.
func (s *topSettings) run(ctx context.Context, p *process, v *topView, args []string) error {
	c, err := newClient(p, *s.clientSettings)
	if err != nil {
		return err
	}
	rows, missing, err := s.collectRows(ctx, c, v)
	if err != nil {
		return err
	}
	if v.prune != nil {
		rows = v.prune(rows)
	}
	if len(args) > 0 {
		rows = slices.DeleteFunc(rows, func(r *topRow) bool { return r.key[v.name] != args[0] })
	}
	s.sort(rows)
	if len(rows) == 0 {
		s.noteEmpty(ctx, c, v, args)
	} else {
		s.noteNoCPU(c, rows)
	}
	if err := s.write(c, v, rows); err != nil {
		return err
	}
	if missing != nil {
		return &codedError{exitPartial, fmt.Errorf("partial result: %w", missing)}
	}
	return nil
}

// collectRows makes a row for everything that uses memory now. missing is
// the error of queries for columns that could be left out.
func (s *topSettings) collectRows(ctx context.Context, c *client, v *topView) (rows []*topRow, missing, err error) {
	byKey := map[string]*topRow{}
	for _, value := range []topValue{topMemory, topCPU, topCPULimit, topMemoryLimit} {
		expr := v.expr(value, s.since)
		if expr == "" {
			continue
		}
		vector, err := c.vector(ctx, expr)
		if err != nil {
			if value == topMemory || value == topCPU {
				return nil, nil, err
			}
			missing = errors.Join(missing, err)
			continue
		}
		for _, sample := range vector {
			key := labelCells(sample.Metric, v.keys)
			id := strings.Join(key, "\xff")
			row := byKey[id]
			if row == nil {
				if value != topMemory {
					continue // it is gone
				}
				row = newTopRow(key)
				byKey[id] = row
				rows = append(rows, row)
			}
			row.values[value] = float64(sample.Value)
		}
	}
	return rows, missing, nil
}

func newTopRow(key []string) *topRow {
	r := &topRow{key: key}
	for i := range r.values {
		r.values[i] = math.NaN()
	}
	return r
}

func (s *topSettings) sort(rows []*topRow) {
	value := topCPU
	if s.sortBy == "memory" {
		value = topMemory
	}
	slices.SortFunc(rows, func(a, b *topRow) int {
		if s.sortBy == "cpu" || s.sortBy == "memory" {
			// NaN compares as the lowest, so it comes last.
			if order := cmp.Compare(b.values[value], a.values[value]); order != 0 {
				return order
			}
		}
		return slices.Compare(a.key, b.key)
	})
}

// noteEmpty says on stderr why there may be nothing.
func (s *topSettings) noteEmpty(ctx context.Context, c *client, v *topView, args []string) {
	switch {
	case v.namespaced && !s.allNamespaces:
		s.noteOtherNamespaces(ctx, c, v)
	case len(args) > 0:
		c.note("no %s %q found", v.what, args[0])
	case v.namespaced:
		c.note("no %ss found; \"binnacle top container\" lists what runs on machines without pods", v.what)
	default:
		c.note("no %ss found: does an agent send to this server?", v.what)
	}
}

// noteOtherNamespaces says whether looking elsewhere would help.
func (s *topSettings) noteOtherNamespaces(ctx context.Context, c *client, v *topView) {
	pods, err := c.vector(ctx, `count(count by (namespace, pod) (container_memory_working_set_bytes{`+podContainers+`}))`)
	if err != nil || len(pods) == 0 {
		c.note("no %ss found; \"binnacle top container\" lists what runs on machines without pods", v.what)
		return
	}
	c.note("no such %s in namespace %q; pods in all namespaces: %s (give -A, or -n NAME)", v.what, s.namespace, pods[0].Value)
}

// noteNoCPU explains unknown CPU use of all rows.
func (s *topSettings) noteNoCPU(c *client, rows []*topRow) {
	for _, r := range rows {
		if !math.IsNaN(r.values[topCPU]) {
			return
		}
	}
	c.note("CPU use needs two readings in %s: wait a moment, or give a longer --since", formatDuration(s.since))
}

// write prints rows in the format asked for.
func (s *topSettings) write(c *client, v *topView, rows []*topRow) error {
	switch s.output {
	case formatJSON:
		text, err := json.MarshalIndent(objects(v, rows), "", "  ")
		if err != nil {
			return err
		}
		return c.print(string(text) + "\n")
	case formatJSONL:
		return printLines(c, objects(v, rows))
	}
	if len(rows) == 0 {
		return nil
	}
	t := &table{}
	columns := v.columns(rows)
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, column := range columns {
			cells[i] = column.cell(r)
		}
		t.rows = append(t.rows, cells)
	}
	for _, column := range columns {
		t.header = append(t.header, column.header)
	}
	text := t.render(c.colored())
	if s.noHeaders {
		_, text, _ = strings.Cut(text, "\n")
	}
	return c.print(text)
}

// objects turns rows into JSON objects; what is not known is absent.
func objects(v *topView, rows []*topRow) []map[string]any {
	out := make([]map[string]any, 0, len(rows))
	for _, r := range rows {
		object := map[string]any{}
		for i, key := range v.keys {
			if r.key[i] != "-" {
				object[string(key)] = r.key[i]
			}
		}
		put := func(name string, value float64) {
			if !math.IsNaN(value) && !math.IsInf(value, 0) {
				object[name] = value
			}
		}
		put("cpu_cores", r.values[topCPU])
		put("memory_bytes", r.values[topMemory])
		put(v.cpuBase+"_ratio", r.values[topCPU]/r.values[topCPULimit])
		put(v.memoryBase+"_ratio", r.values[topMemory]/r.values[topMemoryLimit])
		out = append(out, object)
	}
	return out
}
