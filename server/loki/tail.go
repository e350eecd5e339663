package loki

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

const (
	// pingEvery keeps proxies from closing a connection without entries, most
	// of which do so after a minute.
	pingEvery = 15 * time.Second
	// maxDelay is Loki's bound on delay_for.
	maxDelay = 5 * time.Second
	// closeWait is how long a client that reads slowly has to take what is
	// under way when its tail ends.
	closeWait = 3 * time.Second
)

// tailQuery are the parameters of a tail.
type tailQuery struct {
	logql.Query
	delay time.Duration
	flags []string
}

// serveTail follows a query, over a WebSocket as Loki does or as lines.
func (h *Handler) serveTail(w http.ResponseWriter, r *http.Request) {
	q, err := h.tailQuery(h.params(r), r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if !h.tails.TryEnter() {
		writeError(w, http.StatusTooManyRequests, fmt.Sprintf("max concurrent tail requests limit exceeded (%d)", h.opts.MaxTails))
		return
	}
	defer h.tails.Leave()
	h.metrics.tails.Inc()
	defer h.metrics.tails.Dec()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(h.following, func() { cancel(context.Cause(h.following)) })()
	r = r.WithContext(ctx)
	if acceptsLines(r) && r.Header.Get("Upgrade") == "" {
		h.tailLines(w, r, q)
		return
	}
	h.tailSocket(w, r, q)
}

func (h *Handler) tailQuery(p params, r *http.Request) (q tailQuery, err error) {
	if q.Text, err = p.query(); err != nil {
		return q, err
	}
	if err = h.admitLogs(q.Text); err != nil {
		return q, err
	}
	if q.Start, err = p.time("start", p.now.Add(-sinceQuery).UnixNano()); err != nil {
		return q, err
	}
	highest := h.opts.MaxEntries
	if acceptsLines(r) {
		highest = 0 // lines are not held in memory
	}
	if q.Limit, _, err = p.limit(min(defaultLimit, h.opts.MaxEntries), highest); err != nil {
		return q, err
	}
	if text := p.Get("delay_for"); text != "" {
		if q.delay, err = parseDuration("delay_for", text); err != nil {
			return q, err
		}
		if q.delay > maxDelay {
			return q, badRequest("delay_for can't be greater than %d", int(maxDelay.Seconds()))
		}
	}
	q.Order = storage.Ascending
	q.flags = encodingFlags(r)
	return q, nil
}

// tailSocket follows a query over a WebSocket.
func (h *Handler) tailSocket(w http.ResponseWriter, r *http.Request, q tailQuery) {
	// Pages of other sites are refused by their Origin.
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // and was answered
	}
	defer func() { _ = conn.CloseNow() }() // it is closed already, mostly
	// Reading and writing do not end with the request, because the library then
	// cuts the connection, and a client wants to be told why.
	open := conn.CloseRead(context.WithoutCancel(r.Context()))
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(open, cancel)()
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(closeWait, func() { _ = conn.CloseNow() })
	})()
	pings := make(chan struct{})
	go func() {
		defer close(pings)
		defer cancel() // a client that does not answer is gone
		ping(ctx, conn)
	}()
	batch := newTailBatch(q, func(message []byte) error {
		writing, cancel := context.WithTimeout(open, h.stall)
		defer cancel()
		return conn.Write(writing, websocket.MessageText, message)
	}, h.metrics.dropped)
	err = h.opts.Evaluator.Tail(ctx, q.Query, batch.add, batch.idle)
	if err == nil {
		err = batch.flush()
	}
	batch.close()
	closeTail(r.Context(), conn, err)
	cancel()
	<-pings
}

// ping asks the client for a sign of life until it gives none.
func ping(ctx context.Context, conn *websocket.Conn) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		waiting, cancel := context.WithTimeout(ctx, maxStall)
		err := conn.Ping(waiting)
		cancel()
		if err != nil {
			return
		}
	}
}

// closeTail tells the client why the tail ends. request ends with the server.
func closeTail(request context.Context, conn *websocket.Conn, err error) {
	code, reason := websocket.StatusNormalClosure, ""
	switch {
	case request.Err() != nil:
		code, reason = websocket.StatusGoingAway, context.Cause(request).Error()
	case err != nil:
		code, reason = websocket.StatusInternalError, err.Error()
	}
	// A reason has room for 123 bytes. A client that is gone does not need it.
	_ = conn.Close(code, strings.ToValidUTF8(reason[:min(len(reason), 123)], ""))
}
