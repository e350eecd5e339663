package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/binnacle-obs/binnacle/agent/redact"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// maxCheckedLine bounds a line of a checked file; agents cut lines much earlier.
	maxCheckedLine = 16 << 20
	ansiSecret     = "\x1b[1;31m"
)

func newCheckRedactionCommand(p *process) *cobra.Command {
	var rules string
	s := clientSettings{}
	cmd := &cobra.Command{
		Use:   "redaction [FILE|-]",
		Short: "Show what redaction would take out of the lines of a file",
		Long: `Print the lines of a file, or of the standard input, that an agent would change
before it sends them, as they would be then. How often each rule was used goes to
the standard error. The rules are the built-in ones and those of --rules, a YAML
file:

  builtin: true
  rules:
  - name: session
    regexp: '(session=)[0-9a-f]{32}'
    replacement: '${1}[REDACTED]'`,
		Example: `  binnacle check redaction app.log
  kubectl logs deploy/cart | binnacle check redaction --rules redaction.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one file at a time: %q is too many", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) > 0 {
				file = args[0]
			}
			return checkRedaction(cmd.Context(), &client{p: p, settings: s}, rules, file)
		},
	}
	b := flagBlock{cmd.Flags(), "Flags"}
	b.add(textValue(&rules, kindFile), "rules", "YAML file with rules of your own")
	s.defineColor(b)
	return cmd
}

// checkRedaction prints what the rules make of the lines of a file.
func checkRedaction(ctx context.Context, c *client, rules, file string) error {
	var o redact.Options
	if rules != "" {
		var err error
		o, err = redact.Load(rules)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return err
		}
		if err != nil {
			return reportChecks(c.p.stdout, "", err)
		}
	}
	if c.colored() {
		o.Mark = func(text []byte) []byte { return fmt.Appendf(nil, "%s%s%s", ansiSecret, text, ansiReset) }
	}
	r, err := redact.New(o)
	if err != nil {
		return err
	}
	in := c.p.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	changed, lines, err := printRedacted(ctx, c.p.stdout, in, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.p.stderr, "%d of %d lines would be changed\n", changed, lines)
	for _, count := range r.Counts() {
		if count.N > 0 {
			fmt.Fprintf(c.p.stderr, "%8d %s\n", count.N, count.Rule)
		}
	}
	return nil
}

// printRedacted writes the lines that r changes.
func printRedacted(ctx context.Context, out io.Writer, in io.Reader, r *redact.Redactor) (changed, lines int, err error) {
	w := bufio.NewWriter(out)
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxCheckedLine)
	offset := int64(0)
	for scanner.Scan() {
		if err := ctx.Err(); err != nil {
			return changed, lines, err
		}
		record := storage.Record{Offset: offset, Line: scanner.Bytes()}
		offset += int64(len(record.Line)) + 1
		lines++
		r.Edit(&record)
		if record.Flags&storage.FlagRedacted == 0 {
			continue
		}
		changed++
		if _, err := fmt.Fprintf(w, "%s\n", record.Line); err != nil {
			return changed, lines, err
		}
	}
	if err := scanner.Err(); err != nil {
		return changed, lines, errors.Join(fmt.Errorf("line %d: %w", lines+1, err), w.Flush())
	}
	return changed, lines, w.Flush()
}
