package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// Values of --logs-store.
const (
	storeEmbedded      = "embedded"
	storeElasticsearch = "elasticsearch"
)

// logModeSettings are the settings of the long-running commands that concern logs.
type logModeSettings struct {
	// What the agent half reads and does to lines.
	files       []string
	cluster     string
	joinTraces  bool
	rateLimit   int64
	rateBurst   int64
	redact      bool
	redactRules string
	budget      int64
	demo        bool

	// Where the server half keeps them.
	store         string
	retention     time.Duration
	retentionSize int64
	queryBytes    int64
	querySeries   int
	querySamples  int

	elastic elasticSettings
}

// elasticSettings are how to reach Elasticsearch or OpenSearch.
type elasticSettings struct {
	urls         []string
	cloudID      string
	openSearch   bool
	index        string
	apiKeyFile   string
	username     string
	passwordFile string
	caFile       string
	certFile     string
	keyFile      string
}

// reading defines the flags of the agent half.
func (s *logModeSettings) reading(flags *pflag.FlagSet, m mode) {
	s.joinTraces, s.redact, s.budget = true, true, 16<<20
	b := flagBlock{flags, "Logs"}
	b.add(listValue(&s.files, kindGlob), "logs", "log files to read, or a folder laid out like /var/log/pods, with / at its end if it may come later; repeatable (default the pods' logs, where there are none the machine's own in /var/log)")
	b.add(textValue(&s.cluster, kindText), "cluster-name", "name of this cluster in all logs")
	b.add(boolValue(&s.joinTraces), "logs-join-traces", "make one record of the lines of a stack trace")
	b.add(bytesValue(&s.rateLimit), "logs-rate-limit", "most bytes a second to read of one container; the rest is shed, counted and said in its place (default no limit)")
	b.add(bytesValue(&s.rateBurst), "logs-rate-burst", "bytes that a container may write at once beyond --logs-rate-limit (default ten seconds' worth)")
	b.add(boolValue(&s.redact), "redact", "take bearer tokens, AWS keys, private keys and passwords in URLs out of lines")
	b.add(textValue(&s.redactRules, kindFile), "redact-rules", "YAML file with further rules; try them with \"binnacle check redaction\"")
	b.add(bytesValue(&s.budget), "logs-in-flight", "memory for lines that are read and not yet stored; reading waits beyond it")
	if m == modeRun {
		b.add(boolValue(&s.demo), "demo", "start a few small workloads in cgroups of their own and read their logs")
	}
}

// keeping defines the flags of the server half.
func (s *logModeSettings) keeping(flags *pflag.FlagSet) {
	s.store, s.retention = storeEmbedded, 7*24*time.Hour
	s.querySeries, s.querySamples = logql.DefaultMaxSeries, logql.DefaultMaxSamples
	b := flagBlock{flags, "Storage of logs"}
	b.add(enumValue(&s.store, storeEmbedded, storeElasticsearch), "logs-store", "where to keep logs")
	b.add(durationValue(&s.retention, time.Hour), "logs-retention", "how long to keep logs")
	b.add(bytesValue(&s.retentionSize), "logs-retention-size", "disk space for logs; beyond it the oldest are deleted (default no limit)")
	b.add(bytesValue(&s.queryBytes), "logs-query-max-bytes", "most text that one query may read (default no limit)")
	b.add(numberValue(&s.querySeries), "logs-query-max-series", "most series that a query for numbers may tell apart")
	b.add(numberValue(&s.querySamples), "logs-query-max-samples", "most samples that a query for numbers may hold in memory")
}

// elasticsearch defines how to reach Elasticsearch. An agent sends there
// beside its servers.
func (s *logModeSettings) elasticsearch(flags *pflag.FlagSet, m mode) {
	e := &s.elastic
	use := "for --logs-store elasticsearch"
	if m == modeAgent {
		use = "to send logs to"
	}
	b := flagBlock{flags, "Elasticsearch and OpenSearch"}
	b.add(listValue(&e.urls, kindURL), "elasticsearch", "Elasticsearch node "+use+"; repeatable")
	b.add(textValue(&e.cloudID, kindText), "elasticsearch-cloud-id", "deployment in Elastic Cloud instead of URLs")
	b.add(boolValue(&e.openSearch), "elasticsearch-opensearch", "the nodes are OpenSearch")
	b.add(textValue(&e.index, kindText), "elasticsearch-index", "data stream or alias of the records (default logs-binnacle-default)")
	b.add(textValue(&e.apiKeyFile, kindFile), "elasticsearch-api-key-file", "file with the encoded API key")
	b.add(textValue(&e.username, kindText), "elasticsearch-username", "user of basic authentication")
	b.add(textValue(&e.passwordFile, kindFile), "elasticsearch-password-file", "file with the user's password")
	b.add(textValue(&e.caFile, kindFile), "elasticsearch-ca-file", "PEM authorities to verify the nodes with, instead of the system's")
	b.add(textValue(&e.certFile, kindFile), "elasticsearch-cert-file", "PEM client certificate")
	b.add(textValue(&e.keyFile, kindFile), "elasticsearch-key-file", "PEM key of the client certificate")
}

// problems returns what the values alone show to be wrong.
func (s *logModeSettings) problems(m mode) error {
	e := &s.elastic
	errs := []error{
		pair("elasticsearch-cert-file", e.certFile, "elasticsearch-key-file", e.keyFile),
		pair("elasticsearch-username", e.username, "elasticsearch-password-file", e.passwordFile),
	}
	if len(e.urls) > 0 && e.cloudID != "" {
		errs = append(errs, errors.New("--elasticsearch and --elasticsearch-cloud-id exclude each other"))
	}
	if e.apiKeyFile != "" && e.username != "" {
		errs = append(errs, errors.New("--elasticsearch-api-key-file and --elasticsearch-username exclude each other"))
	}
	if m != modeAgent && (s.store == storeElasticsearch) != e.given() {
		errs = append(errs, errors.New("--logs-store elasticsearch and --elasticsearch URL need each other"))
	}
	if s.rateBurst > 0 && s.rateLimit == 0 {
		errs = append(errs, errors.New("--logs-rate-burst needs --logs-rate-limit"))
	}
	return errors.Join(errs...)
}
