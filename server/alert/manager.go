// Package alert evaluates recording and alerting rules and notifies
// Alertmanagers: upstream's rule manager and notifier behind one lifecycle.
// It does not know which store answers.
package alert

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

const (
	// outageTolerance is how long the server may have been away for the `for`
	// state of its alerts to be taken up again; upstream's default.
	outageTolerance = time.Hour
	// forGracePeriod is zero, unlike upstream's ten minutes. Upstream does not
	// restore alerts at all whose `for` is shorter than the grace period, and
	// makes others wait that long again; a restart in the middle of `for: 5m`
	// would then delay the page by up to five minutes. Time that the server
	// was away never counts towards `for`, whatever the grace period is.
	forGracePeriod = 0
	// resendDelay is how often an alert that goes on is sent again;
	// upstream's default. A notification that got lost is repaired by it.
	resendDelay = time.Minute
	// queueCapacity bounds the alerts that wait for an Alertmanager;
	// upstream's default. Beyond it the oldest go and are counted by
	// prometheus_notifications_dropped_total.
	queueCapacity = 10_000
	// stopTimeout bounds the wait for evaluations under way, and then the one
	// for notifications that have not been sent.
	stopTimeout = 5 * time.Second
)

// Options configure a Manager.
type Options struct {
	// RuleGlobs are patterns of rule files.
	RuleGlobs []string
	// Alertmanagers are base URLs, with the path prefix if there is one. User
	// and password in a URL become basic authentication.
	Alertmanagers []string
	// HTTPConfigFile is a file in the format of Prometheus' http_config with
	// credentials and TLS for the Alertmanagers; "" for none.
	HTTPConfigFile string
	// Config returns the configuration in force; it is asked at each Reload.
	// Of its global section the evaluation interval counts for groups without
	// one of their own, and the external labels are set on notifications and
	// known to templates. It must be set.
	Config func() config.Config
	// ExternalURL is how users reach this server, without a slash at its end;
	// notifications link to it. It must be set.
	ExternalURL *url.URL
	// Engine evaluates expressions over Queryable, and Appendable takes their
	// results. They must be set.
	Engine     promql.QueryEngine
	Queryable  storage.Queryable
	Appendable storage.Appendable
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer takes upstream's metrics (prometheus_rule_*,
	// prometheus_notifications_*); nil discards them.
	Registerer prometheus.Registerer
}

// Validate reads the rule files and the configuration of the Alertmanagers
// and returns everything that is wrong with them.
func (o Options) Validate() error {
	_, rulesErr := o.loadRules()
	_, _, amErr := o.alertmanagers()
	return errors.Join(rulesErr, amErr)
}

// Manager evaluates rules and notifies while Run runs.
type Manager struct {
	opts     Options
	rules    *rules.Manager
	notifier *notifier.Manager
	targets  chan targetSets
	// stopEval and stopSend end what is still under way after stopTimeout.
	stopEval, stopSend context.CancelFunc
	sendCtx            context.Context // ended by stopSend
	// sending is read-locked by each request to an Alertmanager.
	sending sync.RWMutex
	done    chan struct{} // closed when Run returns

	mu      sync.Mutex
	running bool       // guarded by mu
	files   *ruleFiles // guarded by mu; the rules in force
}

// New builds a Manager; its rules are read and evaluated by Run.
func New(o Options) (*Manager, error) {
	if o.Engine == nil || o.Queryable == nil || o.Appendable == nil || o.ExternalURL == nil || o.Config == nil {
		return nil, errors.New("server/alert: Config, Engine, Queryable, Appendable and ExternalURL of Options must be set")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{opts: o, targets: make(chan targetSets), done: make(chan struct{})}
	var evalCtx context.Context
	evalCtx, m.stopEval = context.WithCancel(context.Background())
	m.sendCtx, m.stopSend = context.WithCancel(context.Background())
	m.notifier = notifier.NewManager(&notifier.Options{
		QueueCapacity:   queueCapacity,
		DrainOnShutdown: true,
		Do:              m.send,
		Registerer:      o.Registerer,
	}, model.UTF8Validation, o.Logger)
	m.rules = rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		ExternalURL:          o.ExternalURL,
		QueryFunc:            rules.EngineQueryFunc(o.Engine, o.Queryable),
		NotifyFunc:           rules.SendAlerts(m.notifier, o.ExternalURL.String()),
		Context:              evalCtx,
		Appendable:           o.Appendable,
		Queryable:            o.Queryable,
		Logger:               o.Logger,
		Registerer:           o.Registerer,
		OutageTolerance:      outageTolerance,
		ForGracePeriod:       forGracePeriod,
		ResendDelay:          resendDelay,
		GroupLoader:          loader{m},
		Parser:               ruleParser,
	})
	return m, nil
}

