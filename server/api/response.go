package api

import (
	"encoding/json"
	"net/http"
)

// Error types of the API, upstream's words.
const (
	typeBadData     = "bad_data"
	typeInternal    = "internal"
	typeUnavailable = "unavailable"
)

// writeError answers in the API's error format.
func writeError(w http.ResponseWriter, code int, errorType, message string) {
	body, err := json.Marshal(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", errorType, message})
	if err != nil { // cannot happen: three strings
		http.Error(w, message, code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// A client that is gone does not need the answer.
	_, _ = w.Write(body)
}

// response remembers whether an answer has begun, and lets status change the
// status before it is sent.
type response struct {
	http.ResponseWriter
	// status may be nil. It may set headers.
	status func(header http.Header, code int) int
	begun  bool
}

// WriteHeader sends the status line.
func (r *response) WriteHeader(code int) {
	if r.status != nil && !r.begun && code >= http.StatusOK {
		code = r.status(r.Header(), code)
	}
	r.begun = r.begun || code >= http.StatusOK
	r.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (r *response) Write(p []byte) (int, error) {
	if !r.begun {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(p)
}

// Flush is needed by streamed answers: remote read and notifications.
func (r *response) Flush() {
	r.begun = true
	// What cannot be flushed is sent later.
	_ = http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }
