// Command bench measures the budgets of the project that concern metrics,
// each against the floor or a peer in the same run: CPU time by the kernel's
// accounting, never by a clock. It prints a table and writes it as JSON.
//
// It needs root (it makes cgroups), build/binnacle, and Debian's prometheus.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one line of the table. Ratio is ours/reference where smaller is
// better and reference/ours where the bar is a "times less".
type row struct {
	Name          string  `json:"name"`
	Unit          string  `json:"unit"`
	Ours          float64 `json:"ours"`
	Reference     float64 `json:"reference"`
	ReferenceName string  `json:"reference_name"`
	Ratio         float64 `json:"ratio"`
	Bar           string  `json:"bar"`
	OK            bool    `json:"ok"`
}

// suite is one group of rows that is measured together.
type suite struct {
	name string
	run  func(context.Context) ([]row, error)
}

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], childPrefix) {
		exitWith(runChild(os.Args[1], os.Args[2:]))
	}
	out := flag.String("out", "build/bench.json", "file to write the rows to")
	binary := flag.String("binary", "build/binnacle", "the program to measure")
	only := flag.String("only", "", "comma-separated suites to run: read, collect, memory, ingest (default all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exitWith(measure(ctx, *out, *binary, *only))
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func measure(ctx context.Context, out, binary, only string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, it makes cgroups")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	suites := []suite{
		{"read", measureRead},
		{"collect", func(ctx context.Context) ([]row, error) { return measureCollect(ctx, binary) }},
		{"memory", func(ctx context.Context) ([]row, error) { return measureMemory(ctx, binary) }},
		{"ingest", func(ctx context.Context) ([]row, error) { return measureIngest(ctx, binary) }},
	}
	var rows []row
	var errs []error
	for _, s := range suites {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s …\n", s.name)
		got, err := s.run(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		rows = append(rows, got...)
	}
	print(rows)
	errs = append(errs, write(out, rows))
	return errors.Join(errs...)
}

func print(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tREFERENCE\tUNIT\tRATIO\tBAR\tOK")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.4g\t%.4g %s\t%s\t%.2f\t%s\t%v\n", r.Name, r.Ours, r.Reference, r.ReferenceName, r.Unit, r.Ratio, r.Bar, r.OK)
	}
	_ = w.Flush()
}

func write(path string, rows []row) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// atMost is a row whose bar is an upper bound of ours/reference.
func atMost(r row, bar float64) row {
	r.Ratio = r.Ours / r.Reference
	r.Bar = fmt.Sprintf("<= %g x", bar)
	r.OK = r.Ratio <= bar
	return r
}

// timesLess is a row whose bar is a lower bound of reference/ours.
func timesLess(r row, bar float64) row {
	r.Ratio = r.Reference / r.Ours
	r.Bar = fmt.Sprintf(">= %g x less", bar)
	r.OK = r.Ratio >= bar
	return r
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
