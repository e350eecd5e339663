package logqltest

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/logdb"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

var update = flag.Bool("update", false, "write the results over the reference store to testdata/queries.txt")

func openMemory(*testing.T) storage.LogStore { return storagetest.NewMemory() }

func TestMemory(t *testing.T) {
	if *update {
		updateQueries(t)
	}
	Run(t, openMemory)
}

// noCounter hides storage.LogCounter: records are read and counted.
type noCounter struct{ storage.LogStore }

func TestWithoutCounter(t *testing.T) {
	Run(t, func(t *testing.T) storage.LogStore { return noCounter{openMemory(t)} })
}

// TestLogDB asks the embedded store, with all records in memory and with most of
// them in segments.
func TestLogDB(t *testing.T) {
	for name, o := range map[string]logdb.Options{"head": {}, "segments": {HeadBytes: 256 << 10, BlockBytes: 4 << 10}} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(t *testing.T) storage.LogStore {
				o.Dir = t.TempDir()
				db, err := logdb.Open(o)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, db.Close()) })
				return db
			})
		})
	}
}

// updateQueries evaluates the cases and keeps all other lines.
func updateQueries(t *testing.T) {
	s := fill(t, openMemory)
	cases, err := parseCases(queries)
	require.NoError(t, err)
	lines := strings.Split(queries, "\n")
	var out []string
	for i, c := range cases {
		end := len(lines)
		if i+1 < len(cases) {
			end = cases[i+1].line - 1
		}
		if i == 0 {
			out = append(out, lines[:c.line-1]...)
		}
		for _, line := range lines[c.line-1 : end] {
			if line == "--" {
				break
			}
			if line != "" {
				out = append(out, line)
			}
		}
		out = append(out, "--")
		out = append(out, s.evaluate(t.Context(), c)...)
		out = append(out, "")
	}
	queries = strings.Join(out, "\n")
	require.NoError(t, os.WriteFile("testdata/queries.txt", []byte(queries), 0o600))
}
