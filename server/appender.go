package server

import (
	"context"

	"github.com/binnacle-obs/binnacle/storage"
)

// Appender takes the samples of an agent in the same process. Before the store
// is open, appending waits for it, so that an agent that starts first does not
// lose its first cycles; after Run it returns storage.ErrClosed.
func (s *Server) Appender() storage.Appender { return &appender{s} }

type appender struct{ server *Server }

// Append implements storage.Appender.
func (a *appender) Append(ctx context.Context, batch []storage.Sample) error {
	if err := a.server.awaitOpen(ctx); err != nil {
		return err
	}
	return a.server.db.Append(ctx, batch)
}

// awaitOpen waits until the stores are open; afterwards they answer for
// themselves, closed or not.
func (s *Server) awaitOpen(ctx context.Context) error {
	select {
	case <-s.opened:
		return nil
	default:
	}
	select {
	case <-s.opened:
		return nil
	case <-s.ended:
		return storage.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
