package logql

import "errors"

// ErrBadQuery is what errors are that are the query's fault: it cannot be
// parsed, is of the wrong kind, or does not fit the lines it meets. Errors of
// limits and of the store are not.
var ErrBadQuery = errors.New("bad query")

// badQuery is an error whose text is for the one who asks.
type badQuery string

// Error is the text.
func (e badQuery) Error() string { return string(e) }

// Is tells that it is ErrBadQuery.
func (e badQuery) Is(target error) bool { return target == ErrBadQuery }

// Is tells that it is ErrBadQuery.
func (e *ParseError) Is(target error) bool { return target == ErrBadQuery }

// Is tells that it is ErrBadQuery.
func (e *PipelineError) Is(target error) bool { return target == ErrBadQuery }

const (
	errNeedLogs   = badQuery("a log query is needed here, this is a metric query")
	errNeedMetric = badQuery("a metric query is needed here, this is a log query")
	errBackwards  = badQuery("the end of the query is before its start")
	errSameLabels = badQuery("vector cannot contain metrics with the same labelset")
	errManyToMany = badQuery("many-to-many matching not allowed: matching labels must be unique on one side")
	errManyToOne  = badQuery("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")
)
