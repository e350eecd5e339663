package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
)

// settingsHelp ends the long help of the long-running commands.
const settingsHelp = `

Every flag is also a key of the --config file and an environment variable: --data-dir
is data-dir and BINNACLE_DATA_DIR. A flag wins over the variable, the variable over
the file. SIGHUP reads rules, scrape configuration and credentials again; SIGTERM
and Ctrl-C stop gracefully.`

// starter runs a long-running command until ctx ends.
type starter func(ctx context.Context, p *process, s *modeSettings, log *slog.Logger) error

// newModeCommand builds a long-running command: its flags, their resolution
// and the logger are the same for all.
func newModeCommand(p *process, m mode, cmd *cobra.Command, start starter) *cobra.Command {
	cmd.Use = string(m)
	cmd.GroupID = groupServing
	cmd.Long += settingsHelp
	cmd.Args = exactArgs(0, "")
	settings := newModeFlags(cmd.Flags(), m, p.lookup)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.resolve(cmd.Flags(), m); err != nil {
			return err
		}
		if err := settings.problems(m); err != nil {
			return err
		}
		settings.effective = effectiveValues(cmd.Flags())
		log := newLogger(p, settings)
		for _, w := range p.mistypedVariables(cmd.Flags()) {
			log.Warn(w)
		}
		log.Info("Starting binnacle.", "mode", m, "version", buildVersion(), "commit", buildCommit(), "go", runtime.Version())
		if err := start(cmd.Context(), p, settings, log); err != nil {
			return err
		}
		log.Info("Stopped.")
		return nil
	}
	return cmd
}

// newLogger writes to stderr in the format and from the level asked for.
func newLogger(p *process, s *modeSettings) *slog.Logger {
	var level slog.Level
	// The flag only lets through what UnmarshalText knows.
	_ = level.UnmarshalText([]byte(s.logLevel))
	options := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}

// newRegistry holds the process' own metrics.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "binnacle_build_info",
		Help:        "Constant 1, with the version of binnacle in labels.",
		ConstLabels: prometheus.Labels{"version": buildVersion(), "commit": buildCommit(), "goversion": runtime.Version()},
	})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// problems returns what the values of flags alone show to be wrong.
func (s *modeSettings) problems(m mode) error {
	var errs []error
	if m == modeAgent && len(s.servers) == 0 && !s.logs.elastic.given() {
		errs = append(errs, errors.New("--server is missing: give the URL of at least one binnacle server, such as --server https://binnacle.example:7070, or --elasticsearch to send nothing but logs"))
	}
	errs = append(errs,
		s.logs.problems(m),
		pair("server-cert-file", s.serverCert, "server-key-file", s.serverKey),
		s.listenOptions(nil, nil).Validate(),
	)
	for _, file := range []struct{ flag, name string }{
		{"scrape-config", s.scrapeConfig},
		{"alertmanager-http-config", s.alertmanagerHTTP},
		{"tls-cert-file", s.tlsCertFile},
		{"tls-key-file", s.tlsKeyFile},
		{"tls-client-ca-file", s.tlsClientCAFile},
		{"auth-token-file", s.authTokenFile},
		{"server-token-file", s.serverToken},
		{"server-ca-file", s.serverCA},
		{"server-cert-file", s.serverCert},
		{"server-key-file", s.serverKey},
		{"redact-rules", s.logs.redactRules},
		{"elasticsearch-api-key-file", s.logs.elastic.apiKeyFile},
		{"elasticsearch-password-file", s.logs.elastic.passwordFile},
		{"elasticsearch-ca-file", s.logs.elastic.caFile},
		{"elasticsearch-cert-file", s.logs.elastic.certFile},
		{"elasticsearch-key-file", s.logs.elastic.keyFile},
	} {
		errs = append(errs, readable(file.flag, file.name))
	}
	if s.serverToken != "" && readable("", s.serverToken) == nil {
		if _, err := readToken(s.serverToken); err != nil {
			errs = append(errs, fmt.Errorf("--server-token-file: %w", err))
		}
	}
	return errors.Join(errs...)
}

// pair wants both or none of two flags.
func pair(flag, value, otherFlag, otherValue string) error {
	switch {
	case value != "" && otherValue == "":
		return fmt.Errorf("--%s needs --%s", flag, otherFlag)
	case value == "" && otherValue != "":
		return fmt.Errorf("--%s needs --%s", otherFlag, flag)
	default:
		return nil
	}
}

// readable wants a file that can be opened.
func readable(flag, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return f.Close()
}
