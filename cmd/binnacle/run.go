package main

import "github.com/spf13/cobra"

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
