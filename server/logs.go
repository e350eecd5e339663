package server

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/server/loki"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/elastic"
	"github.com/binnacle-obs/binnacle/storage/logdb"
)

// LogOptions say how a server keeps logs.
type LogOptions struct {
	// Retention and RetentionSize are those of storage/logdb.
	Retention     time.Duration
	RetentionSize int64
	// MaxQueryBytes is the most text that a query may read; 0 is no limit.
	MaxQueryBytes int64
	// MaxQuerySeries and MaxQuerySamples are those of server/logql.
	MaxQuerySeries, MaxQuerySamples int
	// Elastic keeps the logs there instead of in the data folder. Its Retention,
	// Logger and Registerer are set by the server.
	Elastic *elastic.Options
}

// logStore is a store that is open.
type logStore interface {
	storage.LogStore
	Close() error
}

// openLogs opens the store of logs and starts what answers from it.
func (s *Server) openLogs() error {
	store, err := s.openLogStore()
	if err != nil {
		return fmt.Errorf("server: open the store of logs: %w", err)
	}
	s.onStop("log store", storeTimeout, func(context.Context) error { return store.Close() })
	engine, err := logql.New(logql.Options{
		Store:      store,
		MaxBytes:   s.opts.Logs.MaxQueryBytes,
		MaxSeries:  s.opts.Logs.MaxQuerySeries,
		MaxSamples: s.opts.Logs.MaxQuerySamples,
		// An export may take its time; the API ends other queries by itself.
		Timeout:    loki.DefaultExportTimeout,
		Registerer: s.opts.Registry,
	})
	if err != nil {
		return fmt.Errorf("server: start LogQL: %w", err)
	}
	answers, err := loki.New(loki.Options{
		Store:            store,
		Evaluator:        engine,
		Version:          s.opts.Version.Version,
		QueryTimeout:     s.opts.QueryTimeout,
		QueryConcurrency: s.opts.QueryConcurrency,
		Logger:           s.opts.Logger.With("component", "loki"),
		Registerer:       s.opts.Registry,
		Endpoints:        s.endpoints,
	})
	if err != nil {
		return fmt.Errorf("server: start the log API: %w", err)
	}
	s.logStore, s.logAPI = store, answers
	return nil
}

func (s *Server) openLogStore() (logStore, error) {
	o := s.opts.Logs
	if o.Elastic == nil {
		return logdb.Open(logdb.Options{
			Dir:            filepath.Join(s.opts.DataDir, "logs"),
			Retention:      o.Retention,
			RetentionBytes: o.RetentionSize,
			Logger:         s.opts.Logger.With("component", "logdb"),
			Registerer:     s.opts.Registry,
		})
	}
	options := *o.Elastic
	options.Retention = o.Retention
	options.Logger = s.opts.Logger.With("component", "elasticsearch")
	options.Registerer = s.opts.Registry
	store, err := elastic.New(options)
	if err == nil {
		s.launch("log indices", store.Run)
	}
	return store, err
}

// serveLogs answers once the stores are open.
func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	if s.api.Load() != nil && s.requests.serve(s.logAPI, w, r) {
		return
	}
	w.Header().Set("Retry-After", "5")
	http.Error(w, s.notReady(), http.StatusServiceUnavailable)
}

// LogSink stores records of the same process. It waits until the store is open
// and returns storage.ErrClosed after Run.
func (s *Server) LogSink() storage.LogSink { return &logSink{s} }

type logSink struct{ server *Server }

// Write implements storage.LogSink.
func (l *logSink) Write(ctx context.Context, batch []storage.Record) error {
	if err := l.server.awaitOpen(ctx); err != nil {
		return err
	}
	return l.server.logStore.Write(ctx, batch)
}
