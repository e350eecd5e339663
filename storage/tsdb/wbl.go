package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// recoverMarkers takes markers of chunks that do not exist out of the log of
// out-of-order samples.
//
// When a series' late samples fill a chunk, upstream puts it into a buffer of
// the head's chunk files and a marker into the log: "the samples before this
// are in that chunk". If the process is killed the buffer is gone, and the
// next replay rightly ignores markers beyond the end of the chunk files. But
// as soon as these have grown, the replay after that takes the markers for
// good and drops samples that are in the log only.
func (db *DB) recoverMarkers(scratch string) error {
	files, err := db.segments(filepath.Join(db.opts.Dir, wlog.WblDirName), &logLoss{})
	if err != nil {
		return err
	}
	var known map[chunks.ChunkDiskMapperRef]chunks.HeadSeriesRef
	for _, path := range files {
		check := newRecordChecker()
		dangling := 0
		_, err := readLog(path, logVisitor{record: func(rec []byte) error {
			if check.decoder.Type(rec) != record.MmapMarkers {
				return nil
			}
			if known == nil {
				known = db.lateChunks()
			}
			err := check.record(rec)
			dangling += len(check.markers) - len(existing(check.markers, known))
			return err
		}})
		if err != nil {
			return err
		}
		if dangling == 0 {
			continue
		}
		err = db.rewriteLog(path, scratch, func(rec []byte) []byte {
			if check.decoder.Type(rec) != record.MmapMarkers || check.record(rec) != nil {
				return rec
			}
			kept := existing(check.markers, known)
			if len(kept) == 0 {
				return nil
			}
			var enc record.Encoder
			return enc.MmapMarkers(kept, nil)
		})
		if err != nil {
			return fmt.Errorf("write %s anew: %w", path, err)
		}
		db.logger.Info("Late samples are read from their log again, their chunks had not been written", "file", path, "chunks", dangling)
	}
	return nil
}

// existing returns the markers of chunks that are there. The reference 0
// stands for no chunk.
func existing(markers []record.RefMmapMarker, known map[chunks.ChunkDiskMapperRef]chunks.HeadSeriesRef) []record.RefMmapMarker {
	kept := make([]record.RefMmapMarker, 0, len(markers))
	for _, m := range markers {
		if series, ok := known[m.MmapRef]; m.MmapRef == 0 || ok && series == m.Ref {
			kept = append(kept, m)
		}
	}
	return kept
}

// lateChunks lists the chunks of late samples with their series. Of damaged
// files nothing is listed, because upstream will delete them, and those after.
func (db *DB) lateChunks() map[chunks.ChunkDiskMapperRef]chunks.HeadSeriesRef {
	out := make(map[chunks.ChunkDiskMapperRef]chunks.HeadSeriesRef)
	dir := filepath.Join(db.opts.Dir, headChunksName)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return out
	}
	mapper, err := chunks.NewChunkDiskMapper(nil, dir, chunkenc.NewPool(), chunks.MinWriteBufferSize, 0)
	if err != nil {
		return out
	}
	defer mapper.Close()
	err = mapper.IterateAllChunks(func(series chunks.HeadSeriesRef, ref chunks.ChunkDiskMapperRef,
		_, _ int64, _ uint16, _ chunkenc.Encoding, late bool,
	) error {
		if late {
			out[ref] = series
		}
		return nil
	})
	if damage, ok := errors.AsType[*chunks.CorruptionErr](err); ok {
		for ref := range out {
			if file, _ := ref.Unpack(); file >= damage.FileIndex {
				delete(out, ref)
			}
		}
	}
	return out
}
