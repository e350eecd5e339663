// Command bench measures the budgets of the project, each against the floor or
// a peer in the same run: CPU time by the kernel's accounting, never by a clock.
// It prints a table and writes it as JSON.
//
// It needs root (it makes cgroups), build/binnacle, build/worker and Debian's
// prometheus, ripgrep and zstd.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// result is one row of the table. Ratio is ours to the reference and must not
// be above Bar.
type result struct {
	Name          string  `json:"name"`
	Unit          string  `json:"unit"`
	Ours          float64 `json:"ours"`
	Reference     float64 `json:"reference"`
	ReferenceName string  `json:"reference_name"`
	Ratio         float64 `json:"ratio"`
	Bar           float64 `json:"bar"`
	OK            bool    `json:"ok"`
}

// versus is a row that compares ours with a reference.
func versus(name, unit string, ours, reference float64, referenceName string, bar float64) result {
	ratio := ours / reference
	return result{name, unit, ours, reference, referenceName, ratio, bar, ratio <= bar}
}

// suite is a group of rows that are measured together.
type suite struct {
	name string
	run  func() ([]result, error)
}

var suites = []suite{
	{"read", benchRead},
	{"collect", benchCollect},
	{"agent", benchAgent},
	{"remote", benchRemote},
	{"ship", benchShip},
	{"logstore", benchLogStore},
}

// logStoreBytes is the text of the log store's corpus.
var logStoreBytes int64

func main() {
	out := flag.String("out", "build/bench.json", "file to write the rows to")
	only := flag.String("only", "", "comma-separated suites: read, collect, agent, remote, ship, logstore (default all)")
	cadvisor := flag.String("cadvisor", "", "serve cAdvisor's metrics on this address and do nothing else")
	collect := flag.String("collect", "", "collect into this folder and do nothing else")
	flag.Int64Var(&shipBytes, "ship-bytes", shipBytes, "with the suite ship: bytes of logs to ship")
	null := flag.String("null", "", "take logs on this address and do nothing else")
	flag.Int64Var(&logStoreBytes, "logstore-bytes", 250_000_000, "bytes of text for the suite logstore; the peers were measured with 966000000")
	logStore := flag.String("logstore", "", "write logs to this folder, query them and do nothing else")
	listen := flag.String("listen", "", "with -collect: address to answer on")
	flag.Parse()
	err := errors.New("needs root, it makes cgroups")
	switch {
	case *cadvisor != "":
		err = serveCadvisor(*cadvisor)
	case *null != "":
		err = serveNull(*null)
	case *collect != "":
		err = serveCollector(*collect, *listen)
	case *logStore != "":
		err = serveLogStore(*logStore, logStoreBytes)
	case os.Geteuid() == 0:
		err = measure(*out, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs the suites. One that fails does not stop the others.
func measure(out, only string) error {
	var rows []result
	var errs []error
	for _, s := range suites {
		if only != "" && !slices.Contains(strings.Split(only, ","), s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s …\n", s.name)
		got, err := s.run()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		rows = append(rows, got...)
	}
	table(rows)
	return errors.Join(append(errs, write(out, rows))...)
}

func table(rows []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "WHAT\tUNIT\tOURS\tREFERENCE\tRATIO\tBAR\tOK")
	for _, r := range rows {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g (%s)\t%.3f\t<= %.3g\t%v\n",
			r.Name, r.Unit, r.Ours, r.Reference, r.ReferenceName, r.Ratio, r.Bar, r.OK)
	}
	_ = w.Flush()
}

func write(path string, rows []result) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
