package main

import (
	"context"
	"errors"
	"log/slog"
)

var errNotWired = errors.New("this command is not wired up yet")

func startRun(context.Context, *process, *modeSettings, *slog.Logger) error    { return errNotWired }
func startAgent(context.Context, *process, *modeSettings, *slog.Logger) error  { return errNotWired }
func startServer(context.Context, *process, *modeSettings, *slog.Logger) error { return errNotWired }
