package tsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	upstreamtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

const metaName = "meta.json"

// recoverBlocks sets aside every block that cannot be read: upstream would not
// open the folder, or fail every query and compaction that meets it. A block
// that lacks only its description gets a new one.
//
// What is looked at is what a crash or a lost file leaves behind: presence and
// length of all files, and the index's table of contents. A flipped bit inside
// a chunk is found by its checksum when a query reads it.
func (db *DB) recoverBlocks() error {
	entries, err := os.ReadDir(db.opts.Dir)
	if err != nil {
		return fmt.Errorf("list blocks: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !isBlockName(e.Name()) {
			continue
		}
		dir := filepath.Join(db.opts.Dir, e.Name())
		meta, err := readMeta(dir)
		if err != nil {
			meta, err = db.restoreMeta(dir, err)
		}
		if err == nil {
			err = verifyBlock(dir)
		}
		if err == nil {
			continue
		}
		to, moveErr := db.quarantine(dir, reasonBlock)
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		db.logger.Error("Dropped a broken metrics block, everything else is kept",
			"block", e.Name(), "samples", meta.Stats.NumSamples, "from", millis(meta.MinTime), "to", millis(meta.MaxTime),
			"moved_to", to, "err", err)
	}
	return nil
}

// isBlockName tells ULIDs from other names.
func isBlockName(name string) bool {
	var m upstreamtsdb.BlockMeta
	return m.ULID.UnmarshalText([]byte(name)) == nil && m.ULID.String() == name
}

func readMeta(dir string) (upstreamtsdb.BlockMeta, error) {
	var m upstreamtsdb.BlockMeta
	text, err := os.ReadFile(filepath.Join(dir, metaName))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return upstreamtsdb.BlockMeta{}, fmt.Errorf("decode %s: %w", metaName, err)
	}
	switch {
	case m.Version != 1:
		return m, fmt.Errorf("%s: version %d, not 1", metaName, m.Version)
	case m.ULID.String() != filepath.Base(dir):
		return m, fmt.Errorf("%s: names block %s", metaName, m.ULID)
	case m.MinTime > m.MaxTime:
		return m, fmt.Errorf("%s: time range ends before it begins", metaName)
	}
	return m, nil
}

// verifyBlock opens a block and reads the last chunk of each of its chunk
// files, which lies at the file's end.
func verifyBlock(dir string) (err error) {
	b, err := upstreamtsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	ir, err := b.Index()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ir.Close()) }()
	cr, err := b.Chunks()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cr.Close()) }()
	last, err := lastChunks(ir)
	if err != nil {
		return err
	}
	for _, m := range last {
		if _, _, err := cr.ChunkOrIterable(m); err != nil {
			return err
		}
	}
	return nil
}

// lastChunks finds the last chunk in each chunk file. Upstream writes series
// and their chunks in the order of the index, so that a binary search does it.
func lastChunks(ir upstreamtsdb.IndexReader) ([]chunks.Meta, error) {
	name, value := index.AllPostingsKey()
	p, err := ir.Postings(context.Background(), name, value)
	if err != nil {
		return nil, err
	}
	series, err := index.ExpandPostings(p)
	if err != nil || len(series) == 0 {
		return nil, err
	}
	var builder labels.ScratchBuilder
	read := func(i int) []chunks.Meta {
		var metas []chunks.Meta
		if e := ir.Series(series[i], &builder, &metas); e != nil {
			err = errors.Join(err, e)
		}
		return metas
	}
	file := func(m chunks.Meta) int {
		n, _ := chunks.BlockChunkRef(m.Ref).Unpack()
		return n
	}
	var out []chunks.Meta
	for i, k := 0, 0; i < len(series) && err == nil; k++ {
		// The first series whose last chunk is beyond file k may have begun in k.
		next := i + sort.Search(len(series)-i, func(j int) bool {
			m := read(i + j)
			return len(m) > 0 && file(m[len(m)-1]) > k
		})
		var last *chunks.Meta
		for _, j := range []int{next - 1, next} {
			if j < i || j >= len(series) {
				continue
			}
			for _, m := range read(j) {
				if file(m) == k {
					last = &m
				}
			}
		}
		if last != nil {
			out = append(out, *last)
		}
		i = next
	}
	return out, err
}

// restoreMeta writes the description of a block anew from its index. cause is
// what is wrong with the old one, which goes to the quarantine.
func (db *DB) restoreMeta(dir string, cause error) (upstreamtsdb.BlockMeta, error) {
	meta, err := describeBlock(dir)
	if err != nil {
		return meta, fmt.Errorf("%w; its index cannot be read either: %w", cause, err)
	}
	path := filepath.Join(dir, metaName)
	if _, err := os.Stat(path); err == nil {
		if _, err := db.quarantineCopy(path, reasonBlock); err != nil {
			return meta, errors.Join(cause, err)
		}
	}
	text, err := json.MarshalIndent(meta, "", "\t")
	if err != nil {
		return meta, err
	}
	if err := replaceFile(path, text); err != nil {
		return meta, errors.Join(cause, err)
	}
	db.logger.Warn("Wrote the description of a metrics block anew, no samples are lost", "block", filepath.Base(dir),
		"from", millis(meta.MinTime), "to", millis(meta.MaxTime), "cause", cause)
	return meta, nil
}

// describeBlock makes the description of a block from its index. Where the
// block came from is not in there; as a block of level 1 it is compacted again.
func describeBlock(dir string) (_ upstreamtsdb.BlockMeta, err error) {
	m := upstreamtsdb.BlockMeta{Version: 1, MinTime: math.MaxInt64, MaxTime: math.MinInt64}
	if err := m.ULID.UnmarshalText([]byte(filepath.Base(dir))); err != nil {
		return m, err
	}
	m.Compaction.Level = 1
	m.Compaction.Sources = append(m.Compaction.Sources, m.ULID)
	ir, err := index.NewFileReader(filepath.Join(dir, "index"), index.DecodePostingsRaw)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, ir.Close()) }()
	name, value := index.AllPostingsKey()
	p, err := ir.Postings(context.Background(), name, value)
	if err != nil {
		return m, err
	}
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for p.Next() {
		if err := ir.Series(p.At(), &builder, &metas); err != nil {
			return m, err
		}
		m.Stats.NumSeries++
		for _, c := range metas {
			m.Stats.NumChunks++
			m.MinTime, m.MaxTime = min(m.MinTime, c.MinTime), max(m.MaxTime, c.MaxTime+1)
		}
	}
	if err := p.Err(); err != nil {
		return m, err
	}
	if m.Stats.NumChunks == 0 {
		return m, errors.New("no chunks")
	}
	return m, nil
}

// replaceFile writes a file so that after a crash it is the old or the new one.
func replaceFile(path string, content []byte) error {
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return os.Rename(tmp, path)
}

// millis shows a timestamp in a log line; the zero time for "not known".
func millis(t int64) string {
	if t == 0 {
		return "unknown"
	}
	return time.UnixMilli(t).UTC().Format(time.RFC3339)
}
