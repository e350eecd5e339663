package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/demo"
)

// newDemoWorkloadCommand is what the containers of the demo run.
func newDemoWorkloadCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use:     demo.Command + " NAME SPEED",
		Short:   "Run a workload of the demo; \"binnacle run --demo\" starts it",
		Example: "  binnacle " + demo.Command + " shop 1",
		Hidden:  true,
		Args:    exactArgs(2, "the name of a workload or its speed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return demo.RunWorkload(cmd.Context(), args[0], args[1], os.Stdin, p.stdout, p.stderr)
		},
	}
}
