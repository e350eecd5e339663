package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/scrape"
)

func newCheckCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Check configuration and rule files without starting anything",
		GroupID: groupAsking,
		Example: `  binnacle check config /etc/binnacle/server.yaml --for server
  binnacle check rules /etc/binnacle/rules/*.yml
  binnacle check redaction app.log`,
	}
	cmd.AddCommand(newCheckConfigCommand(p), newCheckRulesCommand(p), newCheckRedactionCommand(p))
	asksForSubcommand(cmd)
	return cmd
}

func newCheckConfigCommand(p *process) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "config FILE",
		Short: "Check a configuration file and the files that it names",
		Long: `Check whether "binnacle run", "binnacle agent" or "binnacle server" would start
with nothing but this configuration file. All mistakes are listed, and the exit
code is 3 if there are any.`,
		Example: `  binnacle check config binnacle.yaml
  binnacle check config /etc/binnacle/agent.yaml --for agent`,
		Args: exactArgs(1, "the file"),
		RunE: func(_ *cobra.Command, args []string) error { return checkConfig(p, mode(kind), args[0]) },
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	b.add(enumValue(&kind, modes...), "for", "command that is to read the file (default agent if it names a server to send to, else run)")
	return cmd
}

// checkConfig reports every mistake in a file on stdout.
func checkConfig(p *process, m mode, file string) error {
	keys, err := readConfigFile(file)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return err
	}
	if m == "" {
		m = modeOf(keys)
	}
	problems := err
	if err == nil {
		flags, settings := newModeSet(m, p.lookup)
		problems = errors.Join(applyConfigFile(flags, m, file), prefixFile(file, settings.problems(m)), settings.checkFiles())
	}
	return reportChecks(p.stdout, fmt.Sprintf("%s: would start \"binnacle %s\"", file, m), problems)
}

// modeOf guesses which command a file is for.
func modeOf(keys []configKey) mode {
	for _, key := range keys {
		if key.name == "server" {
			return modeAgent
		}
	}
	return modeRun
}

// prefixFile writes the name of the file in front of every joined error that
// has no line of its own.
func prefixFile(file string, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for _, e := range flatten(err) {
		errs = append(errs, fmt.Errorf("%s: %w", file, e))
	}
	return errors.Join(errs...)
}

// reportChecks prints mistakes, one a line, or that there are none.
func reportChecks(w io.Writer, success string, problems error) error {
	if problems == nil {
		_, err := fmt.Fprintln(w, success)
		return err
	}
	var found []string
	for _, e := range flatten(problems) {
		if text := e.Error(); !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	if _, err := fmt.Fprintln(w, strings.Join(found, "\n")); err != nil {
		return err
	}
	plural := "s"
	if len(found) == 1 {
		plural = ""
	}
	return &codedError{exitLint, fmt.Errorf("%d mistake%s found", len(found), plural)}
}

func newCheckRulesCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use:     "rules FILE...",
		Short:   "Check Prometheus rule files",
		Example: `  binnacle check rules rules/*.yml`,
		Args:    minArgs(1, "a rule file"),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, problems := 0, error(nil)
			for _, file := range args {
				n, err := checkRuleFile(file)
				rules += n
				problems = errors.Join(problems, err)
			}
			return reportChecks(p.stdout, fmt.Sprintf("%d rules in %d files are fine", rules, len(args)), problems)
		},
	}
}

// checkRuleFile returns the number of rules in a file and all its mistakes.
func checkRuleFile(file string) (int, error) {
	// The logger is only told about files with several documents, which are
	// read to the end of the first.
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return 0, errors.Join(errs...)
	}
	rules := 0
	for _, g := range groups.Groups {
		rules += len(g.Rules)
	}
	return rules, nil
}

// checkFiles checks what is in the rule and scrape files of the settings.
func (s *modeSettings) checkFiles() error {
	var problems error
	for _, glob := range s.rules {
		problems = errors.Join(problems, checkRules(glob))
	}
	if s.scrapeConfig != "" {
		_, err := scrape.LoadConfig(s.scrapeConfig, nil)
		problems = errors.Join(problems, err)
	}
	return problems
}

// checkRules checks the rule files that glob finds.
func checkRules(glob string) error {
	files, err := filepath.Glob(glob)
	if err != nil {
		return fmt.Errorf("rules: %q is not a pattern of file names: %w", glob, err)
	}
	if len(files) == 0 && !strings.ContainsAny(glob, `*?[\`) {
		return fmt.Errorf("rules: %s: %w", glob, os.ErrNotExist)
	}
	var problems error
	for _, file := range files {
		_, err := checkRuleFile(file)
		problems = errors.Join(problems, err)
	}
	return problems
}
