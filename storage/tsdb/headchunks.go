package tsdb

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const headChunksName = "chunks_head"

// recoverHeadChunks sets the head's chunk files aside when upstream could not
// open the folder. Upstream itself repairs most damage in them; this is for
// the rest, such as a damaged header. The log holds the same samples. It
// returns false if there is nothing to set aside.
func (db *DB) recoverHeadChunks(cause error) bool {
	dir := filepath.Join(db.opts.Dir, headChunksName)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	to, err := db.quarantine(dir, reasonHeadChunks)
	if err != nil {
		return false
	}
	db.logger.Error("Dropped the head's chunk files, their samples are read from the log again",
		"dir", db.opts.Dir, "moved_to", to, "err", cause)
	return true
}
