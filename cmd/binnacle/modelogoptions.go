package main

import (
	"fmt"

	"github.com/binnacle-obs/binnacle/agent"
	"github.com/binnacle-obs/binnacle/agent/redact"
	"github.com/binnacle-obs/binnacle/agent/tail"
	"github.com/binnacle-obs/binnacle/server"
	"github.com/binnacle-obs/binnacle/storage/elastic"
)

// agentLogs are the options of the agent half.
func (s *modeSettings) agentLogs(from logSources) (*agent.LogOptions, error) {
	l := &s.logs
	rules, err := l.redaction()
	if err != nil {
		return nil, err
	}
	o := &agent.LogOptions{
		Read: tail.Options{
			PodLogs:   append([]string{}, from.roots...), // nil would be the default
			Globs:     from.globs,
			Node:      s.nodeName,
			Cluster:   l.cluster,
			NoJoin:    !l.joinTraces,
			RateLimit: int(l.rateLimit),
			Burst:     int(l.rateBurst),
		},
		Redact:   rules,
		InFlight: int(l.budget),
	}
	return o, nil
}

// redaction reads the rules; nil when lines are to be left as they are.
func (s *logModeSettings) redaction() (*redact.Options, error) {
	if !s.redact {
		return nil, nil
	}
	if s.redactRules == "" {
		return &redact.Options{}, nil
	}
	rules, err := redact.Load(s.redactRules)
	if err != nil {
		return nil, fmt.Errorf("--redact-rules: %w", err)
	}
	return &rules, nil
}

// serverLogs are the options of the server half.
func (s *modeSettings) serverLogs() server.LogOptions {
	l := &s.logs
	o := server.LogOptions{
		Retention:       l.retention,
		RetentionSize:   l.retentionSize,
		MaxQueryBytes:   l.queryBytes,
		MaxQuerySeries:  l.querySeries,
		MaxQuerySamples: l.querySamples,
	}
	if l.store == storeElasticsearch {
		o.Elastic = l.elastic.options()
	}
	return o
}

func (s *elasticSettings) options() *elastic.Options {
	return &elastic.Options{
		URLs:         s.urls,
		CloudID:      s.cloudID,
		Username:     s.username,
		PasswordFile: s.passwordFile,
		APIKeyFile:   s.apiKeyFile,
		CAFile:       s.caFile,
		CertFile:     s.certFile,
		KeyFile:      s.keyFile,
		OpenSearch:   s.openSearch,
		Index:        s.index,
	}
}

// given tells whether Elasticsearch is to be used.
func (s *elasticSettings) given() bool { return len(s.urls) > 0 || s.cloudID != "" }
