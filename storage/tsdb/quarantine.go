package tsdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// quarantineName is the folder for what was set aside. Nothing in it is read
// again or deleted by us. Prometheus ignores it.
const quarantineName = "quarantine"

// Values of the reason label of binnacle_tsdb_quarantined_total.
const (
	reasonBlock      = "block"
	reasonLog        = "log"
	reasonHeadChunks = "head_chunks"
)

// quarantine moves path, a file or folder below the data folder, to the
// quarantine and returns its new path.
func (db *DB) quarantine(path, reason string) (string, error) {
	to, err := db.quarantinePath(path)
	if err != nil {
		return "", err
	}
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("set %s aside: %w", path, err)
	}
	db.metrics.quarantined.WithLabelValues(reason).Inc()
	return to, nil
}

// quarantineCopy keeps the content of the file path, which will be replaced.
func (db *DB) quarantineCopy(path, reason string) (string, error) {
	to, err := db.quarantinePath(path)
	if err != nil {
		return "", err
	}
	if err := os.Link(path, to); err != nil {
		return "", fmt.Errorf("set a copy of %s aside: %w", path, err)
	}
	db.metrics.quarantined.WithLabelValues(reason).Inc()
	return to, nil
}

// quarantinePath returns a free name: "wal-00000012", "wal-00000012.1", ….
func (db *DB) quarantinePath(path string) (string, error) {
	rel, err := filepath.Rel(db.opts.Dir, path)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(db.opts.Dir, quarantineName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("make the quarantine folder: %w", err)
	}
	base := filepath.Join(dir, strings.ReplaceAll(rel, string(filepath.Separator), "-"))
	for to, i := base, 1; ; to, i = base+"."+strconv.Itoa(i), i+1 {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			return to, nil
		} else if err != nil {
			return "", err
		}
	}
}
