package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Exit codes, documented in the help of the root command.
const (
	exitOK        = 0
	exitNoMatch   = 1 // a search found nothing
	exitUsage     = 2 // wrong usage, or an error of the server
	exitLint      = 3 // a checked file has mistakes
	exitForbidden = 4
	exitPartial   = 5   // something was printed, but not all of it
	exitInterrupt = 130 // Ctrl-C, as shells report it
)

// codedError carries the exit code that an error ends the process with.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// usageError is a mistake on the command line: it is answered with a pointer
// to the help of the command.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exitCode is the code for the error that a command returned.
func exitCode(ctx context.Context, err error) int {
	var coded *codedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, syscall.EPIPE):
		// The reader, such as head, has seen enough.
		return exitOK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupt
	default:
		return exitUsage
	}
}
