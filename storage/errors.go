package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reasons why a store stops taking samples; they come wrapped with details.
var (
	// ErrFull means that the disk or the byte budget of a store is used up.
	// The same batch can be stored once there is room.
	ErrFull = errors.New("no space left")
	// ErrClosed means that the store has been closed.
	ErrClosed = errors.New("store is closed")
)

// Reasons of a RejectedError, used as the value of `reason` labels.
const (
	ReasonOutOfOrder = "out_of_order"
	ReasonTooOld     = "too_old"
	ReasonDuplicate  = "duplicate_timestamp"
	ReasonInvalid    = "invalid"
	ReasonLimit      = "limit"
)

// RejectedError reports samples that a store refused for good: sending them
// again is pointless. All other samples of the batch are stored.
type RejectedError struct {
	// Reasons counts the refused samples by reason.
	Reasons map[string]int
	// First is the first refusal, with the series it concerns.
	First error
}

// Add counts one refused sample and keeps the first error.
func (e *RejectedError) Add(reason string, err error) {
	if e.Reasons == nil {
		e.Reasons = make(map[string]int)
	}
	e.Reasons[reason]++
	if e.First == nil {
		e.First = err
	}
}

// Count is the number of samples refused.
func (e *RejectedError) Count() int {
	n := 0
	for _, c := range e.Reasons {
		n += c
	}
	return n
}

// OrNil returns e as an error, or nil when nothing was refused.
func (e *RejectedError) OrNil() error {
	if e.Count() == 0 {
		return nil
	}
	return e
}

// Error names the number of samples by reason and the first refusal.
func (e *RejectedError) Error() string {
	parts := make([]string, 0, len(e.Reasons))
	for reason, n := range e.Reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	return fmt.Sprintf("%d samples rejected (%s), first: %v", e.Count(), strings.Join(parts, ", "), e.First)
}

// Unwrap returns the first refusal.
func (e *RejectedError) Unwrap() error { return e.First }
