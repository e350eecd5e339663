package loki

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage"
)

// instantLogQuery is Loki's text for a log query at one point in time.
const instantLogQuery = "log queries are not supported as an instant query type, please change your query to a range query type"

// serveQuery evaluates a metric query at one point in time.
func (h *Handler) serveQuery(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	text, err := p.query()
	if err != nil {
		h.fail(w, r, err)
		return
	}
	at, err := p.time("time", p.now.UnixNano())
	if err != nil {
		h.fail(w, r, err)
		return
	}
	metric, err := h.admit(text)
	if err == nil && !metric {
		err = badRequest(instantLogQuery)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.serveMetric(w, r, logql.Query{Text: text, Start: at, End: at})
}

// serveQueryRange evaluates a query over a span of time.
func (h *Handler) serveQueryRange(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	q, metric, err := h.rangeQuery(p)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if !metric && acceptsLines(r) {
		h.serveLines(w, r, p, q)
		return
	}
	ctx, cancel := h.timeout(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	switch {
	case !metric:
		h.serveStreams(w, r, p, q)
	case acceptsLines(r):
		h.fail(w, r, badRequest("a metric query has no lines to return as %s; ask for application/json", linesType))
	default:
		h.serveMetric(w, r, q)
	}
}

// rangeQuery reads the parameters of query_range, limits aside.
func (h *Handler) rangeQuery(p params) (q logql.Query, metric bool, err error) {
	if q.Text, err = p.query(); err != nil {
		return q, false, err
	}
	if q.Start, q.End, err = p.span(sinceQuery); err != nil {
		return q, false, err
	}
	if metric, err = h.admit(q.Text); err != nil {
		return q, false, err
	}
	if metric {
		q.Step, err = p.step(q.Start, q.End)
		return q, true, err
	}
	q.Order, err = p.direction()
	return q, false, err
}

func acceptsLines(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for offer := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(offer); err == nil && media == linesType {
				return true
			}
		}
	}
	return false
}

// serveStreams answers a log query with one document.
func (h *Handler) serveStreams(w http.ResponseWriter, r *http.Request, p params, q logql.Query) {
	limit, given, err := p.limit(min(defaultLimit, h.opts.MaxEntries), h.opts.MaxEntries)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	interval, err := p.interval()
	if err != nil {
		h.fail(w, r, err)
		return
	}
	flags := encodingFlags(r)
	set := newStreamSet(flags, h.opts.MaxResultBytes)
	stats, cut, err := h.logs(r.Context(), q, limit, interval, set.add)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if cut.reason != "" {
		w.Header().Set(incompleteHeader, cut.reason)
	}
	if cut.reason == cutLimit && given {
		cut.warning = "" // the client chose it, and clients tell by counting
	}
	head := []byte(`{"resultType":"streams",`)
	if flags != nil {
		head = append(head, `"encodingFlags":`...)
		head = appendStrings(head, flags)
		head = append(head, ',')
	}
	head = append(head, `"result":`...)
	stats.Entries = min(stats.Entries, int64(limit))
	tail := append([]byte(`,"stats":`), encodeStats(stats)...)
	writeData(w, r, cut.warnings(), set.appendJSON(head), append(tail, '}'))
}

// cut says why a result is not all that there is.
type cut struct {
	// reason is "" when it is complete.
	reason, warning string
}

func (c cut) warnings() []string {
	if c.warning == "" {
		return nil
	}
	return []string{c.warning}
}

// errEnough ends an evaluation that has given all that was asked for.
var errEnough = errors.New("limit reached")

// logs evaluates a log query and passes up to limit (0: all) entries to add,
// none closer to the one before than interval.
func (h *Handler) logs(ctx context.Context, q logql.Query, limit int, interval time.Duration, add func(*logql.Entry) error) (logql.Stats, cut, error) {
	if limit > 0 && interval == 0 {
		q.Limit = limit + 1 // one more tells whether there are more
	}
	n := 0
	var last int64
	stats, err := h.opts.Evaluator.Logs(ctx, q, func(e *logql.Entry) error {
		if interval > 0 && n > 0 && max(e.Time-last, last-e.Time) < int64(interval) {
			return nil
		}
		if limit > 0 && n == limit {
			return errEnough
		}
		if err := add(e); err != nil {
			return err
		}
		last = e.Time
		n++
		return nil
	})
	stats.Entries = int64(n)
	c := cut{}
	var late *timeoutError
	switch {
	case err == nil:
		return stats, c, nil
	case errors.Is(err, errEnough):
		c = cut{cutLimit, fmt.Sprintf("there are more than %d entries; these are the first ones in the order asked for", limit)}
	case errors.Is(err, errResultBytes):
		c = cut{cutBytes, fmt.Sprintf("the result is larger than %d bytes; these are the first %d entries in the order asked for", h.opts.MaxResultBytes, n)}
	case errors.Is(err, storage.ErrQueryLimit):
		c = cut{cutEngine, fmt.Sprintf("%v; what was found before is right, but not all", err)}
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &late):
		c = cut{cutTime, fmt.Sprintf("%v; what was found before is right, but not all", late)}
	default:
		return stats, c, err
	}
	h.metrics.cut.WithLabelValues(c.reason).Inc()
	return stats, c, nil
}
