package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/notifications"

	"github.com/binnacle-obs/binnacle/scrape"
	"github.com/binnacle-obs/binnacle/server/alert"
)

// reload is the outcome of the last Reload.
type reload struct {
	ok bool
	at time.Time
}

type reloadMetrics struct {
	ok prometheus.Gauge
	at prometheus.Gauge
}

func newReloadMetrics(reg prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		ok: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_config_last_reload_successful",
			Help: "Whether the last reading of rules and scrape configuration succeeded (1) or left the previous ones in force (0).",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "binnacle_config_last_reload_success_timestamp_seconds",
			Help: "When rules and scrape configuration were last read with success.",
		}),
	}
	reg.MustRegister(m.ok, m.at)
	return m
}

// Reload reads the rule files and the scrape configuration again. If anything
// is wrong with them, everything stays as it was and the error names it. It
// may be called at any time.
func (s *Server) Reload() error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	err := s.reload()
	now := time.Now()
	last := &reload{ok: err == nil, at: now}
	if err != nil {
		if previous := s.lastReload.Load(); previous != nil {
			last.at = previous.at
		}
		s.lastReload.Store(last)
		s.reloads.ok.Set(0)
		s.notifications.AddNotification(notifications.ConfigurationUnsuccessful)
		return fmt.Errorf("server: %w", err)
	}
	s.lastReload.Store(last)
	s.reloads.ok.Set(1)
	s.reloads.at.Set(float64(now.UnixNano()) / 1e9)
	s.notifications.DeleteNotification(notifications.ConfigurationUnsuccessful)
	return nil
}

// reload checks everything before it puts anything in force.
func (s *Server) reload() error {
	cfg, err := s.loadConfig()
	if err = errors.Join(err, s.alertOptions().Validate()); err != nil {
		return err
	}
	select {
	case <-s.opened:
	default:
		s.config.Store(cfg)
		return nil
	}
	if s.scrapes != nil {
		if err := s.scrapes.ApplyConfig(cfg); err != nil {
			return err
		}
	}
	s.config.Store(cfg)
	return s.alerts.Reload()
}

// loadConfig reads the scrape configuration, if there is one, and lays the
// options over its global section.
func (s *Server) loadConfig() (*config.Config, error) {
	var cfg *config.Config
	var err error
	if s.opts.ScrapeConfigFile == "" {
		cfg, err = config.Load("", s.logger)
	} else {
		cfg, err = scrape.LoadConfig(s.opts.ScrapeConfigFile, s.logger, "otlp")
	}
	if err != nil {
		return nil, err
	}
	if s.opts.EvaluationInterval > 0 {
		cfg.GlobalConfig.EvaluationInterval = model.Duration(s.opts.EvaluationInterval)
	}
	external := labels.NewBuilder(cfg.GlobalConfig.ExternalLabels)
	for name, value := range s.opts.ExternalLabels {
		if !model.UTF8Validation.IsValidLabelName(name) || !model.LabelValue(value).IsValid() {
			return nil, fmt.Errorf("external label %q=%q is not valid", name, value)
		}
		external.Set(name, value)
	}
	cfg.GlobalConfig.ExternalLabels = external.Labels()
	return cfg, nil
}

// alertOptions are the options of the rules that do not need the store.
func (s *Server) alertOptions() alert.Options {
	return alert.Options{
		RuleGlobs:      s.opts.RuleGlobs,
		Alertmanagers:  s.opts.Alertmanagers,
		HTTPConfigFile: s.opts.AlertmanagerHTTPConfigFile,
		Config:         func() config.Config { return *s.config.Load() },
		ExternalURL:    s.externalURL,
		Logger:         s.opts.Logger.With("component", "rules"),
		Registerer:     s.opts.Registry,
	}
}
