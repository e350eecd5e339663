package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/otlp"
	"github.com/binnacle-obs/binnacle/test/corpus"
)

// floors are the costs of the last steps, in CPU-s/GiB.
type floors struct{ otlp, bulk float64 }

// ladderBatch is how much text goes into a request.
const ladderBatch = 1 << 20

// shipLadder measures in one thread what cannot be saved: each step includes
// those before it. Nothing is followed, joined over files, retried or kept.
func shipLadder(files corpus.Files, url string) (rows []result, floor floors, err error) {
	client, err := otlp.NewClient(otlp.ClientOptions{Endpoint: otlp.Endpoint{URL: url}})
	if err != nil {
		return nil, floor, err
	}
	defer client.Close()
	var packed []byte
	var p ladderParser
	before, beforeName := 0.0, "nothing"
	for _, step := range []struct {
		name string
		run  func(batch []storage.Record) error // nil does not even split lines
		to   *float64
	}{
		{"read", nil, nil},
		{"split lines, parse CRI headers and times", func([]storage.Record) error { return nil }, nil},
		{"detect levels", func(b []storage.Record) error { detectLevels(b); return nil }, nil},
		{"encode as OTLP", func(b []storage.Record) error {
			detectLevels(b)
			packed = otlp.Encode(packed[:0], b)
			return nil
		}, nil},
		{"encode as OTLP, compress and post", func(b []storage.Record) error {
			detectLevels(b)
			return client.Write(context.Background(), b)
		}, &floor.otlp},
		{"encode as a bulk request", func(b []storage.Record) error {
			detectLevels(b)
			packed = appendBulk(packed[:0], b)
			return nil
		}, nil},
		{"encode as a bulk request, gzip and post", func(b []storage.Record) error {
			detectLevels(b)
			packed = appendBulk(packed[:0], b)
			return postGzip(url+"/discard", packed)
		}, &floor.bulk},
	} {
		start := shipCPU()
		for _, path := range files.Paths {
			if err := p.climb(path, step.run); err != nil {
				return rows, floor, err
			}
		}
		cost := (shipCPU() - start) / float64(files.Bytes) * gibibyte
		if step.to != nil {
			*step.to = cost
		}
		if before == 0 {
			before, beforeName = cost, step.name
		}
		// A step has no bar of its own.
		rows = append(rows, result{"floor: " + step.name, "CPU-s/GiB", cost, before, beforeName, cost / before, cost / before, true})
	}
	return rows, floor, nil
}

func detectLevels(batch []storage.Record) {
	for i := range batch {
		batch[i].Level = storage.DetectLevel(batch[i].Line)
	}
}

// climb reads a file in chunks and hands its records to run in batches.
func (p *ladderParser) climb(path string, run func([]storage.Record) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	p.streams, p.offset = ladderStreams(path), 0
	held := 0
	for {
		n, err := f.Read(p.chunk[held:])
		if run != nil {
			held = p.lines(p.chunk[:held+n])
			if p.size >= ladderBatch {
				if err := p.flush(run); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return p.flush(run)
		}
		if err != nil {
			return err
		}
	}
}

// ladderParser turns lines of CRI logs into records. It keeps its memory from
// file to file.
type ladderParser struct {
	chunk   [1 << 18]byte
	streams [2]*storage.Stream
	batch   []storage.Record
	text    []byte // of the batch
	begin   int    // of a record of several fragments in text
	size    int
	offset  int64
	second  [19]byte // of the last line, as written
	seconds int64    // the same since the epoch, in nanoseconds
}

func ladderStreams(path string) (streams [2]*storage.Stream) {
	pod := strings.Split(filepath.Base(filepath.Dir(filepath.Dir(path))), "_")
	for i, name := range []string{"stdout", "stderr"} {
		streams[i] = &storage.Stream{Labels: labels.FromStrings(
			storage.LabelCluster, "bench", storage.LabelNode, "node", storage.LabelNamespace, pod[0], storage.LabelPod, pod[1],
			storage.LabelUID, pod[2], storage.LabelContainer, "main", storage.LabelRestart, "0", storage.LabelStream, name,
			storage.LabelWorkload, "workload", storage.LabelWorkloadType, "deployment",
		)}
	}
	return streams
}

// lines takes the complete lines of a chunk, moves the rest to its beginning
// and returns the length of that.
func (p *ladderParser) lines(chunk []byte) (held int) {
	rest := chunk
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return copy(chunk, rest)
		}
		p.line(rest[:end])
		p.offset += int64(end + 1)
		rest = rest[end+1:]
	}
}

