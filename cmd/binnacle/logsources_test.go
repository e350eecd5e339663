package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSourcesTellFoldersFromGlobs: only the one who asks knows whether a name
// that is not there yet is to be a folder.
func TestSourcesTellFoldersFromGlobs(t *testing.T) {
	dir := t.TempDir()
	later := filepath.Join(dir, "later")
	s := &modeSettings{logs: logModeSettings{files: []string{dir, later + "/", later, filepath.Join(dir, "*.log")}}}
	require.Equal(t, logSources{
		roots: []string{dir, later},
		globs: []string{later, filepath.Join(dir, "*.log")},
	}, s.sources(true))
}
