// Package api serves Prometheus' HTTP API v1 and federation over any store:
// upstream's own handlers, surrounded by limits that keep one request from
// harming the process. It does not know which store answers.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/regexp"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/binnacle-obs/binnacle/server/guard"
	binnacle "github.com/binnacle-obs/binnacle/storage"
)

// Prefix is the path of the API.
const Prefix = "/api/v1"

// Upstream's defaults for remote read.
const (
	remoteReadSamples     = 50_000_000
	remoteReadConcurrency = 10
	remoteReadFrameBytes  = 1 << 20
)

// Metadata knows type, help and unit of metric families that came in
// otherwise than by scraping.
type Metadata interface {
	// Metadata returns all families by name; the map belongs to the caller.
	Metadata() map[string]metadata.Metadata
	// FamilyMetadata returns one family, and false when it is not known.
	FamilyMetadata(name string) (metadata.Metadata, bool)
}

// Targets is what upstream's scrape manager tells of its targets.
type Targets interface {
	v1.TargetRetriever
	v1.ScrapePoolsRetriever
}

// Options configure an API. Fields without a comment on their default must be
// set.
type Options struct {
	Engine    promql.QueryEngine
	Storage   storage.Storage
	Exemplars storage.ExemplarQueryable
	// Admin answers status/tsdb and the admin endpoints.
	Admin v1.TSDBAdminStats
	// NotReady is the store's error for a time when it cannot answer; requests
	// that meet it get 503. May be nil.
	NotReady error
	// Metadata may be nil.
	Metadata Metadata
	// Targets, Alertmanagers and Rules may be nil: there are none then.
	Targets       Targets
	Alertmanagers v1.AlertmanagerRetriever
	Rules         v1.RulesRetriever
	// Config returns the configuration in force: external labels, OTLP
	// translation, and what status/config shows.
	Config func() config.Config
	// RuntimeInfo answers status/runtimeinfo.
	RuntimeInfo func() (v1.RuntimeInfo, error)
	// Notifications are shown by /notifications; may be nil.
	Notifications *notifications.Notifications
	// Features are shown by /features; may be nil.
	Features features.Collector
	// BuildInfo and Flags are shown by status/buildinfo and status/flags.
	BuildInfo v1.PrometheusVersion
	Flags     map[string]string
	// DataDir is where snapshots go.
	DataDir string
	// ExternalURL is how users reach this server; may be nil.
	ExternalURL *url.URL
	// EnableAdmin allows deletion and snapshots over HTTP.
	EnableAdmin bool
	// Lookback is how old the newest sample of a series may be to count.
	Lookback time.Duration
	// QueryTimeout bounds a request that reads; QueryConcurrency how many of
	// them work at the same time. Both must be above 0.
	QueryTimeout     time.Duration
	QueryConcurrency int
	// Logger may be nil.
	Logger *slog.Logger
	// Registry is the source of status/self_metrics; nil means a private one.
	Registry *prometheus.Registry
	// Endpoints counts the requests; nil means metrics of its own at Registry.
	Endpoints *guard.Metrics
}

// API serves the routes; build it by New.
type API struct {
	opts     Options
	metrics  *guard.Metrics
	reads    *guard.Gate
	writes   *guard.Gate
	federate *federation
	router   *route.Router
}

// New builds the routes over the given parts.
func New(o Options) (*API, error) {
	if o.Engine == nil || o.Storage == nil || o.Exemplars == nil || o.Admin == nil || o.Config == nil || o.RuntimeInfo == nil {
		return nil, errors.New("server/api: Engine, Storage, Exemplars, Admin, Config and RuntimeInfo of Options must be set")
	}
	if o.QueryTimeout <= 0 || o.QueryConcurrency <= 0 {
		return nil, errors.New("server/api: QueryTimeout and QueryConcurrency of Options must be above 0")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Endpoints == nil {
		o.Endpoints = guard.NewMetrics(o.Registry)
	}
	if o.Notifications == nil {
		o.Notifications = notifications.NewNotifications(maxSubscribers, nil)
	}
	if o.Features == nil {
		o.Features = features.NewRegistry()
	}
	if o.ExternalURL == nil {
		o.ExternalURL = &url.URL{Scheme: "http", Host: "localhost", Path: "/"}
	}
	if o.Targets == nil {
		o.Targets = nothing{}
	}
	if o.Alertmanagers == nil {
		o.Alertmanagers = nothing{}
	}
	if o.Rules == nil {
		o.Rules = nothing{}
	}
	a := &API{
		opts:    o,
		metrics: o.Endpoints,
		reads:   guard.NewGate(o.QueryConcurrency),
		writes:  guard.NewGate(maxWrites),
	}
	a.federate = newFederation(a)
	a.router = a.routes()
	return a, nil
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

func (a *API) routes() *route.Router {
	root := route.New()
	a.upstream().Register(root.WithPrefix(Prefix).WithInstrumentation(a.around(Prefix)))
	root.WithInstrumentation(a.around("")).Get(federatePath, a.federate.ServeHTTP)
	return root
}

// upstream builds Prometheus' own API over our parts.
func (a *API) upstream() *v1.API {
	o := a.opts
	ready := func(h http.HandlerFunc) http.HandlerFunc { return h }
	appendable := notingAppendable{o.Storage}
	return v1.NewAPI(
		o.Engine, o.Storage, appendable, appendable, o.Exemplars,
		func(context.Context) v1.ScrapePoolsRetriever { return o.Targets },
		a.targets,
		func(context.Context) v1.AlertmanagerRetriever { return o.Alertmanagers },
		o.Config, o.Flags,
		v1.GlobalURLOptions{ListenAddress: o.ExternalURL.Host, Host: o.ExternalURL.Host, Scheme: o.ExternalURL.Scheme},
		ready, o.Admin, o.DataDir, o.EnableAdmin,
		false, 0, // no search API: experimental
		o.Logger,
		func(context.Context) v1.RulesRetriever { return o.Rules },
		remoteReadSamples, remoteReadConcurrency, remoteReadFrameBytes,
		false, // not Prometheus' agent mode
		noOrigin,
		o.RuntimeInfo, &o.BuildInfo,
		o.Notifications.Get, o.Notifications.Sub,
		o.Registry, o.Registry, nil,
		true, remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType},
		true, false, false, // OTLP, without conversion of deltas
		false, o.Lookback, false,
		true, // metadata of remote write 2.0 goes to the store
		statusOf(v1.ErrorNone, o.NotReady), o.Features,
		v1.OpenAPIOptions{ExternalURL: o.ExternalURL.String(), Version: o.BuildInfo.Version},
		parser.NewParser(parser.Options{}),
	)
}

// statusOf tells faults that pass from those that a request causes. Upstream
// does not export the type of its error numbers, hence the parameter that
// only carries it.
func statusOf[N any](_ N, notReady error) func(N, error) (int, bool) {
	return func(_ N, err error) (int, bool) {
		if errors.Is(err, binnacle.ErrFull) || (notReady != nil && errors.Is(err, notReady)) {
			return http.StatusServiceUnavailable, true
		}
		return 0, false
	}
}

// noOrigin matches no origin: no page of another site may read the answers.
var noOrigin = regexp.MustCompile("^$")
