// Package server wires the server half: the stores of samples and of logs,
// PromQL, LogQL and their HTTP APIs, rules and notifications, and the scraping
// of applications.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/notifications"

	"github.com/binnacle-obs/binnacle/scrape"
	"github.com/binnacle-obs/binnacle/server/alert"
	"github.com/binnacle-obs/binnacle/server/api"
	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/server/loki"
	"github.com/binnacle-obs/binnacle/storage/tsdb"
)

// maxSubscribers bounds the listeners to notifications; upstream's default.
const maxSubscribers = 16

// Server is the server half of binnacle. Its parts live between the call and
// the return of Run; its Handler answers from New on.
type Server struct {
	opts          Options
	logger        *slog.Logger
	externalURL   *url.URL
	db            *tsdb.DB
	notifications *notifications.Notifications
	features      features.Collector
	requests      *requests
	endpoints     *guard.Metrics
	reloads       *reloadMetrics
	started       time.Time

	// config is the configuration in force; it is replaced as a whole.
	config     atomic.Pointer[config.Config]
	lastReload atomic.Pointer[reload]
	// reloading is held while a configuration is put in force.
	reloading sync.Mutex
	// api is nil until the stores are open.
	api atomic.Pointer[api.API]
	// opened is closed when the stores are open, and ended when Run returns.
	opened, ended chan struct{}

	// What follows is built by open and belongs to Run and, once opened is
	// closed, to Reload and, read only, to requests.
	logStore logStore
	logAPI   *loki.Handler
	engine   *promql.Engine
	scrapes  *scrape.Manager
	alerts   *alert.Manager
	stack    []teardown
	// failed gets a word when a part ends by itself.
	failed chan struct{}
}

// New checks the options, the rule files and the scrape configuration and
// builds a Server. The store is opened by Run.
func New(o Options) (*Server, error) {
	o, external, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{
		opts:          o,
		logger:        o.Logger.With("component", "server"),
		externalURL:   external,
		notifications: notifications.NewNotifications(maxSubscribers, o.Registry),
		features:      features.NewRegistry(),
		requests:      newRequests(),
		endpoints:     guard.NewMetrics(o.Registry),
		reloads:       newReloadMetrics(o.Registry),
		started:       time.Now(),
		opened:        make(chan struct{}),
		ended:         make(chan struct{}),
		failed:        make(chan struct{}, 1),
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.notifications.AddNotification(notifications.StartingUp)
	s.db, err = tsdb.New(tsdb.Options{
		Dir:              s.storeDir(),
		Retention:        o.Retention,
		RetentionSize:    o.RetentionSize,
		OutOfOrderWindow: o.OutOfOrderWindow,
		Logger:           o.Logger.With("component", "tsdb"),
		Registerer:       o.Registry,
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return s, nil
}

func (s *Server) storeDir() string { return filepath.Join(s.opts.DataDir, "tsdb") }

// Run opens the store, replaying its log, and then evaluates, scrapes and
// answers until ctx ends or a part fails. It returns nil when ctx ended it
// and everything stopped in order. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.ended)
	err := s.open(ctx)
	if err == nil {
		s.logger.Info("The server is ready.", "took", time.Since(s.started).Round(time.Millisecond))
		s.notifications.DeleteNotification(notifications.StartingUp)
		select {
		case <-ctx.Done():
		case <-s.failed:
			// The part's own error comes with its teardown.
			err = errors.New("server: a part stopped by itself")
		}
	}
	s.notifications.AddNotification(notifications.ShuttingDown)
	return errors.Join(err, s.stop())
}

// open starts the parts, those that others need first.
func (s *Server) open(ctx context.Context) error {
	s.onStop("store", storeTimeout, func(context.Context) error { return s.db.Close() })
	if err := s.db.Start(ctx); err != nil {
		return fmt.Errorf("server: open the store: %w", err)
	}
	// A configuration read by now is put in force below, a later one by Reload.
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if err := s.openEngine(); err != nil {
		return err
	}
	if err := s.openAlerts(); err != nil {
		return err
	}
	if err := s.openScrapes(); err != nil {
		return err
	}
	if err := s.openLogs(); err != nil {
		return err
	}
	answers, err := s.newAPI()
	if err != nil {
		return err
	}
	s.onStop("requests", stepTimeout, func(ctx context.Context) error {
		s.api.Store(nil)
		s.logAPI.StopTails(errStopping)
		return s.requests.drain(ctx)
	})
	s.api.Store(answers)
	close(s.opened)
	return nil
}

func (s *Server) openAlerts() error {
	o := s.alertOptions()
	o.Engine = s.engine
	o.Queryable, o.Appendable = s.db.Storage(), s.db.Storage()
	var err error
	if s.alerts, err = alert.New(o); err != nil {
		return fmt.Errorf("server: start the rules: %w", err)
	}
	s.launch("rules", s.alerts.Run)
	return nil
}

func (s *Server) openScrapes() error {
	if s.opts.ScrapeConfigFile == "" {
		return nil
	}
	var err error
	s.scrapes, err = scrape.New(scrape.Options{
		Appendable: s.db.Storage(),
		Logger:     s.opts.Logger.With("component", "scrape"),
		Registerer: s.opts.Registry,
	})
	if err != nil {
		return fmt.Errorf("server: start scraping: %w", err)
	}
	if err := s.scrapes.ApplyConfig(s.config.Load()); err != nil {
		return fmt.Errorf("server: start scraping: %w", err)
	}
	s.launch("scrape", s.scrapes.Run)
	return nil
}

// Handler serves the APIs of metrics and logs, /metrics, /-/healthy, /-/ready and /-/reload. Until
// the store is open the API answers 503.
func (s *Server) Handler() http.Handler { return s.handler() }

// Ready is closed once the store is open and the API answers.
func (s *Server) Ready() <-chan struct{} { return s.opened }
