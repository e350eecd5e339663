//go:build system

package elasticsearch

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/server/logql/logqltest"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/elastic"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines are those of CI. BINNACLE_SEARCH_ENGINES names others, separated by
// spaces.
const engines = "elasticsearch-8.19.21 elasticsearch-9.5.3"

// TestServers runs everything on one server after the other.
func TestServers(t *testing.T) {
	names := os.Getenv("BINNACLE_SEARCH_ENGINES")
	if names == "" {
		names = engines
	}
	for name := range strings.FieldsSeq(names) {
		engine, version, ok := strings.Cut(name, "-")
		require.True(t, ok, "BINNACLE_SEARCH_ENGINES: %q is not ENGINE-VERSION", name)
		t.Run(name, func(t *testing.T) {
			t.Run("functions", func(t *testing.T) {
				s := start(t, engine, version)
				t.Run("conformance", s.conformance)
				t.Run("LogQL", s.logQL)
				t.Run("items rejected", s.itemsRejected)
				t.Run("cut and rolled over", s.cutAndRolledOver)
				t.Run("agent killed", s.agentKilled)
				t.Run("dead letters", s.deadLetters)
				t.Run("retention", s.retention)
				t.Run("many set up", s.manySetUp)
				t.Run("template changed", s.templateChanged)
			})
			t.Run("limits", func(t *testing.T) {
				s := start(t, engine, version, "http.max_content_length=1mb", "thread_pool.write.size=1", "thread_pool.write.queue_size=1")
				t.Run("overloaded", s.overloaded)
				t.Run("killed", s.killed)
			})
		})
	}
}

func start(t *testing.T, engine, version string, settings ...string) *Server {
	began := time.Now()
	s := Start(t, engine, version, settings...)
	t.Logf("started after %v", time.Since(began).Round(time.Millisecond))
	return s
}

var indices atomic.Int64

// options are those of a store with an index of its own.
func (s *Server) options() elastic.Options {
	return elastic.Options{
		URLs: []string{s.URL}, OpenSearch: s.IsOpenSearch(), Index: fmt.Sprintf("logs-binnacle-%d", indices.Add(1)),
		Poll:   20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// open opens a store and closes it with the test.
func open(t testing.TB, o elastic.Options) *elastic.Store {
	t.Helper()
	store, err := elastic.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func (s *Server) conformance(t *testing.T) {
	storagetest.LogStore(t, func(t *testing.T) storage.LogStore { return open(t, s.options()) })
}

// logQL has the same answers as over the embedded store.
func (s *Server) logQL(t *testing.T) {
	logqltest.Run(t, func(t *testing.T) storage.LogStore { return open(t, s.options()) })
}
