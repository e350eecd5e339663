package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/agent"
	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/listen"
	"github.com/binnacle-obs/binnacle/storage/endpoint"
)

// agentGCPercent trades a little CPU for memory: an agent runs on every node
// and has a budget of 80 MB. GOGC overrides it.
const agentGCPercent = 25

// remoteWritePath is where a binnacle server takes samples.
const remoteWritePath = "/api/v1/write"

func newAgentCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeAgent, &cobra.Command{
		Short: "Read this node and send to servers",
		Long: `Read this node's cgroups, kernel files and logs. Metrics go to one or several servers
by Prometheus remote write, logs by OTLP or to Elasticsearch. While a server cannot
be reached samples wait on disk and logs in their files. A Prometheus can scrape
/metrics and /metrics/cadvisor as well.`,
		Example: `  # To a server on the same machine
  binnacle agent --server http://127.0.0.1:7070

  # To two servers, with credentials
  binnacle agent --server https://a.example:7070 --server https://b.example:7070 \
    --server-token-file /etc/binnacle/token --server-ca-file /etc/binnacle/ca.crt

  # Metrics to a server, logs to it and to Elasticsearch
  binnacle agent --server https://binnacle:7070 --elasticsearch https://elasticsearch:9200 \
    --elasticsearch-api-key-file /etc/binnacle/api-key

  # In a container that has the host's file systems below /host
  binnacle agent --server https://binnacle:7070 --root-fs /host --proc-root /host/proc \
    --sys-root /host/sys --cgroup-root /host/sys/fs/cgroup`,
	}, startAgent)
}

// startAgent runs the agent half alone.
func startAgent(ctx context.Context, p *process, s *modeSettings, log *slog.Logger) error {
	if p.lookup("GOGC") == "" {
		debug.SetGCPercent(agentGCPercent)
	}
	registry := newRegistry()
	listener, err := listen.New(s.listenOptions(log, registry))
	if err != nil {
		return err
	}
	o := s.agentOptions(log, registry)
	if o.Logs, err = s.agentLogs(s.sources(false)); err != nil {
		return errors.Join(err, listener.Close())
	}
	s.agentReceivers(o.Logs)
	ag, err := agent.New(o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log.Info("Listening.", "url", s.url(listener.Addr()))
	return supervise(ctx, log, stopTimeout,
		part{"listener", func(ctx context.Context) error { return listener.Serve(ctx, withProfiles(ag.Handler())) }},
		part{"agent", ag.Run},
		reloadPart(p, log, ag.Reload),
		part{"memory", releaseInitialisation},
	)
}

func (s *modeSettings) agentOptions(log *slog.Logger, registry *prometheus.Registry) agent.Options {
	o := agent.Options{
		Collector: collector.Options{
			Node:        s.nodeName,
			Interval:    s.interval,
			CgroupRoot:  s.cgroupRoot,
			ProcRoot:    s.procRoot,
			SysRoot:     s.sysRoot,
			RootFS:      s.rootFS,
			PodLogsRoot: s.podLogsRoot,
			OptIn:       s.collect,
		},
		DataDir:          s.dataDir,
		BufferMaxBytes:   s.bufferMaxBytes,
		ScrapeConfigFile: s.scrapeConfig,
		Logger:           log,
		Registry:         registry,
	}
	for _, server := range s.servers {
		o.Servers = append(o.Servers, s.receiver(writeURL(server)))
	}
	return o
}

// agentReceivers adds to the options of an agent that is not part of run where
// its logs go: to each binnacle server, which is known by a URL without a path,
// and to Elasticsearch.
func (s *modeSettings) agentReceivers(o *agent.LogOptions) {
	for _, server := range s.servers {
		if writeURL(server) == server {
			continue
		}
		o.Servers = append(o.Servers, s.receiver(server))
	}
	if s.logs.elastic.given() {
		o.Elastic = s.logs.elastic.options()
	}
}

// receiver is a server at an address, with the credentials for servers.
func (s *modeSettings) receiver(address string) endpoint.Options {
	return endpoint.Options{
		URL:       address,
		TokenFile: s.serverToken,
		CAFile:    s.serverCA,
		CertFile:  s.serverCert,
		KeyFile:   s.serverKey,
	}
}

// writeURL completes the URL of a server that has no path. A path is that of
// another receiver, and left as it is.
func writeURL(server string) string {
	u, err := url.Parse(server)
	if err != nil || (u.Path != "" && u.Path != "/") {
		return server
	}
	u.Path = remoteWritePath
	return u.String()
}
