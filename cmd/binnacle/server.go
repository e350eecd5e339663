package main

import "github.com/spf13/cobra"

func newServerCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeServer, &cobra.Command{
		Short: "Store what agents send, answer PromQL and evaluate rules",
		Long: `Store what agents and others send by Prometheus remote write or OTLP, answer the
Prometheus HTTP API, and evaluate alerting and recording rules.`,
		Example: `  # On loopback, data in /var/lib/binnacle
  binnacle server

  # For agents on other machines
  binnacle server --listen :7070 --tls-cert-file tls.crt --tls-key-file tls.key --auth-token-file token

  # With rules, an Alertmanager and a bound on the disk
  binnacle server --rules '/etc/binnacle/rules/*.yml' --alertmanager http://alertmanager:9093 \
    --retention 90d --retention-size 200GB`,
	}, startServer)
}
