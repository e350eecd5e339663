package logqltest

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/binnacle-obs/binnacle/storage"
)

//go:embed testdata/corpus.txt
var corpus string

const (
	// generated is the number of records of the generated stream.
	generated = 600
	// bulkPods and bulkRecords, those of each pod, are more than a small store
	// keeps in memory.
	bulkPods, bulkRecords = 10, 600
	// bulkStart is before all other records.
	bulkStart = -30 * time.Minute
)

// corpusRecords reads corpus.txt, streams as "{labels}" and their records as
// "TIME LEVEL {metadata} TEXT", and adds a stream of a line each second.
func corpusRecords(base time.Time) ([]storage.Record, error) {
	var records []storage.Record
	var stream *storage.Stream
	source := byte(0)
	prom := parser.NewParser(parser.Options{})
	for i, line := range strings.Split(corpus, "\n") {
		if line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		if line[0] == '{' {
			l, err := prom.ParseMetric(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			stream = &storage.Stream{Labels: l}
			source++
			continue
		}
		r, err := parseRecord(prom, line, base)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		r.Stream, r.Source, r.Offset = stream, storage.SourceID{7, 15: source}, int64(i)*1000
		records = append(records, r)
	}
	records = append(records, generate(base)...)
	return append(records, generateBulk(base.Add(bulkStart))...), nil
}

func parseRecord(prom parser.Parser, line string, base time.Time) (storage.Record, error) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) < 4 {
		return storage.Record{}, fmt.Errorf("TIME LEVEL {metadata} TEXT needed: %q", line)
	}
	at, err := time.ParseDuration(fields[0])
	if err != nil {
		return storage.Record{}, err
	}
	meta := labels.EmptyLabels()
	if fields[2] != "{}" {
		if meta, err = prom.ParseMetric(fields[2]); err != nil {
			return storage.Record{}, err
		}
	}
	text := strings.NewReplacer(`\n`, "\n", `\e`, "\x1b").Replace(fields[3])
	return storage.Record{
		Time: base.Add(at).UnixNano(), Level: storage.ParseLevel(fields[1]), Line: []byte(text), Metadata: meta,
	}, nil
}

// generate makes lines of logfmt with numbers that repeat in cycles.
func generate(base time.Time) []storage.Record {
	stream := &storage.Stream{Labels: labels.FromStrings(storage.LabelNamespace, "load", storage.LabelPod, "gen-0", storage.LabelContainer, "gen")}
	records := make([]storage.Record, generated)
	for i := range records {
		level := storage.LevelInfo
		if i%10 == 9 {
			level = storage.LevelError
		}
		line := fmt.Sprintf("level=%s n=%d took=%dms size=%dKB path=/p%d requests_total=%d",
			level, i, i%50*10, i%7, i%3, i%200*5)
		records[i] = storage.Record{
			Stream: stream, Time: base.Add(time.Duration(i) * time.Second).UnixNano(), Line: []byte(line), Level: level,
			Source: storage.SourceID{9}, Offset: int64(i) * 100,
		}
	}
	return records
}

// generateBulk makes lines of JSON, a second apart in each pod, with a needle
// in one of them.
func generateBulk(start time.Time) []storage.Record {
	var records []storage.Record
	for pod := range bulkPods {
		stream := &storage.Stream{Labels: labels.FromStrings(
			storage.LabelNamespace, "bulk", storage.LabelPod, fmt.Sprintf("web-%d", pod), storage.LabelContainer, "web")}
		for i := range bulkRecords {
			level := storage.Level(i % storage.Levels)
			needle := ""
			if pod == 7 && i == 333 {
				needle = "n33dle"
			}
			line := fmt.Sprintf(`{"n":%d,"path":"/api/v%d/items/%d","status":%d,"took":%.3f,"peer":"10.%d.0.%d","note":%q}`,
				i, i%3, i*7%100, 200+i%5*100, float64(i%97)/100, pod, i%250, needle)
			records = append(records, storage.Record{
				Stream: stream, Time: start.Add(time.Duration(i)*time.Second + time.Duration(pod)*time.Millisecond).UnixNano(),
				Line: []byte(line), Level: level, Source: storage.SourceID{11, byte(pod)}, Offset: int64(i) * 200,
			})
		}
	}
	return records
}
