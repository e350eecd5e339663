package main

import "github.com/spf13/cobra"

func newAgentCommand(p *process) *cobra.Command {
	return newModeCommand(p, modeAgent, &cobra.Command{
		Short: "Read this node and send to servers",
		Long: `Read this node's cgroups and kernel files and send the metrics to one or several
servers by Prometheus remote write. While a server cannot be reached samples wait
on disk. A Prometheus can scrape /metrics and /metrics/cadvisor instead.`,
		Example: `  # To a server on the same machine
  binnacle agent --server http://127.0.0.1:7070

  # To two servers, with credentials
  binnacle agent --server https://a.example:7070 --server https://b.example:7070 \
    --server-token-file /etc/binnacle/token --server-ca-file /etc/binnacle/ca.crt

  # In a container that has the host's file systems below /host
  binnacle agent --server https://binnacle:7070 --proc-root /host/proc --sys-root /host/sys \
    --cgroup-root /host/sys/fs/cgroup`,
	}, startAgent)
}
