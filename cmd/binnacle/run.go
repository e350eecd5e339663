package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/agent"
	"github.com/binnacle-obs/binnacle/listen"
	"github.com/binnacle-obs/binnacle/server"
)

func newRunCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeRun, &cobra.Command{
		Short: "Observe this machine: agent and server in one process",
		Long: `Observe this machine: agent and server in one process, without configuration, on
loopback.`,
		Example: `  # http://127.0.0.1:7070, data in ./data
  binnacle run

  # A reading each second, kept for 30 days, with alerts
  binnacle run --interval 1s --retention 30d --rules 'rules/*.yml' --alertmanager http://127.0.0.1:9093

  # Metrics of applications as well, from a Prometheus configuration
  binnacle run --scrape-config prometheus.yml

  # For others to reach, with TLS and a token
  binnacle run --listen :7070 --tls-cert-file tls.crt --tls-key-file tls.key --auth-token-file token`,
	}, startRun)
}

// startRun runs both halves. The agent appends to the server's store and its
// metrics are served beside the server's.
func startRun(ctx context.Context, p *process, s *modeSettings, log *slog.Logger) error {
	registry := newRegistry()
	listener, err := listen.New(s.listenOptions(log, registry))
	if err != nil {
		return err
	}
	srv, err := server.New(s.serverOptions(log, registry))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o := s.agentOptions(log, registry)
	o.Appender = srv.Appender()
	// What the server scrapes the agent need not.
	o.ScrapeConfigFile = ""
	ag, err := agent.New(o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+agent.CadvisorPath, ag.CadvisorHandler())
	mux.Handle("/", srv.Handler())

	log.Info("Listening.", "url", s.url(listener.Addr()))
	p.welcome(s, s.url(listener.Addr()))
	return supervise(ctx, log, stopTimeout,
		part{"server", srv.Run},
		part{"listener", func(ctx context.Context) error { return listener.Serve(ctx, withProfiles(mux)) }},
		part{"agent", ag.Run},
		reloadPart(p, log, srv.Reload),
	)
}

// welcome tells somebody at a terminal what was started and what to try.
func (p *process) welcome(s *modeSettings, url string) {
	if p.columns(p.stderr) == 0 {
		return
	}
	data, err := filepath.Abs(s.dataDir)
	if err != nil {
		data = s.dataDir
	}
	_, _ = fmt.Fprintf(p.stderr, `
  Listening on  %s
  Reading       %s, %s and %s every %s, as node %s
  Data in       %s, kept for %s

  Try in another terminal:
    export BINNACLE_ADDR=%s
    binnacle top container --sort-by cpu
    binnacle query range 'node_load1' --since 15m
    binnacle query instant 'topk(5, container_memory_working_set_bytes{id!="/"})'

`, url, s.cgroupRoot, s.procRoot, s.sysRoot, formatDuration(s.interval), s.nodeName, data, formatDuration(s.retention), url)
}
