package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// IDs of the groups that the help of the root command lists.
const (
	groupServing = "serving"
	groupAsking  = "asking"
)

const rootLong = `binnacle observes a machine or a cluster.

"binnacle run" is all of it in one process on this machine. In a cluster an agent
on every node sends to a server, which stores, answers PromQL and evaluates rules.

Exit codes: 0 ok, 1 no match, 2 wrong usage or an error of the server, 3 mistakes
in a checked file, 4 forbidden, 5 partial result, 130 interrupted.`

const rootExample = `  # Observe this machine: no configuration, http://127.0.0.1:7070, data in ./data
  binnacle run

  # Which containers use the CPU? How did it get there?
  binnacle top container --sort-by cpu
  binnacle query range 'rate(container_cpu_usage_seconds_total{id="/"}[1m])' --since 15m

  # A server, and an agent that sends to it
  binnacle server --retention 30d
  binnacle agent --server http://127.0.0.1:7070`

// run executes one command line and returns the exit code.
func run(ctx context.Context, p *process, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(ctx, err)
	if err == nil || code == exitInterrupt || code == exitOK || code == exitNoMatch {
		return code
	}
	for _, e := range flatten(err) {
		_, _ = fmt.Fprintf(p.stderr, "binnacle: %v\n", e)
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		_, _ = fmt.Fprintf(p.stderr, "Run \"%s --help\" for usage and examples.\n", cmd.CommandPath())
	}
	return code
}

// newRoot builds the tree of commands.
func newRoot(p *process) *cobra.Command {
	root := &cobra.Command{
		Use:           "binnacle",
		Short:         "Observe a machine or a cluster: metrics, rules and queries in one binary",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       buildVersion(),
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(explainFlagError)
	root.SetUsageFunc(printUsage)
	root.SetVersionTemplate("binnacle {{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: groupServing, Title: "Observe and serve:"},
		&cobra.Group{ID: groupAsking, Title: "Ask and check:"},
	)
	root.AddCommand(
		newRunCommand(p), newAgentCommand(p), newServerCommand(p),
		newLogsCommand(p), newGrepCommand(p),
		newQueryCommand(p), newTopCommand(p), newCheckCommand(p),
		newVersionCommand(p), newDemoWorkloadCommand(p),
	)
	// Without a shorthand: -v is to mean "invert" when there is a grep.
	root.Flags().Bool("version", false, "print the version")
	asksForSubcommand(root)
	keepFlagOrder(root)
	return root
}

// keepFlagOrder lists flags in the order of their definition.
func keepFlagOrder(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.PersistentFlags().SortFlags = false
	for _, c := range cmd.Commands() {
		keepFlagOrder(c)
	}
}

// asksForSubcommand makes a command that only holds others explain itself:
// help without arguments, an error with a suggestion for unknown ones.
func asksForSubcommand(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return usagef("unknown command %q of %q%s", args[0], cmd.CommandPath(), didYouMean(args[0], names))
	}
}

// exactArgs asks for n arguments, which are described by what.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return usagef("%s is missing", what)
		case len(args) > n:
			return usagef("too many arguments, from %q on: quote what belongs together", args[n])
		}
		return nil
	}
}

// minArgs asks for at least n arguments.
func minArgs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s is missing", what)
		}
		return nil
	}
}

// explainFlagError says which flag is wrong and what would be right.
func explainFlagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && len(unknown.GetSpecifiedShortnames()) > 0:
		return usagef("unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name := "--" + unknown.GetSpecifiedName()
		return usagef("unknown flag %s%s", name, didYouMean(name, names))
	case errors.As(err, &invalid):
		return usagef("flag --%s: %w", invalid.GetFlag().Name, errors.Unwrap(invalid))
	case errors.As(err, &missing):
		return usagef("flag --%s needs a value of the kind %s", missing.GetFlag().Name, missing.GetFlag().Value.Type())
	default:
		return &usageError{err}
	}
}

// printUsage writes examples, commands by group and flags by section.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", useLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	writeCommands(&b, cmd)
	writeFlags(&b, cmd)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nRun \"%s COMMAND --help\" for more about a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// writeCommands lists the commands below cmd, those without a group last.
func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	groups := append(cmd.Groups(), &cobra.Group{Title: "More commands:"})
	if len(groups) == 1 {
		groups[0].Title = "Commands:"
	}
	for _, group := range groups {
		title := "\n" + group.Title + "\n"
		for _, c := range cmd.Commands() {
			if c.GroupID == group.ID && (c.IsAvailableCommand() || c.Name() == "help") {
				fmt.Fprintf(b, "%s  %-*s %s\n", title, cmd.NamePadding(), c.Name(), c.Short)
				title = ""
			}
		}
	}
}

// writeFlags lists the flags of cmd under the headlines of their sections.
func writeFlags(b *strings.Builder, cmd *cobra.Command) {
	var order []string
	sections := map[string]*pflag.FlagSet{}
	add := func(f *pflag.Flag) {
		title := "Flags"
		if s := f.Annotations[sectionAnnotation]; len(s) > 0 {
			title = s[0]
		}
		if sections[title] == nil {
			order = append(order, title)
			sections[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			sections[title].SortFlags = false
		}
		sections[title].AddFlag(f)
	}
	cmd.LocalFlags().VisitAll(add)
	for parent := cmd.Parent(); parent != nil; parent = parent.Parent() {
		parent.PersistentFlags().VisitAll(add)
	}
	for _, title := range order {
		if usages := sections[title].FlagUsages(); usages != "" {
			fmt.Fprintf(b, "\n%s:\n%s", title, usages)
		}
	}
}
