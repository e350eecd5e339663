package loki

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/binnacle-obs/binnacle/storage"
)

// Loki's defaults for the span of time of a request.
const (
	sinceQuery    = time.Hour
	sinceMetadata = 6 * time.Hour
)

const (
	// defaultLimit is Loki's for the entries of a query.
	defaultLimit = 100
	// maxPoints bounds the points of a series, as Prometheus and Loki do.
	maxPoints = 11_000
	// stepsPerRange makes the default step one that fills a graph.
	stepsPerRange = 250
)

// params are the parameters of a request.
type params struct {
	url.Values
	now time.Time
}

func (h *Handler) params(r *http.Request) params { return params{r.Form, h.now()} }

// span returns start and end in nanoseconds. since is the default length.
func (p params) span(since time.Duration) (start, end int64, err error) {
	if end, err = p.time("end", p.now.UnixNano()); err != nil {
		return 0, 0, err
	}
	if text := p.Get("since"); text != "" {
		if since, err = parseDuration("since", text); err != nil {
			return 0, 0, err
		}
	}
	// A span that ends in the future is counted back from now.
	if start, err = p.time("start", min(end, p.now.UnixNano())-int64(since)); err != nil {
		return 0, 0, err
	}
	if start > end {
		return 0, 0, badRequest("invalid time range: start %s is after end %s", formatTime(start), formatTime(end))
	}
	return start, end, nil
}

// time returns a point in time in nanoseconds.
func (p params) time(name string, def int64) (int64, error) {
	text := p.Get(name)
	if text == "" {
		return def, nil
	}
	t, ok := parseTime(text)
	if !ok {
		return 0, badRequest("invalid %s %q: nanoseconds or seconds since the Unix epoch, or a time like 2006-01-02T15:04:05.999Z is needed", name, text)
	}
	return t, nil
}

// parseTime takes the forms that Loki takes: an integer are nanoseconds, or
// seconds when it has at most ten digits; a decimal fraction are seconds; all
// else must be RFC 3339.
func parseTime(text string) (ns int64, ok bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if len(text) <= 10 {
			n *= int64(time.Second)
		}
		return n, true
	}
	if seconds, fraction, found := strings.Cut(text, "."); found && len(seconds) <= 10 {
		if ns, ok := parseFraction(seconds, fraction); ok {
			return ns, true
		}
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(f) || math.Abs(f) >= math.MaxInt64/float64(time.Second) {
			return 0, false
		}
		return int64(f * float64(time.Second)), true
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 { // what fits in nanoseconds
		return 0, false
	}
	return t.UnixNano(), true
}

// parseFraction keeps the digits that a float64 would lose.
func parseFraction(seconds, fraction string) (ns int64, ok bool) {
	s, err := strconv.ParseUint(seconds, 10, 63)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 63)
	if err != nil {
		return 0, false
	}
	for _, digit := range fraction[min(9, len(fraction)):] {
		if digit < '0' || digit > '9' {
			return 0, false
		}
	}
	return int64(s)*int64(time.Second) + int64(n), true
}

// parseDuration takes Prometheus' durations and numbers of seconds.
func parseDuration(name, text string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		if f < 0 || f > math.MaxInt64/float64(time.Second) || math.IsNaN(f) {
			return 0, badRequest("invalid %s %q: out of range", name, text)
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	return 0, badRequest("invalid %s %q: a duration like 5m or 1h30m, or a number of seconds is needed", name, text)
}

// step returns the distance of the points of a graph from start to end.
func (p params) step(start, end int64) (time.Duration, error) {
	text := p.Get("step")
	if text == "" {
		seconds := math.Ceil(float64(end-start) / float64(time.Second) / stepsPerRange)
		return time.Duration(max(1, seconds)) * time.Second, nil
	}
	step, err := parseDuration("step", text)
	if err != nil {
		return 0, err
	}
	if step <= 0 {
		return 0, badRequest("zero or negative query resolution step widths are not accepted. Try a positive integer")
	}
	if (end-start)/int64(step) > maxPoints {
		return 0, badRequest("exceeded maximum resolution of %d points per time series. Try increasing the value of the step parameter", maxPoints)
	}
	return step, nil
}

// limit returns how many entries are asked for at most, and whether the client
// said so.
func (p params) limit(def, highest int) (n int, given bool, err error) {
	text := p.Get("limit")
	if text == "" {
		return def, false, nil
	}
	n, err = strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, false, badRequest("invalid limit %q: a number is needed", text)
	}
	if highest > 0 && n == 0 {
		return 0, false, badRequest("limit must be a positive value")
	}
	if highest > 0 && n > highest {
		return 0, false, badRequest("max entries limit per query exceeded, limit > max_entries_limit_per_query (%d > %d)", n, highest)
	}
	return n, true, nil
}

// count returns a number above 0.
func (p params) count(name string, def int) (int, error) {
	text := p.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0, badRequest("invalid %s %q: a number above 0 is needed", name, text)
	}
	return n, nil
}

// direction is the order of the entries; Loki's default is backward.
func (p params) direction() (storage.Order, error) {
	switch text := p.Get("direction"); strings.ToLower(text) {
	case "", "backward":
		return storage.Descending, nil
	case "forward":
		return storage.Ascending, nil
	default:
		return 0, badRequest("invalid direction %q: forward or backward is needed", text)
	}
}

// interval is the least distance of two entries, 0 for any.
func (p params) interval() (time.Duration, error) {
	if text := p.Get("interval"); text != "" {
		return parseDuration("interval", text)
	}
	return 0, nil
}

// query returns the parameter of this name, which must be there.
func (p params) query() (string, error) {
	text := p.Get("query")
	if strings.TrimSpace(text) == "" {
		return "", badRequest("parameter query is needed, for example query={namespace=\"shop\"}")
	}
	return text, nil
}

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// requestError is a fault of the request.
type requestError struct{ text string }

func (e *requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &requestError{fmt.Sprintf(format, args...)}
}
