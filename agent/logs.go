package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/binnacle-obs/binnacle/agent/redact"
	"github.com/binnacle-obs/binnacle/agent/ship"
	"github.com/binnacle-obs/binnacle/agent/tail"
	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/elastic"
	"github.com/binnacle-obs/binnacle/storage/otlp"
)

const (
	// serverLanes suffice for a sink that answers within milliseconds.
	serverLanes = 2
	// elasticLanes keep several bulk requests under way, which take their time.
	elasticLanes = 4
)

// LogOptions say which logs an agent reads and where they go. Each place has a
// reader of its own, with its own positions: one that is away for a day does
// not hold up the others, and reads what it missed from the files.
type LogOptions struct {
	// Read says what is read. New sets PositionsFile, Workers, Push, Logger and
	// Registerer.
	Read tail.Options
	// Redact takes secrets out of lines; nil leaves them as they are. Its
	// Registerer is set by New.
	Redact *redact.Options
	// InFlight bounds the bytes of lines that are read and not yet stored, for
	// all places together.
	InFlight int
	// Sink takes the records in this process. May be nil.
	Sink storage.LogSink
	// Servers take them by OTLP/HTTP; their URLs are those of the servers.
	Servers []otlp.Endpoint
	// Elastic takes them directly. May be nil.
	Elastic *elastic.Options
}

// pipeline is the way of records to one place.
type pipeline struct {
	name    string
	tailer  *tail.Tailer
	shipper *ship.Shipper
	// background is work of the sink's own; nil without.
	background func(context.Context) error
	close      func() error
}

// place is where records go to.
type place struct {
	name       string
	lanes      int
	sink       storage.LogSink
	background func(context.Context) error
	close      func() error
}

// places lists where the records go to.
func (o *LogOptions) places(log *slog.Logger, registry prometheus.Registerer) ([]place, error) {
	var all []place
	if o.Sink != nil {
		all = append(all, place{name: "local", lanes: serverLanes, sink: o.Sink})
	}
	for _, server := range o.Servers {
		client, err := otlp.NewClient(otlp.ClientOptions{Endpoint: server})
		if err != nil {
			return nil, fmt.Errorf("logs: %w", err)
		}
		all = append(all, place{
			name: serverName(server.URL), lanes: serverLanes, sink: client,
			close: func() error { client.Close(); return nil },
		})
	}
	if o.Elastic != nil {
		options := *o.Elastic
		options.Logger = log.With("component", "elasticsearch")
		options.Registerer = registry
		store, err := elastic.New(options)
		if err != nil {
			return nil, fmt.Errorf("logs: %w", err)
		}
		all = append(all, place{name: "elasticsearch", lanes: elasticLanes, sink: store, background: store.Run, close: store.Close})
	}
	return all, nil
}

// serverName names a server in metrics and in the name of its positions.
func serverName(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "server"
	}
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '/' || r == '[' || r == ']' {
			return '_'
		}
		return r
	}, u.Host+strings.TrimRight(u.Path, "/"))
}

// openLogs builds the pipelines; nothing is read before they run.
func (a *Agent) openLogs() error {
	o := a.opts.Logs
	if o == nil {
		return nil
	}
	places, err := o.places(a.opts.Logger, a.opts.Registry)
	if err != nil {
		return err
	}
	budget := ship.NewBudget(o.InFlight)
	for _, p := range places {
		line, err := a.newPipeline(p, budget)
		if err != nil {
			return fmt.Errorf("logs to %s: %w", p.name, err)
		}
		a.pipelines = append(a.pipelines, line)
	}
	return nil
}

func (a *Agent) newPipeline(p place, budget *ship.Budget) (pipeline, error) {
	o := a.opts.Logs
	line := pipeline{name: p.name, background: p.background, close: p.close}
	bySink := prometheus.WrapRegistererWith(prometheus.Labels{"sink": p.name}, a.opts.Registry)
	edit, err := o.editor(bySink)
	if err != nil {
		return line, err
	}
	line.shipper, err = ship.New(ship.Options{
		Name:       p.name,
		Sink:       p.sink,
		Budget:     budget,
		Lanes:      p.lanes,
		Edit:       edit,
		Logger:     a.opts.Logger.With("component", "ship"),
		Registerer: a.opts.Registry,
	})
	if err != nil {
		return line, err
	}
	read := o.Read
	read.PositionsFile = filepath.Join(a.opts.DataDir, "logs", p.name+".positions")
	read.Workers = p.lanes // a lane that waits holds up its own reader only
	read.Push = line.shipper.Push
	read.Logger = a.opts.Logger.With("component", "tail", "sink", p.name)
	read.Registerer = bySink
	line.tailer, err = tail.New(read)
	return line, err
}

// editor is what changes records on their way to one place: a private key
// spans several records, so that each way needs a redactor of its own.
func (o *LogOptions) editor(registry prometheus.Registerer) (func(*storage.Record), error) {
	if o.Redact == nil {
		return nil, nil
	}
	options := *o.Redact
	options.Registerer = registry
	r, err := redact.New(options)
	if err != nil {
		return nil, err
	}
	return r.Edit, nil
}

// run reads and sends until ctx ends. The reader stops before its shipper: what
// is acknowledged after that is read again, and known to the sink.
func (p *pipeline) run(ctx context.Context) error {
	shipCtx, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	var parts errgroup.Group
	parts.Go(func() error { return p.shipper.Run(shipCtx) })
	if p.background != nil {
		parts.Go(func() error { return p.background(shipCtx) })
	}
	err := p.tailer.Run(ctx)
	stopShipping()
	return errors.Join(ignoreCanceled(err), ignoreCanceled(parts.Wait()))
}

// closeLogs releases the connections of the sinks.
func (a *Agent) closeLogs() error {
	var errs []error
	for _, p := range a.pipelines {
		if p.close != nil {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(errs...)
}
