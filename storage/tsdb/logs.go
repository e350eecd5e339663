package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	walName = "wal"
	// salvageName is where a log file is written anew before it takes the
	// place of the damaged one.
	salvageName = "wal-salvage.tmp"
	// maxMissingSegments bounds the gap in the numbers of log files that is
	// taken for lost files.
	maxMissingSegments = 1000
)

// recoverLogs reads the write-ahead log, its checkpoint and the log of
// out-of-order samples before upstream does, and replaces files that have
// unreadable parts by ones that hold every record still readable. Upstream
// would delete everything after the first damage and not start at all with a
// damaged checkpoint.
func (db *DB) recoverLogs() error {
	scratch := filepath.Join(db.opts.Dir, salvageName)
	if err := os.RemoveAll(scratch); err != nil {
		return fmt.Errorf("remove what is left of an earlier recovery: %w", err)
	}
	dirs, err := db.logDirs()
	if err != nil {
		return err
	}
	var lost logLoss
	check := newRecordChecker()
	for _, dir := range dirs {
		files, err := db.segments(dir, &lost)
		if err != nil {
			return err
		}
		for _, path := range files {
			damage, err := readLog(path, logVisitor{record: check.record, damaged: check.damaged})
			if err != nil {
				return err
			}
			if damage.places == 0 {
				continue
			}
			lost.add(path, damage)
			if _, err := db.quarantineCopy(path, reasonLog); err != nil {
				return err
			}
			if err := db.rewriteLog(path, scratch, nil); err != nil {
				return fmt.Errorf("write %s anew: %w", path, err)
			}
		}
	}
	if err := db.recoverMarkers(scratch); err != nil || lost.files == 0 && lost.missing == 0 {
		return err
	}
	lost.from, lost.to = check.lostFrom, check.lostTo
	return db.reportLoss(dirs, &lost)
}

// logDirs returns the folders with logs in the order in which they are
// replayed: the newest checkpoint, the log, the log of out-of-order samples.
func (db *DB) logDirs() ([]string, error) {
	wal := filepath.Join(db.opts.Dir, walName)
	var dirs []string
	checkpoint, _, err := wlog.LastCheckpoint(wal)
	switch {
	case err == nil:
		dirs = append(dirs, checkpoint)
	case !errors.Is(err, record.ErrNotFound) && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("find the checkpoint of the log: %w", err)
	}
	return append(dirs, wal, filepath.Join(db.opts.Dir, wlog.WblDirName)), nil
}

// segments lists the files of a log. Upstream insists on consecutive numbers:
// an empty file takes the place of a missing one.
func (db *DB) segments(dir string, lost *logLoss) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list log files: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n >= 0 && !e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	sort.Ints(numbers)
	var paths []string
	for i, n := range numbers {
		if i > 0 && n-numbers[i-1] > maxMissingSegments {
			return nil, fmt.Errorf("log files %d to %d are missing in %s; move the files after them away if that is so",
				numbers[i-1]+1, n-1, dir)
		}
		for missing := n; i > 0 && missing > numbers[i-1]+1; {
			missing--
			if err := os.WriteFile(wlog.SegmentName(dir, missing), nil, 0o666); err != nil {
				return nil, fmt.Errorf("stand in for a missing log file: %w", err)
			}
			lost.missing++
		}
		paths = append(paths, wlog.SegmentName(dir, n))
	}
	return paths, nil
}

// rewriteLog replaces a log file by one with its readable records only, or
// what edit, if not nil, makes of each; nil drops a record. There is the old
// file or the new one, never neither.
func (db *DB) rewriteLog(path, scratch string, edit func([]byte) []byte) (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	// Twice the usual size: recompressed records may take more room than
	// before, and have to stay in one file.
	w, err := wlog.NewSize(nil, nil, scratch, 2*wlog.DefaultSegmentSize, compression.Snappy)
	if err != nil {
		return err
	}
	check := newRecordChecker()
	var writeErr error
	_, readErr := readLog(path, logVisitor{record: func(rec []byte) error {
		if err := check.record(rec); err != nil {
			return err
		}
		if edit != nil {
			rec = edit(rec)
		}
		if rec != nil && writeErr == nil {
			writeErr = w.Log(rec)
		}
		return nil
	}})
	if err := errors.Join(readErr, writeErr, w.Close()); err != nil {
		return err
	}
	return os.Rename(wlog.SegmentName(scratch, 0), path)
}

// logLoss sums up what recoverLogs could not read.
type logLoss struct {
	files, missing, places int
	bytes                  int64
	// from and to are samples' times around the unreadable parts, or 0.
	from, to int64
	first    error
}

func (l *logLoss) add(path string, d logDamage) {
	l.files++
	l.places += d.places
	l.bytes += d.bytes
	if l.first == nil {
		l.first = fmt.Errorf("%s %w", path, d.first)
	}
}

// reportLoss says in one line what was dropped. How many samples were in the
// unreadable parts cannot be known, but how many readable ones belong to a
// series whose record is gone, which takes a second look at everything.
func (db *DB) reportLoss(dirs []string, lost *logLoss) error {
	db.metrics.salvagedBytes.Add(float64(lost.bytes))
	orphans := newRecordChecker()
	orphans.known = make(map[uint64]struct{})
	for _, dir := range dirs {
		files, err := db.segments(dir, &logLoss{})
		if err != nil {
			return err
		}
		for _, path := range files {
			if _, err := readLog(path, logVisitor{record: orphans.record}); err != nil {
				return err
			}
		}
	}
	db.logger.Error("Dropped unreadable parts of the metrics log, every other record is kept",
		"dir", db.opts.Dir, "files", lost.files, "missing_files", lost.missing, "places", lost.places, "bytes", lost.bytes,
		"from", millis(lost.from), "to", millis(lost.to), "samples_without_series", orphans.orphans, "moved_to", filepath.Join(db.opts.Dir, quarantineName), "first", lost.first)
	return nil
}
