package server

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/binnacle-obs/binnacle/server/api"
	"github.com/binnacle-obs/binnacle/storage/tsdb"
)

// ruleQueries is how many queries of rules may run beside QueryConcurrency
// requests: dashboards must not keep alerts from being evaluated.
const ruleQueries = 8

// openEngine starts PromQL. The queries under way are noted in a file, so that
// after a crash the log tells what was being asked.
func (s *Server) openEngine() error {
	concurrency := s.opts.QueryConcurrency + ruleQueries
	var tracker promql.QueryTracker
	active, err := promql.NewActiveQueryTracker(s.storeDir(), concurrency, s.logger)
	if err != nil {
		// A full disk is the usual reason, and no reason not to answer.
		s.logger.Warn("Queries under way cannot be noted on disk; a crash will not tell them.", "err", err)
		tracker = newMemoryTracker(concurrency)
	} else {
		tracker = active
	}
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger:             s.opts.Logger.With("component", "promql"),
		Reg:                s.opts.Registry,
		MaxSamples:         s.opts.QueryMaxSamples,
		Timeout:            s.opts.QueryTimeout,
		ActiveQueryTracker: tracker,
		LookbackDelta:      s.opts.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Duration(s.config.Load().GlobalConfig.EvaluationInterval).Milliseconds()
		},
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		FeatureRegistry:      s.features,
		Parser:               parser.NewParser(parser.Options{}),
	})
	s.onStop("query engine", stepTimeout, func(context.Context) error { return s.engine.Close() })
	return nil
}

// memoryTracker bounds concurrent queries without a file.
type memoryTracker struct{ slots chan struct{} }

func newMemoryTracker(concurrency int) *memoryTracker {
	return &memoryTracker{slots: make(chan struct{}, concurrency)}
}

// GetMaxConcurrent implements promql.QueryTracker.
func (t *memoryTracker) GetMaxConcurrent() int { return cap(t.slots) }

// Insert waits for a slot.
func (t *memoryTracker) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case t.slots <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Delete gives a slot back.
func (t *memoryTracker) Delete(int) { <-t.slots }

// Close has nothing to close.
func (t *memoryTracker) Close() error { return nil }

// newAPI builds the routes over the open parts.
func (s *Server) newAPI() (*api.API, error) {
	o := api.Options{
		Engine:           s.engine,
		Storage:          s.db.Storage(),
		Exemplars:        s.db.Exemplars(),
		Admin:            s.db.Admin(),
		NotReady:         tsdb.ErrNotReady,
		Metadata:         s.db,
		Alertmanagers:    s.alerts,
		Rules:            s.alerts,
		Config:           func() config.Config { return *s.config.Load() },
		RuntimeInfo:      s.runtimeInfo,
		Notifications:    s.notifications,
		Features:         s.features,
		BuildInfo:        v1.PrometheusVersion{Version: s.opts.Version.Version, Revision: s.opts.Version.Revision, GoVersion: runtime.Version()},
		Flags:            s.opts.Flags,
		DataDir:          s.storeDir(),
		ExternalURL:      s.externalURL,
		EnableAdmin:      s.opts.EnableAdminAPI,
		Lookback:         s.opts.Lookback,
		QueryTimeout:     s.opts.QueryTimeout,
		QueryConcurrency: s.opts.QueryConcurrency,
		Logger:           s.opts.Logger.With("component", "api"),
		Registry:         s.opts.Registry,
		Endpoints:        s.endpoints,
	}
	if s.scrapes != nil {
		o.Targets = s.scrapes.Targets()
	}
	answers, err := api.New(o)
	if err != nil {
		return nil, fmt.Errorf("server: start the API: %w", err)
	}
	return answers, nil
}

// runtimeInfo answers /api/v1/status/runtimeinfo.
func (s *Server) runtimeInfo() (v1.RuntimeInfo, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return v1.RuntimeInfo{}, fmt.Errorf("read the host's name: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return v1.RuntimeInfo{}, fmt.Errorf("read the working folder: %w", err)
	}
	last := s.lastReload.Load()
	retention := s.opts.Retention
	setDefault(&retention, tsdb.DefaultRetention)
	shown := model.Duration(retention).String()
	if s.opts.RetentionSize > 0 {
		shown += fmt.Sprintf(" or %dB", s.opts.RetentionSize)
	}
	return v1.RuntimeInfo{
		StartTime:           s.started,
		CWD:                 dir,
		Hostname:            hostname,
		ServerTime:          time.Now().UTC(),
		ReloadConfigSuccess: last.ok,
		LastConfigTime:      last.at,
		GoroutineCount:      runtime.NumGoroutine(),
		GOMAXPROCS:          runtime.GOMAXPROCS(0),
		GOMEMLIMIT:          debug.SetMemoryLimit(-1),
		GOGC:                os.Getenv("GOGC"),
		GODEBUG:             os.Getenv("GODEBUG"),
		StorageRetention:    shown,
	}, nil
}
