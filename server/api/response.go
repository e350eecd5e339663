package api

import (
	"encoding/json"
	"io"
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

// response remembers whether an answer has begun, and lets correct change the
// status, and put text in front of the body, before they are sent.
type response struct {
	http.ResponseWriter
	// correct may be nil. It may set headers.
	correct func(header http.Header, code int) (newCode int, prefix string)
	begun   bool
}

// WriteHeader sends the status line.
func (r *response) WriteHeader(code int) {
	if r.begun || code < http.StatusOK {
		r.ResponseWriter.WriteHeader(code)
		return
	}
	r.begun = true
	prefix := ""
	if r.correct != nil {
		code, prefix = r.correct(r.Header(), code)
	}
	r.ResponseWriter.WriteHeader(code)
	if prefix != "" {
		// A client that is gone does not need the answer.
		_, _ = io.WriteString(r.ResponseWriter, prefix)
	}
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
	if !r.begun {
		r.WriteHeader(http.StatusOK)
	}
	// What cannot be flushed is sent later.
	_ = http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }
