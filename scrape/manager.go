// Package scrape pulls metrics from applications: upstream's scrape manager
// and service discovery behind one lifecycle. It does not know where the
// samples go.
//
// An agent that is to scrape the pods of its own node selects them with
// kubernetes_sd_configs:
//
//	selectors:
//	- role: pod
//	  field: spec.nodeName=<the node's name>
package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"
)

// defaultReloadInterval is how often changes that service discovery reports
// take effect; upstream's value.
const defaultReloadInterval = 5 * time.Second

// Options configure a Manager.
type Options struct {
	// Appendable takes the samples. It must be set.
	Appendable storage.AppendableV2
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes upstream's metrics (prometheus_target_*,
	// prometheus_sd_*); nil discards them.
	Registerer prometheus.Registerer

	// reloadInterval overrides defaultReloadInterval in tests.
	reloadInterval time.Duration
}

// Manager discovers and scrapes targets while Run runs.
type Manager struct {
	scrapes   *scrape.Manager
	discovery *discovery.Manager
	// stopDiscovery ends the context given to discovery.
	stopDiscovery context.CancelFunc

	mu      sync.Mutex
	running bool           // guarded by mu
	current *config.Config // guarded by mu; in force, or waiting for Run
}

// New builds a Manager without targets.
func New(o Options) (*Manager, error) {
	if o.Appendable == nil {
		return nil, errors.New("scrape: Options.Appendable is missing: scraped samples need a place to go")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.reloadInterval == 0 {
		o.reloadInterval = defaultReloadInterval
	}
	sdMetrics, err := discovery.CreateAndRegisterSDMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of service discovery: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sd := discovery.NewManager(ctx, o.Logger, o.Registerer, sdMetrics,
		discovery.Name("scrape"), discovery.Updatert(o.reloadInterval))
	if sd == nil {
		cancel()
		// Upstream has logged the reason; a clash of metrics is the only one.
		return nil, errors.New("start service discovery: its metrics are registered already")
	}
	scrapes, err := scrape.NewManager(&scrape.Options{
		DiscoveryReloadInterval:  model.Duration(o.reloadInterval),
		DiscoveryReloadOnStartup: true,
		AppendMetadata:           true,
	}, o.Logger, logging.NewJSONFileLogger, nil, o.Appendable, o.Registerer)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the scrape manager: %w", err)
	}
	return &Manager{scrapes: scrapes, discovery: sd, stopDiscovery: cancel}, nil
}

// Run scrapes until ctx ends, then waits for the scrapes under way. It
// returns nil when ctx ended it. A Manager runs once.
func (m *Manager) Run(ctx context.Context) error {
	defer m.stopDiscovery()
	if err := m.start(); err != nil {
		return err
	}
	discovered := make(chan struct{})
	go func() {
		defer close(discovered)
		// It only ever returns the error of the context that ends it.
		_ = m.discovery.Run()
	}()
	scraped := make(chan error, 1)
	go func() { scraped <- m.scrapes.Run(m.discovery.SyncCh()) }()

	var err error
	select {
	case <-ctx.Done():
		m.stop()
		m.stopDiscovery()
		err = <-scraped
	case err = <-scraped:
		m.stop()
		m.stopDiscovery()
	}
	<-discovered
	if err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	return nil
}

// start puts the configuration in force that was given before Run.
func (m *Manager) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != nil {
		if err := m.apply(m.current); err != nil {
			return err
		}
	}
	m.running = true
	return nil
}

// stop ends the scrapes; later configurations are kept, but not applied.
func (m *Manager) stop() {
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
	m.scrapes.Stop()
}

// ApplyConfig replaces the targets by those of cfg. Before Run it only keeps
// cfg for later. If cfg cannot be applied, the previous one stays in force.
func (m *Manager) ApplyConfig(cfg *config.Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		m.current = cfg
		return nil
	}
	if err := m.apply(cfg); err != nil {
		if m.current != nil {
			err = errors.Join(err, m.apply(m.current))
		}
		return err
	}
	m.current = cfg
	return nil
}

// apply tells upstream's parts about cfg: scrapes first, because they must
// know a job before its targets arrive.
func (m *Manager) apply(cfg *config.Config) error {
	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return fmt.Errorf("read the scrape configurations: %w", err)
	}
	if err := m.scrapes.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("apply the scrape configuration: %w", err)
	}
	sets := make(map[string]discovery.Configs, len(scrapes))
	for _, sc := range scrapes {
		sets[sc.JobName] = sc.ServiceDiscoveryConfigs
	}
	if err := m.discovery.ApplyConfig(sets); err != nil {
		return fmt.Errorf("apply the service discovery configuration: %w", err)
	}
	return nil
}

// Targets is upstream's manager, which knows the targets, their state and the
// metadata of what they expose.
func (m *Manager) Targets() *scrape.Manager { return m.scrapes }
