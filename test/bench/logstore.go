package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/logdb"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

const (
	// logPods and logSpan are those of the corpus.
	logPods = 200
	logSpan = 4 * time.Hour
	// logBatch is how many records are written at once.
	logBatch = 1000
	// logRuns is how often a query is asked; the median counts.
	logRuns = 9
	// lineBudget is CPU time per line: 400,000 lines a second.
	lineBudget = 2.5
	// needleBudget is milliseconds of CPU per GB of text.
	needleBudget = 10
	// ratioBudget is bytes on disk per byte of text.
	ratioBudget = 0.25
	// rssBudget is what a prototype took.
	rssBudget = 250 << 20
)

// logFigures are what the measured process reports.
type logFigures struct {
	Lines, Bytes, Disk, HeadBytes int64
	IngestCPU                     float64 // seconds
	RSS                           float64 // bytes, at most
	Queries                       map[string]float64
}

// logQueryRow is a query and how ripgrep is asked the same, if it can be.
type logQueryRow struct {
	name, rg string
}

var logQueryRows = []logQueryRow{
	{"one pod, 10 minutes", ""},
	{"needle, a word of its own", corpus.NeedleWord},
	{"needle, middle of a word", corpus.Needle[2:10]},
	{"regexp, one namespace, latest 1000", ""},
	{"regexp, all", "deadlock found.*lock|no such ho[a-z]+"},
	{"latest 100 of everything", ""},
	{"count per minute by level", ""},
}

// benchLogStore writes a corpus to the embedded store and queries it, in a
// process of its own, and greps the same lines in a compressed file.
func benchLogStore() ([]result, error) {
	bytes := logStoreBytes
	dir, err := os.MkdirTemp("", "binnacle-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-logstore", filepath.Join(dir, "db"), "-logstore-bytes", fmt.Sprint(bytes))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("measured process: %w", err)
	}
	var f logFigures
	if err := json.Unmarshal(out, &f); err != nil {
		return nil, fmt.Errorf("measured process: %w: %s", err, out)
	}
	packed := filepath.Join(dir, "lines.zst")
	if err := packCorpus(packed, bytes); err != nil {
		return nil, err
	}
	gb := float64(f.Bytes) / 1e9
	rows := []result{
		versus(fmt.Sprintf("log store: write %d lines, %.2f GB", f.Lines, gb), "CPU-µs/line", f.IngestCPU/float64(f.Lines)*1e6, lineBudget, "budget", 1),
		versus("log store: disk per byte of text", "bytes", float64(f.Disk)/float64(f.Bytes-f.HeadBytes), ratioBudget, "budget", 1),
		versus("log store: memory while writing", "MiB", f.RSS/(1<<20), rssBudget/(1<<20), "prototype", 1),
		versus("log store: "+logQueryRows[2].name, "CPU-ms/GB", f.Queries[logQueryRows[2].name]/gb, needleBudget, "budget", 1),
	}
	for _, q := range logQueryRows {
		pattern := q.rg
		if pattern == "" {
			pattern = "."
		}
		reference, err := grepCPU(packed, pattern)
		if err != nil {
			return rows, err
		}
		name := "zstd -dc | rg -c"
		if q.rg == "" {
			name += " ."
		}
		rows = append(rows, versus("log store: "+q.name, "CPU-ms", f.Queries[q.name], reference, name, 1))
	}
	return rows, nil
}