// line parses "2026-03-01T12:00:00.123456789Z stdout F text".
func (p *ladderParser) line(line []byte) {
	const stamp = len("2026-03-01T12:00:00.123456789Z")
	which := 0
	if line[stamp+4] == 'e' {
		which = 1
	}
	p.text = append(p.text, line[stamp+len(" stdout F "):]...)
	if line[stamp+len(" stdout ")] == 'P' {
		return
	}
	if second := [19]byte(line); second != p.second {
		p.second = second
		p.seconds = time.Date(number(line[0:4]), time.Month(number(line[5:7])), number(line[8:10]),
			number(line[11:13]), number(line[14:16]), number(line[17:19]), 0, time.UTC).UnixNano()
	}
	text := p.text[p.begin:]
	p.begin = len(p.text)
	p.batch = append(p.batch, storage.Record{
		Stream: p.streams[which], Time: p.seconds + int64(number(line[20:29])), Source: storage.SourceID{1, byte(which)}, Offset: p.offset, Line: text,
	})
	p.size += len(text) + 64
}

func number(digits []byte) int {
	n := 0
	for _, c := range digits {
		n = 10*n + int(c-'0')
	}
	return n
}

func (p *ladderParser) flush(run func([]storage.Record) error) error {
	if len(p.batch) == 0 {
		return nil
	}
	err := run(p.batch)
	p.batch, p.text, p.begin, p.size = p.batch[:0], append(p.text[:0], p.text[p.begin:]...), 0, 0
	return err
}

// appendBulk appends a bulk request whose documents have 12 fields.
func appendBulk(dst []byte, batch []storage.Record) []byte {
	var prefix []byte
	var last *storage.Stream
	for i := range batch {
		r := &batch[i]
		if r.Stream != last {
			prefix, last = bulkPrefix(r.Stream), r.Stream
		}
		dst = append(dst, `{"create":{"_id":"`...)
		id := r.ID()
		dst = hex.AppendEncode(dst, id.Source[:])
		dst = hex.AppendEncode(dst, binary.BigEndian.AppendUint64(nil, uint64(id.Offset)))
		dst = append(dst, "\"}}\n"...)
		dst = append(dst, prefix...)
		dst = time.Unix(0, r.Time).UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, `","log.level":"`...)
		dst = append(dst, r.Level.String()...)
		dst = append(dst, `","message":"`...)
		dst = appendEscaped(dst, r.Line)
		dst = append(dst, "\"}\n"...)
	}
	return dst
}

// appendEscaped appends text inside of a string of JSON. The corpus has no
// control characters.
func appendEscaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, `\"`...)
		text = text[i+1:]
	}
}

// bulkPrefix is the beginning of all documents of a stream.
func bulkPrefix(s *storage.Stream) []byte {
	prefix := []byte("{")
	s.Labels.Range(func(l labels.Label) {
		prefix = append(prefix, `"kubernetes.`+l.Name+`":"`+l.Value+`",`...)
	})
	return append(prefix, `"@timestamp":"`...)
}

var ladderGzip = func() *kgzip.Writer {
	w, err := kgzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}()

func postGzip(url string, body []byte) error {
	var packed bytes.Buffer
	ladderGzip.Reset(&packed)
	_, err := ladderGzip.Write(body)
	if err = errors.Join(err, ladderGzip.Close()); err != nil {
		return err
	}
	return drain(http.Post(url, "application/x-ndjson", &packed))
}
