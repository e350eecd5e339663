// Package agent wires the node agent: the collector of container and node
// metrics, the scrape manager for application metrics, and the place where
// their samples go, which is either a store in this process or an on-disk
// buffer that is sent to servers by remote write; and for each place where logs
// go a reader of the log files with a shipper.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/scrape"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/remote"
)

// ErrNoDestination says that an agent has nowhere to send its samples.
var ErrNoDestination = errors.New("nowhere to send samples: give at least one --server URL")

// Options configure an Agent.
type Options struct {
	// Collector configures what is read from this node. Its Logger and
	// Registerer are set by New.
	Collector collector.Options
	// Appender takes the samples in this process. When it is nil they go to
	// Servers through an on-disk buffer.
	Appender storage.Appender
	// Servers receive the samples by Prometheus remote write. Without any, and
	// with logs going elsewhere, samples are only served to those who scrape.
	Servers []remote.Endpoint
	// DataDir holds the buffer, in the folder "buffer".
	DataDir string
	// BufferMaxBytes bounds the buffer; beyond it the oldest samples are shed
	// and counted. 0 takes the default of storage/remote.
	BufferMaxBytes int64
	// Logs says which logs are read and where they go; nil reads none.
	Logs *LogOptions
	// ScrapeConfigFile is a Prometheus configuration whose scrape_configs the
	// agent scrapes; "" for none. It is ignored with Appender set: there the
	// process' server scrapes.
	ScrapeConfigFile string
	// Logger and Registry are used by all parts. What Registry gathers is
	// shipped with the node's metrics and served at /metrics.
	Logger   *slog.Logger
	Registry *prometheus.Registry
}

// Agent is the node agent. Its parts run between the call and the return of
// Run.
type Agent struct {
	opts      Options
	collector *collector.Collector
	queue     *remote.Queue   // nil when samples stay in this process
	scrape    *scrape.Manager // nil without a scrape configuration
	pipelines []pipeline      // of logs, one for each place they go to
	ready     atomic.Bool
}

// New builds an agent. It opens the buffer, so that a second agent on the
// same folder fails here and not later.
func New(o Options) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	a := &Agent{opts: o}
	o.Collector.Logger = o.Logger.With("component", "collector")
	o.Collector.Registerer = o.Registry
	o.Collector.Gatherer = o.Registry
	var err error
	if a.collector, err = collector.New(o.Collector); err != nil {
		return nil, fmt.Errorf("start the collector: %w", err)
	}
	if o.Appender == nil && !o.logsOnly() {
		if err := a.openRemote(); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	if err := a.openLogs(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// openRemote opens the buffer and, when asked for, the scrape manager that
// writes into it.
func (a *Agent) openRemote() error {
	if len(a.opts.Servers) == 0 {
		return ErrNoDestination
	}
	var err error
	a.queue, err = remote.Open(remote.Options{
		Dir:        filepath.Join(a.opts.DataDir, "buffer"),
		MaxBytes:   a.opts.BufferMaxBytes,
		Endpoints:  a.opts.Servers,
		Logger:     a.opts.Logger.With("component", "remote"),
		Registerer: a.opts.Registry,
	})
	if err != nil {
		return fmt.Errorf("open the buffer of samples: %w", err)
	}
	if a.opts.ScrapeConfigFile == "" {
		return nil
	}
	a.scrape, err = scrape.New(scrape.Options{
		Appendable: a.queue.AppendableV2(),
		Logger:     a.opts.Logger.With("component", "scrape"),
		Registerer: a.opts.Registry,
	})
	if err != nil {
		return fmt.Errorf("start the scrape manager: %w", err)
	}
	return a.Reload()
}

// Reload reads the scrape configuration again. A broken file leaves the
// present configuration in force and is returned as the error.
func (a *Agent) Reload() error {
	if a.scrape == nil {
		return nil
	}
	cfg, err := scrape.LoadConfig(a.opts.ScrapeConfigFile, a.opts.Logger)
	if err != nil {
		return err
	}
	return a.scrape.ApplyConfig(cfg)
}

// Run collects, scrapes and sends until ctx ends or a part fails. Producers
// stop before the buffer that they feed, so nothing collected is left behind.
func (a *Agent) Run(ctx context.Context) error {
	sendCtx, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	sender, sendCtx := errgroup.WithContext(sendCtx)
	producers, produceCtx := errgroup.WithContext(ctx)

	if a.queue != nil {
		sender.Go(func() error { return a.queue.Run(sendCtx) })
		// A sender that fails takes the producers with it.
		producers.Go(func() error {
			select {
			case <-sendCtx.Done():
				return errors.New("the sender of samples stopped")
			case <-produceCtx.Done():
				return nil
			}
		})
	}
	if a.scrape != nil {
		producers.Go(func() error { return a.scrape.Run(produceCtx) })
	}
	producers.Go(func() error { return a.collector.Run(produceCtx, a.appender()) })
	for _, p := range a.pipelines {
		producers.Go(func() error { return p.run(produceCtx) })
	}
	a.ready.Store(true)

	err := producers.Wait()
	a.ready.Store(false)
	stopSending()
	return errors.Join(ignoreCanceled(err), ignoreCanceled(sender.Wait()), a.close())
}

// logsOnly tells whether only logs are sent.
func (o *Options) logsOnly() bool {
	return len(o.Servers) == 0 && o.Logs != nil && o.Logs.Elastic != nil
}

func (a *Agent) appender() storage.Appender {
	switch {
	case a.opts.Appender != nil:
		return a.opts.Appender
	case a.queue != nil:
		return a.queue
	default:
		return unsent{}
	}
}

// unsent takes the samples of an agent that is only scraped.
type unsent struct{}

// Append implements storage.Appender.
func (unsent) Append(context.Context, []storage.Sample) error { return nil }

// close releases what New opened.
func (a *Agent) close() error {
	err := a.closeLogs()
	if a.queue == nil {
		return err
	}
	if closeErr := a.queue.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("close the buffer of samples: %w", closeErr))
	}
	return err
}

// ignoreCanceled drops the error that only says that Run was told to stop.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
