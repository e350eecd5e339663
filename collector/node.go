package collector

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	nodeexporter "github.com/prometheus/node_exporter/collector"

	"github.com/binnacle-obs/binnacle/storage"
)

// nodeFlags guards node_exporter's flags: the library takes its configuration
// from the flags of the process, which can be parsed once.
var nodeFlags struct {
	sync.Mutex
	args string
}

// configureNodeExporter gives the library its paths. All Collectors of a
// process share them.
func configureNodeExporter(o Options) error {
	args := []string{"--path.procfs=" + o.ProcRoot, "--path.sysfs=" + o.SysRoot, "--path.rootfs=" + o.RootFS}
	nodeFlags.Lock()
	defer nodeFlags.Unlock()
	wanted := fmt.Sprint(args)
	switch nodeFlags.args {
	case wanted:
		return nil
	case "":
	default:
		return fmt.Errorf("collector: node_exporter is set up with %s in this process and cannot be changed to %s", nodeFlags.args, wanted)
	}
	if _, err := kingpin.CommandLine.Parse(args); err != nil {
		return fmt.Errorf("collector: set up node_exporter: %w", err)
	}
	nodeFlags.args = wanted
	return nil
}

// nodeGatherer gathers node_* by node_exporter's own collectors.
type nodeGatherer struct {
	registry  *prometheus.Registry
	converter *converter

	mu   sync.Mutex
	last []*dto.MetricFamily
}

func newNodeGatherer(o Options, dropped prometheus.Counter) (*nodeGatherer, error) {
	if err := configureNodeExporter(o); err != nil {
		return nil, err
	}
	log := slog.New(&quietHandler{Handler: o.Logger.Handler(), shared: &quiet{limit: logLimit{every: time.Hour}}})
	nc, err := nodeexporter.NewNodeCollector(log)
	if err != nil {
		return nil, fmt.Errorf("collector: node_exporter: %w", err)
	}
	n := &nodeGatherer{
		registry:  prometheus.NewRegistry(),
		converter: newConverter(jobLabels("node-exporter", o.Node), dropped),
	}
	if err := n.registry.Register(nc); err != nil {
		return nil, fmt.Errorf("collector: node_exporter: %w", err)
	}
	return n, nil
}

// runGatherers stores node_* and our own metrics at their interval, for the
// first time with the first cycle, so that nobody waits for them at the start.
func (c *Collector) runGatherers(ctx context.Context, app storage.Appender) {
	next := nextTick(time.Now(), c.opts.Interval)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	up := map[string]*cell{"node-exporter": c.upCell("node-exporter"), "binnacle": c.upCell("binnacle")}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		t := cycleTime(time.Now(), next, c.opts.NodeInterval)
		if c.node != nil {
			c.gather(ctx, app, job{"node", c.node.gather, c.node.converter, up["node-exporter"], c.metrics.durationNode}, t)
		}
		if c.opts.Gatherer != nil {
			c.gather(ctx, app, job{"binnacle", c.opts.Gatherer.Gather, c.own, up["binnacle"], c.metrics.durationOwn}, t)
		}
		next = nextTick(time.Now(), c.opts.NodeInterval)
		timer.Reset(time.Until(next))
	}
}

func (c *Collector) upCell(name string) *cell {
	return &cell{series: &storage.Series{Labels: seriesLabels(jobLabels(name, c.opts.Node), "up", nil, nil), Family: upFamily}}
}

// job is one gatherer whose metrics are stored.
type job struct {
	name      string
	gather    func() ([]*dto.MetricFamily, error)
	converter *converter
	up        *cell
	duration  prometheus.Gauge
}

// gather stores what a gatherer has now. What it could gather is stored even
// when it also returned an error.
func (c *Collector) gather(ctx context.Context, app storage.Appender, j job, t time.Time) {
	start := time.Now()
	all, err := c.guardedGather(j)
	if err != nil {
		c.failed(j.name, err)
	}
	failed := c.health.report([]string{j.name})
	b := batch{samples: j.converter.convert(all, t.UnixMilli()), t: t.UnixMilli()}
	b.put(j.up, boolValue(!failed))
	j.converter.batch.samples = b.samples // keeps what put may have grown
	j.duration.Set(time.Since(start).Seconds())
	c.append(ctx, app, b.samples)
}

func (c *Collector) guardedGather(j job) ([]*dto.MetricFamily, error) {
	defer c.recovered(j.name)
	return j.gather()
}

// gather gathers node_* and keeps the result for Node.
func (n *nodeGatherer) gather() ([]*dto.MetricFamily, error) {
	all, err := n.registry.Gather()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = all
	return all, err
}

// quietHandler passes each complaint of a collector of node_exporter once an
// hour, one level lower: they report their flags as news and what this machine
// lacks as errors, at every gathering.
type quietHandler struct {
	slog.Handler
	shared *quiet
}

type quiet struct {
	mu    sync.Mutex
	limit logLimit
}

// lowered is the level at which a message of level goes out.
func lowered(level slog.Level) slog.Level {
	return level - (slog.LevelWarn - slog.LevelInfo)
}

// Enabled implements slog.Handler.
func (q *quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, lowered(level))
}

// Handle implements slog.Handler.
func (q *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "name" {
			key += " " + a.Value.String()
		}
		return true
	})
	q.shared.mu.Lock()
	pass := q.shared.limit.allow(key)
	q.shared.mu.Unlock()
	if !pass {
		return nil
	}
	r.Level = lowered(r.Level)
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{Handler: q.Handler.WithAttrs(attrs), shared: q.shared}
}

// WithGroup implements slog.Handler.
func (q *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{Handler: q.Handler.WithGroup(name), shared: q.shared}
}
