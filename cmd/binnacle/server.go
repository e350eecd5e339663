package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/binnacle-obs/binnacle/listen"
	"github.com/binnacle-obs/binnacle/server"
)

func newServerCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeServer, &cobra.Command{
		Short: "Store what agents send, answer PromQL and LogQL, evaluate rules",
		Long: `Store what agents and others send, metrics by Prometheus remote write or OTLP, logs
by OTLP or Loki's push API. Answer the HTTP APIs of Prometheus and Loki, and evaluate
alerting and recording rules.`,
		Example: `  # On loopback, data in /var/lib/binnacle
  binnacle server

  # For agents on other machines
  binnacle server --listen :7070 --tls-cert-file tls.crt --tls-key-file tls.key --auth-token-file token

  # With rules, an Alertmanager and a bound on the disk
  binnacle server --rules '/etc/binnacle/rules/*.yml' --alertmanager http://alertmanager:9093 \
    --retention 90d --retention-size 200GB

  # Logs in Elasticsearch
  binnacle server --logs-store elasticsearch --elasticsearch http://elasticsearch:9200`,
	}, startServer)
}

// startServer runs the server half alone.
func startServer(ctx context.Context, p *process, s *modeSettings, log *slog.Logger) error {
	registry := newRegistry()
	listener, err := listen.New(s.listenOptions(log, registry))
	if err != nil {
		return err
	}
	srv, err := server.New(s.serverOptions(log, registry))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log.Info("Listening.", "url", s.url(listener.Addr()))
	return supervise(ctx, log, stopTimeout,
		part{"server", srv.Run},
		part{"listener", func(ctx context.Context) error { return listener.Serve(ctx, withProfiles(srv.Handler())) }},
		reloadPart(p, log, srv.Reload),
	)
}

func (s *modeSettings) serverOptions(log *slog.Logger, registry *prometheus.Registry) server.Options {
	return server.Options{
		DataDir:                    s.dataDir,
		Retention:                  s.retention,
		RetentionSize:              s.retentionSize,
		OutOfOrderWindow:           s.outOfOrderWindow,
		Logs:                       s.serverLogs(),
		ScrapeConfigFile:           s.scrapeConfig,
		RuleGlobs:                  s.rules,
		Alertmanagers:              s.alertmanagers,
		AlertmanagerHTTPConfigFile: s.alertmanagerHTTP,
		ExternalURL:                s.externalURL,
		EnableAdminAPI:             s.enableAdminAPI,
		QueryTimeout:               s.queryTimeout,
		QueryMaxSamples:            s.queryMaxSamples,
		QueryConcurrency:           s.queryConcurrency,
		Version:                    server.Version{Version: buildVersion(), Revision: buildCommit()},
		Flags:                      s.effective,
		Logger:                     log,
		Registry:                   registry,
	}
}

// effectiveValues are the values of all settings, for /api/v1/status/flags.
func effectiveValues(flags *pflag.FlagSet) map[string]string {
	values := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) {
		if s, ok := f.Value.(setting); ok {
			values[f.Name] = s.String()
		}
	})
	return values
}
