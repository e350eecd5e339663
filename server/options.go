package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options, upstream's values.
const (
	DefaultQueryTimeout     = 2 * time.Minute
	DefaultQueryMaxSamples  = 50_000_000
	DefaultQueryConcurrency = 20
	DefaultLookback         = 5 * time.Minute
	DefaultExternalURL      = "http://localhost:7070"
)

// Options configure a Server. The zero value of a field is its default.
type Options struct {
	// DataDir holds the stores, in the folders "tsdb" and "logs". Required.
	DataDir string
	// Retention, RetentionSize and OutOfOrderWindow are those of storage/tsdb.
	Retention        time.Duration
	RetentionSize    int64
	OutOfOrderWindow time.Duration

	// Logs says how logs are kept.
	Logs LogOptions

	// ScrapeConfigFile is a Prometheus configuration; its sections global,
	// scrape_configs, scrape_config_files and otlp are used. "" for none.
	ScrapeConfigFile string
	// RuleGlobs are patterns of Prometheus rule files.
	RuleGlobs []string
	// Alertmanagers are base URLs that notifications go to, and
	// AlertmanagerHTTPConfigFile holds credentials and TLS for them in the
	// format of Prometheus' http_config.
	Alertmanagers              []string
	AlertmanagerHTTPConfigFile string
	// EvaluationInterval is for rule groups that have none. 0 takes it from
	// the global section of ScrapeConfigFile, where one minute is the default.
	EvaluationInterval time.Duration
	// ExternalLabels are set on notifications, federated series and answers to
	// remote read; they override those of ScrapeConfigFile.
	ExternalLabels map[string]string
	// ExternalURL is how users reach the server; notifications link to it.
	ExternalURL string

	// EnableAdminAPI allows deletion and snapshots over HTTP, and
	// EnableReloadAPI POST /-/reload.
	EnableAdminAPI, EnableReloadAPI bool
	// QueryTimeout, QueryMaxSamples (in memory) and Lookback are those of
	// PromQL. QueryConcurrency is how many requests read at the same time;
	// rules do not count.
	QueryTimeout     time.Duration
	QueryMaxSamples  int
	QueryConcurrency int
	Lookback         time.Duration

	// Version and Flags are shown by the API.
	Version Version
	Flags   map[string]string
	// Logger may be nil.
	Logger *slog.Logger
	// Registry is served at /metrics and takes the metrics of all parts; nil
	// means a private one.
	Registry *prometheus.Registry
}

// Version is what was built, for /api/v1/status/buildinfo.
type Version struct {
	// Version is the release and Revision the commit.
	Version, Revision string
}

// withDefaults fills in defaults and refuses values that make no sense.
func (o Options) withDefaults() (Options, *url.URL, error) {
	if o.DataDir == "" {
		return o, nil, errors.New("no data folder is given")
	}
	if o.QueryTimeout < 0 || o.QueryMaxSamples < 0 || o.QueryConcurrency < 0 || o.Lookback < 0 || o.EvaluationInterval < 0 {
		return o, nil, fmt.Errorf("limits of queries and the evaluation interval must not be negative (time-out %v, samples %d, concurrency %d, lookback %v, interval %v)",
			o.QueryTimeout, o.QueryMaxSamples, o.QueryConcurrency, o.Lookback, o.EvaluationInterval)
	}
	setDefault(&o.QueryTimeout, DefaultQueryTimeout)
	setDefault(&o.QueryMaxSamples, DefaultQueryMaxSamples)
	setDefault(&o.QueryConcurrency, DefaultQueryConcurrency)
	setDefault(&o.Lookback, DefaultLookback)
	setDefault(&o.ExternalURL, DefaultExternalURL)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	external, err := url.Parse(o.ExternalURL)
	if err != nil || (external.Scheme != "http" && external.Scheme != "https") || external.Host == "" {
		return o, nil, fmt.Errorf("external URL %q: a URL like https://binnacle.example.org is needed", o.ExternalURL)
	}
	external.Path = strings.TrimRight(external.Path, "/") // paths are appended to it
	return o, external, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