// packCorpus writes the lines of the corpus to a compressed file.
func packCorpus(path string, bytes int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	m := corpus.NewMixed(logPods, bytes, logStart(), logSpan)
	batch := make([]storage.Record, logBatch)
	for n := m.Next(batch); n > 0; n = m.Next(batch) {
		for i := range batch[:n] {
			if _, err := w.Write(append(batch[i].Line, '\n')); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// logStart is when the corpus begins: it ends an hour ago.
func logStart() time.Time { return time.Now().Add(-logSpan - time.Hour).Truncate(time.Hour) }

// grepCPU is the CPU time in milliseconds that decompressing and grepping takes.
func grepCPU(packed, pattern string) (float64, error) {
	var times []float64
	for range 3 {
		unpack, grep := exec.Command("zstd", "-dcq", packed), exec.Command("rg", "-c", "--", pattern)
		pipe, err := unpack.StdoutPipe()
		if err != nil {
			return 0, err
		}
		grep.Stdin, grep.Stdout = pipe, io.Discard
		if err := errors.Join(unpack.Start(), grep.Start()); err != nil {
			return 0, fmt.Errorf("zstd and ripgrep are needed: %w", err)
		}
		if err := errors.Join(grep.Wait(), unpack.Wait()); err != nil {
			return 0, fmt.Errorf("zstd -dc | rg %s: %w", pattern, err)
		}
		cpu := time.Duration(0)
		for _, s := range []*os.ProcessState{unpack.ProcessState, grep.ProcessState} {
			cpu += s.UserTime() + s.SystemTime()
		}
		times = append(times, cpu.Seconds()*1000)
	}
	return median(times), nil
}

// serveLogStore is the measured process: it writes the corpus to dir, asks the
// queries and prints its figures.
func serveLogStore(dir string, bytes int64) error {
	db, err := logdb.Open(logdb.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer db.Close()
	f := logFigures{Queries: make(map[string]float64)}
	if err := ingest(db, bytes, &f); err != nil {
		return err
	}
	s := db.State()
	f.Disk, f.HeadBytes = diskOfSegments(dir), f.Bytes-s.TextBytes
	for _, q := range logQueryRows {
		if f.Queries[q.name], err = timeQuery(db, q.name); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// ingest writes the corpus. The CPU time is that of the whole process, what
// making the lines took aside.
func ingest(db *logdb.DB, bytes int64, f *logFigures) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := corpus.NewMixed(logPods, bytes, logStart(), logSpan)
	batch := make([]storage.Record, logBatch)
	begin, making := processCPU(), time.Duration(0)
	for {
		before := threadCPU()
		n := m.Next(batch)
		making += threadCPU() - before
		if n == 0 {
			break
		}
		for i := range batch[:n] {
			f.Bytes += int64(len(batch[i].Line))
		}
		f.Lines += int64(n)
		if err := db.Write(context.Background(), batch[:n]); err != nil {
			return err
		}
	}
	f.IngestCPU = (settledCPU() - begin - making).Seconds()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	f.RSS = float64(usage.Maxrss) * 1024
	return nil
}

// settledCPU waits until nothing happens in the background any more and returns
// the CPU time used by then.
func settledCPU() time.Duration {
	last := processCPU()
	for range 600 {
		time.Sleep(200 * time.Millisecond)
		now := processCPU()
		if now-last < time.Millisecond {
			return now
		}
		last = now
	}
	return last
}

// processCPU is the CPU time of all threads of this process.
func processCPU() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

func diskOfSegments(dir string) (total int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".seg") {
			total += info.Size()
		}
	}
	return total
}

// timeQuery returns the median CPU time of a query in milliseconds.
func timeQuery(db *logdb.DB, name string) (float64, error) {
	var times []float64
	for range logRuns {
		before := processCPU()
		if err := askLogs(db, name); err != nil {
			return 0, err
		}
		times = append(times, (processCPU()-before).Seconds()*1000)
	}
	return median(times), nil
}

// askLogs asks the query of a row and reads the answer to its end.
func askLogs(db *logdb.DB, name string) error {
	start := logStart()
	q := storage.LogQuery{Start: start.UnixNano(), End: start.Add(logSpan + time.Hour).UnixNano(), Order: storage.Descending}
	regexps := storage.LinePattern{Text: "deadlock found.*lock|no such ho[a-z]+", Regexp: true}
	var pattern storage.LinePattern
	switch name {
	case logQueryRows[0].name:
		infos, err := db.Streams(context.Background(), nil, q.Start, q.End)
		if err != nil {
			return err
		}
		q.Start = start.Add(time.Hour).UnixNano()
		q.End = q.Start + int64(10*time.Minute)
		q.Matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, storage.LabelPod, infos[0].Labels.Get(storage.LabelPod))}
	case logQueryRows[1].name:
		pattern.Text = corpus.NeedleWord
	case logQueryRows[2].name:
		pattern.Text = corpus.Needle[2:10]
	case logQueryRows[3].name:
		q.Matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, storage.LabelNamespace, "payments")}
		pattern, q.Limit = regexps, 1000
	case logQueryRows[4].name:
		pattern, q.Order = regexps, storage.Unordered
	case logQueryRows[5].name:
		q.Limit = 100
	default:
		_, _, err := db.Count(context.Background(), q, int64(time.Minute), []string{storage.LabelLevel})
		return err
	}
	if pattern.Text != "" {
		m, err := storage.NewLineMatcher(false, pattern)
		if err != nil {
			return err
		}
		q.Lines = []*storage.LineMatcher{m}
	}
	return drainLogs(db, q)
}

func drainLogs(db *logdb.DB, q storage.LogQuery) error {
	it, err := db.Select(context.Background(), q)
	if err != nil {
		return err
	}
	n := 0
	for err == nil {
		var records []storage.Record
		records, err = it.Next()
		n += len(records)
	}
	if !errors.Is(err, io.EOF) || n == 0 {
		return fmt.Errorf("%d records, %w", n, err)
	}
	return it.Close()
}