// Run evaluates and notifies until ctx ends; then it waits, within bounds,
// for evaluations under way and for notifications to be sent. It returns an
// error only when it cannot start. A Manager runs once.
func (m *Manager) Run(ctx context.Context) error {
	defer close(m.done)
	defer m.stopEval()
	notified := make(chan struct{})
	go func() {
		defer close(notified)
		m.notifier.Run(m.targets)
	}()
	stopNotifier := func() {
		// This sends what is queued, but does not wait for what is on its way.
		m.notifier.Stop()
		timer := time.AfterFunc(stopTimeout, m.stopSend)
		defer timer.Stop()
		<-notified
		m.sending.Lock()
		defer m.sending.Unlock()
		m.stopSend()
	}
	if err := m.start(); err != nil {
		stopNotifier()
		return err
	}
	evaluated := make(chan struct{})
	go func() {
		defer close(evaluated)
		m.rules.Run()
	}()
	<-ctx.Done()
	m.mu.Lock()
	m.running = false
	m.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.rules.Stop()
	}()
	timer := time.AfterFunc(stopTimeout, m.stopEval)
	defer timer.Stop()
	<-stopped
	<-evaluated
	stopNotifier()
	return nil
}

func (m *Manager) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = true
	if err := m.apply(); err != nil {
		m.running = false
		return err
	}
	return nil
}

// Reload reads the rule files and the HTTPConfigFile again. If anything is
// wrong with them, what was read before stays in force and the error names
// file, line and fault. Before Run it only checks.
func (m *Manager) Reload() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		return m.opts.Validate()
	}
	return m.apply()
}

// apply puts rules and Alertmanagers in force. m.mu is held.
func (m *Manager) apply() error {
	files, err := m.opts.loadRules()
	if err != nil {
		return err
	}
	for _, glob := range files.unmatched {
		m.opts.Logger.Warn("No rule file matches.", "pattern", glob)
	}
	cfg, sets, err := m.opts.alertmanagers()
	if err != nil {
		return err
	}
	cfg.GlobalConfig = m.opts.Config().GlobalConfig
	if err := m.notifier.ApplyConfig(cfg); err != nil {
		return err
	}
	select {
	case m.targets <- sets:
	case <-m.done:
	}
	previous := m.files
	m.files = files
	global := cfg.GlobalConfig
	err = m.rules.Update(time.Duration(global.EvaluationInterval), files.names, global.ExternalLabels, m.opts.ExternalURL.String(), nil)
	if err != nil {
		m.files = previous
	}
	return err
}

// send is one request to an Alertmanager; it also ends with stopSend.
func (m *Manager) send(ctx context.Context, client *http.Client, req *http.Request) (*http.Response, error) {
	// The answer's body is read after the return: ctx must live on, and its
	// parent ends it.
	m.sending.RLock()
	defer m.sending.RUnlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.sendCtx, cancel)
	defer stop()
	return client.Do(req.WithContext(ctx))
}

// RuleGroups returns the groups in force, for the API.
func (m *Manager) RuleGroups() []*rules.Group { return m.rules.RuleGroups() }

// AlertingRules returns the alerting rules in force, for the API.
func (m *Manager) AlertingRules() []*rules.AlertingRule { return m.rules.AlertingRules() }

// Alertmanagers returns the URLs that notifications go to, for the API.
func (m *Manager) Alertmanagers() []*url.URL { return m.notifier.Alertmanagers() }

// DroppedAlertmanagers is always empty: nothing drops any here.
func (m *Manager) DroppedAlertmanagers() []*url.URL { return m.notifier.DroppedAlertmanagers() }
