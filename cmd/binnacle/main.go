// Command binnacle observes a machine or a cluster: it reads cgroups and
// kernel files, stores metrics, evaluates rules and answers PromQL. One
// binary is the agent, the server, both at once, and their client.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// process is what a command sees of the process around it, so that tests run
// commands in their own process.
type process struct {
	// environ holds KEY=VALUE pairs, as os.Environ returns them.
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	// columns is the width of the terminal behind a writer; 0 says that the
	// writer is none.
	columns func(io.Writer) int
	// hangup begins to catch SIGHUP, the wish to reload configuration files.
	// Only long-running commands call it: a client ends with its terminal.
	hangup func() <-chan os.Signal
	now    func() time.Time
	zone   *time.Location
}

// defaultColumns is the width of output where there is no terminal to ask.
const defaultColumns = 80

func main() {
	// The first signal stops gracefully; stop() then restores the default, so
	// that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	p := &process{
		environ: os.Environ(),
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		columns: terminalColumns,
		hangup:  catchHangup,
		now:     time.Now,
		zone:    time.Local,
	}
	os.Exit(run(ctx, p, os.Args[1:]))
}

func catchHangup() <-chan os.Signal {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup
}

// terminalColumns asks the kernel for the width of the terminal behind w.
func terminalColumns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	switch {
	case err != nil:
		return 0
	case columns == 0: // a terminal that does not say
		return defaultColumns
	}
	return columns
}
