package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/agent"
	"github.com/binnacle-obs/binnacle/demo"
	"github.com/binnacle-obs/binnacle/listen"
	"github.com/binnacle-obs/binnacle/server"
)

func newRunCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeRun, &cobra.Command{
		Short: "Observe this machine: agent and server in one process",
		Long: `Observe this machine: agent and server in one process, without configuration, on
loopback. Logs are those of the pods in /var/log/pods; on a machine without, those of
Docker's containers and the machine's own in /var/log. --logs names others.`,
		Example: `  # http://127.0.0.1:7070, data in ./data
  binnacle run

  # A reading each second, kept for 30 days, with alerts
  binnacle run --interval 1s --retention 30d --rules 'rules/*.yml' --alertmanager http://127.0.0.1:9093

  # With a few small workloads to look at: one is well, one leaks, one fails
  binnacle run --demo

  # The logs of a web server
  binnacle run --logs '/var/log/nginx/*.log'

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
	logs := s.sources(true)
	workloads, err := s.demo(log, &logs)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o := s.agentOptions(log, registry)
	o.Appender = srv.Appender()
	// What the server scrapes the agent need not.
	o.ScrapeConfigFile = ""
	if o.Logs, err = s.agentLogs(logs); err != nil {
		return errors.Join(err, listener.Close())
	}
	o.Logs.Sink = srv.LogSink()
	ag, err := agent.New(o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+agent.CadvisorPath, ag.CadvisorHandler())
	mux.Handle("GET "+agent.FilesPath, ag.FilesHandler())
	mux.Handle("/", srv.Handler())

	log.Info("Listening.", "url", s.url(listener.Addr()))
	log.Info("Reading logs.", "from", logs.String())
	p.welcome(s, s.url(listener.Addr()), logs)
	parts := []part{
		{"server", srv.Run},
		{"listener", func(ctx context.Context) error { return listener.Serve(ctx, withProfiles(mux)) }},
		{"agent", ag.Run},
		reloadPart(p, log, srv.Reload),
	}
	if workloads != nil {
		parts = append(parts, part{"demo", workloads.Run})
	}
	return supervise(ctx, log, stopTimeout, parts...)
}

// demo prepares the demo's workloads if they are asked for, and makes their
// logs the only ones that are read unless --logs names others. Nil without.
func (s *modeSettings) demo(log *slog.Logger, logs *logSources) (*demo.Demo, error) {
	if !s.logs.demo {
		return nil, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("--demo: %w", err)
	}
	d, err := demo.New(demo.Options{Dir: s.dataDir, CgroupRoot: s.cgroupRoot, Exe: exe, Logger: log.With("component", "demo")})
	if err != nil {
		return nil, fmt.Errorf("--demo: %w", err)
	}
	s.podLogsRoot = demo.PodLogsRoot(s.dataDir)
	if len(s.logs.files) == 0 {
		*logs = logSources{}
	}
	logs.roots = append(logs.roots, absolute(s.podLogsRoot))
	return d, nil
}

// welcome tells somebody at a terminal what was started and what to try.
func (p *process) welcome(s *modeSettings, url string, logs logSources) {
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
  Logs from     %s (others by --logs)
  Data in       %s, metrics kept for %s, logs for %s

  Try in another terminal:
    export BINNACLE_ADDR=%s
    binnacle top container --sort-by cpu
    binnacle logs -f
    binnacle grep -i 'error|fail' --since 15m
    binnacle query range 'node_load1' --since 15m

`, url, s.cgroupRoot, s.procRoot, s.sysRoot, formatDuration(s.interval), s.nodeName, logs,
		data, formatDuration(s.retention), formatDuration(s.logs.retention), url)
}
