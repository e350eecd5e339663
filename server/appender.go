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
	select {
	case <-a.server.opened:
		return a.server.db.Append(ctx, batch)
	default:
	}
	select {
	case <-a.server.opened:
		return a.server.db.Append(ctx, batch)
	case <-a.server.ended:
		return storage.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
